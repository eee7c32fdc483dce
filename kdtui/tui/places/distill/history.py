"""The distillations since the program started, and the one that is shown."""

from kdtui.tui.places.distill.distillation import Distillation, State
from kdtui.tui.places.distill.request import DistillationRequest


class Distillations:
    """Distillations in the order in which they began.

    Attributes:
        position: the position of the shown one.
    """

    def __init__(self) -> None:
        self._all: list[Distillation] = []
        self.position = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def current(self) -> Distillation | None:
        """The distillation that is shown."""
        return self._all[self.position] if self._all else None

    @property
    def are_active(self) -> bool:
        """Whether any distillation is active."""
        return any(each.is_active for each in self._all)

    @property
    def waiting(self) -> Distillation | None:
        """The first distillation that waits for consent."""
        return next((each for each in self._all if each.state == "confirming"), None)

    def add(self, request: DistillationRequest) -> Distillation:
        """Add a distillation and show it; it replaces an ended one of the same request."""
        distillation = Distillation(request)
        self._all = [each for each in self._all if each.is_active or each.request != request]
        self._all.append(distillation)
        self.position = len(self._all) - 1
        return distillation

    def show(self, distillation: Distillation) -> None:
        self.position = self._all.index(distillation)

    def show_next(self) -> None:
        """Show the next distillation, or the first after the last."""
        self.position = (self.position + 1) % len(self._all)

    def clash(self, request: DistillationRequest) -> str | None:
        """Return why a request cannot run now: an active distillation writes the same knowledge."""
        for each in self._all:
            shared = [format for format in each.request.formats if format in request.formats]
            if each.is_active and each.request.dataset == request.dataset and shared:
                return f"{shared[0]}s of {request.dataset} are being distilled already; one at a time"
        return None

    def update_paused(self) -> bool:
        """Update which pausing distillations have paused; return whether any state has changed."""
        has_changed = False
        for each in self._all:
            state: State = "pausing" if each.pending_calls else "paused"
            if each.state in ("pausing", "paused") and each.state != state:
                each.state = state
                has_changed = True
        return has_changed
