"""Where a training runs: on this machine or on a host, behind one interface."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from kdtui.errors import KdtuiError
from kdtui.workflows.training import on_this_machine
from kdtui.workflows.training.follow_on_host import ConnectionLost, follow_on_host, log_on_host
from kdtui.workflows.training.launch_on_host import Launched, SendingFiles, Submitting, launch_on_host
from kdtui.workflows.training.on_host import (
    HostSeen,
    TrainingFetched,
    cancel_on_host,
    check_trainings,
    fetch_from_host,
    remove_from_host,
)
from kdtui.workflows.training.on_this_machine import LogGrew, StatusSeen
from models.sft.processes import HasStopped, Stopping
from store.jobs import StoredJob
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Started:
    """A training that runs on this machine, with its process id."""

    pid: int


StartEvent: TypeAlias = Started | SendingFiles | Submitting | Launched | HostSeen | TrainingFetched
FollowEvent: TypeAlias = LogGrew | StatusSeen | ConnectionLost


class TrainingBackend(Protocol):
    """The machine that runs a training. Methods for a host raise a TransportError if it cannot be reached.

    Attributes:
        pause: seconds between two checks of a training that is waited for.
    """

    @property
    def pause(self) -> float: ...

    def start(self) -> Iterator[StartEvent]:
        """Start or resume the training.

        Raises:
            KdtuiError: it is running, or done, or its host refuses.
            ModelError: the trainer does not start.
        """

    def cancel(self, *, grace: float) -> Iterator[Stopping | HasStopped]:
        """Stop the training; kill it after `grace` seconds.

        Raises:
            KdtuiError: it is not running.
        """

    def check(self) -> str | None:
        """Update the stored status. Return why that is not possible; None if it is."""

    def follow(self) -> Iterator[FollowEvent]:
        """Yield the log from its beginning, and the status, until the training ends."""

    def log(self) -> Iterator[bytes]:
        """Yield the log in chunks."""

    def fetch(self, *, checkpoints: bool) -> int:
        """Fetch results that are not on this machine yet, and return the number of files.

        Raises:
            KdtuiError: there is nothing to fetch.
        """

    def remove(self, *, keep: bool) -> None:
        """Delete what only this backend has, or with `keep` leave it, before the training is forgotten.

        Raises:
            KdtuiError: it is running.
        """


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """A training on this machine."""

    db: Database
    job: StoredJob
    pause: float = 1.0

    def start(self) -> Iterator[StartEvent]:
        yield Started(on_this_machine.launch_locally(self.db, self.job))

    def cancel(self, *, grace: float) -> Iterator[Stopping | HasStopped]:
        return on_this_machine.cancel_locally(self.job, grace=grace)

    def check(self) -> str | None:
        # Its files hold the status.
        return None

    def follow(self) -> Iterator[FollowEvent]:
        return on_this_machine.follow_locally(self.job.folder)

    def log(self) -> Iterator[bytes]:
        return on_this_machine.local_log(self.job)

    def fetch(self, *, checkpoints: bool) -> int:  # noqa: ARG002
        raise KdtuiError(f"training {self.job.name!r} is on this machine already")

    def remove(self, *, keep: bool) -> None:  # noqa: ARG002
        # Its directory is deleted when it is forgotten.
        on_this_machine.check_removable(self.job)


@dataclass(frozen=True, slots=True)
class HostTraining:
    """A training on a host."""

    db: Database
    job: StoredJob
    pause: float = 10.0

    def start(self) -> Iterator[StartEvent]:
        yield from launch_on_host(self.db, self.job)
        yield from check_trainings(self.db, {self.job.name})

    def cancel(self, *, grace: float) -> Iterator[Stopping | HasStopped]:
        return cancel_on_host(self.db, self.job, grace=grace)

    def check(self) -> str | None:
        problems = [event.problem for event in check_trainings(self.db, {self.job.name})]
        return problems[0] if problems else None

    def follow(self) -> Iterator[FollowEvent]:
        return follow_on_host(self.db, self.job)

    def log(self) -> Iterator[bytes]:
        return log_on_host(self.db, self.job)

    def fetch(self, *, checkpoints: bool) -> int:
        return fetch_from_host(self.db, self.job, checkpoints=checkpoints)

    def remove(self, *, keep: bool) -> None:
        if not keep:
            remove_from_host(self.db, self.job)


def backend_of(db: Database, job: StoredJob) -> TrainingBackend:
    return LocalTraining(db, job) if job.host is None else HostTraining(db, job)
