"""The distillations that were begun since the program was started, and the one that is looked at."""

from kdtui.tui.places.distill.distillation import Distillation, State
from kdtui.tui.places.distill.plan import DistillationPlan


class Distillations:
    """Distillations in the order in which they were begun.

    Attributes:
        at: the place of the one that is looked at.
    """

    def __init__(self) -> None:
        self._all: list[Distillation] = []
        self.at = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def current(self) -> Distillation | None:
        """The one that is looked at."""
        return self._all[self.at] if self._all else None

    @property
    def are_active(self) -> bool:
        """Whether any is not over."""
        return any(each.is_active for each in self._all)

    @property
    def waiting(self) -> Distillation | None:
        """The first that waits for somebody to agree to pay."""
        return next((each for each in self._all if each.state == "asking"), None)

    def add(self, plan: DistillationPlan) -> Distillation:
        """A new one, to be looked at, in place of what came of the same plan before."""
        distillation = Distillation(plan)
        self._all = [each for each in self._all if each.is_active or each.plan != plan]
        self._all.append(distillation)
        self.at = len(self._all) - 1
        return distillation

    def look_at(self, distillation: Distillation) -> None:
        """Look at one of them."""
        self.at = self._all.index(distillation)

    def look_at_next(self) -> None:
        """Look at the next; behind the last comes the first."""
        self.at = (self.at + 1) % len(self._all)

    def clash(self, plan: DistillationPlan) -> str | None:
        """Why a plan cannot be carried out now: another one would write the same."""
        for each in self._all:
            shared = [format for format in each.plan.formats if format in plan.formats]
            if each.is_active and each.plan.dataset == plan.dataset and shared:
                return f"{shared[0]}s of {plan.dataset} are being distilled already; one at a time"
        return None

    def see_whether_held(self) -> bool:
        """See whether what is to be held is still at last; whether that has changed for any."""
        has_changed = False
        for each in self._all:
            state: State = "pausing" if each.under_way else "paused"
            if each.state in ("pausing", "paused") and each.state != state:
                each.state = state
                has_changed = True
        return has_changed
