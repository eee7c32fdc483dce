"""The background work of the place Jobs: which activity works on which training or host."""

from dataclasses import dataclass, replace

from kdtui.tui.core.activity import Activity


@dataclass(frozen=True, slots=True)
class Work:
    """The work of an activity.

    Attributes:
        label: what it does, shown while it runs.
        training: the name of the training that it works on.
        asks: the name of the host that it asks about trainings.
        checks: the name of the host that it checks.
        stops: whether it stops the training.
    """

    label: str
    training: str | None = None
    asks: str | None = None
    checks: str | None = None
    stops: bool = False


class BackgroundWork:
    """The running work, by activity."""

    def __init__(self) -> None:
        self._works: dict[Activity, Work] = {}

    def add(self, activity: Activity, work: Work) -> None:
        """Note that an activity has begun."""
        self._works[activity] = work

    def get(self, activity: Activity) -> Work | None:
        """Return the work of an activity, if it runs."""
        return self._works.get(activity)

    def relabel(self, activity: Activity, label: str) -> None:
        """Change the label of running work."""
        self._works[activity] = replace(self._works[activity], label=label)

    def pop(self, activity: Activity) -> Work | None:
        """Note that an activity is over, and return its work."""
        return self._works.pop(activity, None)

    def is_stopping(self, training: str) -> bool:
        """Return whether some work stops a training."""
        return any(work.stops for work in self._works.values() if work.training == training)

    def label_for(self, training: str) -> str | None:
        """Return what is being done to a training, in words; None if nothing is."""
        return next((work.label for work in self._works.values() if work.training == training), None)

    def is_asking(self, host: str) -> bool:
        """Return whether a host is being asked about trainings."""
        return any(work.asks == host for work in self._works.values())

    def is_checking(self, host: str | None) -> bool:
        """Return whether a host is being checked."""
        return any(work.checks == host for work in self._works.values())

    def host_state(self, host: str) -> str | None:
        """Return what is done with a host, in words; None for nothing."""
        for work in self._works.values():
            if host == work.checks:
                return f"… checking {host}"
            if host == work.asks:
                return f"… asking {host}"
        return None

    @property
    def labels(self) -> list[str]:
        """The labels of all work, except the repeated questions to hosts, which the rows of hosts show."""
        return [work.label for work in self._works.values() if work.asks is None]
