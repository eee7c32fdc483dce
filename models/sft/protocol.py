"""What a client and a host say to each other: one dataclass for each request and each answer, as JSON.

A request is a line `{"protocol": 1, "do": "status", "workdir": …, …}`; some are followed by bytes. An answer is a line
`{"protocol": 1, "ok": …}` or `{"protocol": 1, "error": "one sentence"}`. This module needs only the standard library:
it runs on hosts, where nothing is installed yet.
"""

from dataclasses import dataclass
from types import NoneType
from typing import Any

from models.sft.log_search import Search
from models.sft.messages_as_json import Request
from models.sft.processes import HasStopped

_PACKAGES = "which packages it has"


@dataclass(frozen=True)
class PackagesAnswer:
    """The versions of some packages.

    Attributes:
        found: None for a package that is missing.
        cuda: the CUDA version that torch can use; None without one, or if the request does not ask for it.
        problem: why the Python does not run; None if it does.
    """

    found: dict[str, str | None]
    cuda: str | None = None
    problem: str | None = None

    def lack(self, names: tuple[str, ...]) -> str | None:
        """Return what these versions do not tell of the packages that were asked for; None if everything."""
        return None if self.problem is not None or set(names) <= self.found.keys() else _PACKAGES


@dataclass(frozen=True)
class InventoryAnswer:
    """What a host has for a training.

    Attributes:
        files: for each file of the base "whole", or the bytes that were received so far.
        id: the key of the training in the job directory; None without one.
        state: of that training; None without a job directory.
        python: the Python of the virtual environment; None until that is complete.
        packages: None unless the request asks for them.
    """

    files: dict[str, int | str]
    id: str | None
    state: str | None
    python: str | None
    packages: PackagesAnswer | None


@dataclass(frozen=True)
class InventoryRequest(Request[InventoryAnswer]):
    """Ask which files of a base and which job directory a host has, and which packages.

    Attributes:
        job: the name of the training.
        key, files: of the base; (name, size) of each file.
        python: the Python to use without a virtual environment.
        packages: whose versions to tell.
    """

    do = "inventory"
    answer = InventoryAnswer
    job: str
    key: str
    files: tuple[tuple[str, int], ...]
    python: str = ""
    packages: tuple[str, ...] = ()

    def lack(self, answer: InventoryAnswer) -> str | None:
        received = [answer.files.get(name) for name, _ in self.files]
        if not all(each == "whole" or (isinstance(each, int) and each >= 0) for each in received):
            return "which files of the base it has"
        if self.packages and answer.packages is None:
            return _PACKAGES
        return None if answer.packages is None else answer.packages.lack(self.packages)


@dataclass(frozen=True)
class ReceiveRequest(Request[None]):
    """Add the bytes after the request to a partial file; rename it to `target` when it is complete.

    Attributes:
        offset: bytes that the partial file has already.
        size, sha256: of the complete file.
    """

    do = "receive"
    answer = NoneType
    part: str
    offset: int
    target: str
    size: int
    sha256: str


@dataclass(frozen=True)
class UnpackRequest(Request[None]):
    """Unpack the tar of small files after the request into a folder.

    Attributes:
        files: name to SHA-256.
    """

    do = "unpack"
    answer = NoneType
    folder: str
    files: dict[str, str]


@dataclass(frozen=True)
class LaunchAnswer:
    """A training runs or is queued; `number` is its process id or Slurm's job number."""

    number: int


@dataclass(frozen=True)
class LaunchRequest(Request[LaunchAnswer]):
    """Make a job directory of the tar after the request unless it exists, and start its training unless it runs.

    Attributes:
        launcher: "slurm", or "direct" for a process.
        python: the Python that trains.
        code: the zip of the package `models`.
        processes: number of processes of torchrun.
        after: the name of a training that has to be done first.
        script: for Slurm.
        has_data: whether a tar follows.
    """

    do = "launch"
    answer = LaunchAnswer
    job: str
    id: str
    launcher: str
    python: str
    code: str
    processes: int
    after: str | None
    script: str | None
    has_data: bool


@dataclass(frozen=True)
class TrainingAnswer:
    """The state of a training.

    Attributes:
        status: the fields of `models.sft.state.JobStatus`.
        id: the key in its job directory; None without one.
        log_bytes: size of its log.
        exists: whether there is a job directory.
    """

    status: dict[str, Any]
    id: str | None
    log_bytes: int
    exists: bool


@dataclass(frozen=True)
class StatusAnswer:
    """The states of trainings by name."""

    trainings: dict[str, TrainingAnswer]


@dataclass(frozen=True)
class StatusRequest(Request[StatusAnswer]):
    """Ask for the states of trainings."""

    do = "status"
    answer = StatusAnswer
    jobs: tuple[str, ...]

    def lack(self, answer: StatusAnswer) -> str | None:
        missing = [name for name in self.jobs if name not in answer.trainings]
        return f"the state of training {missing[0]!r}" if missing else None


@dataclass(frozen=True)
class CancelRequest(Request[HasStopped]):
    """Stop a training and wait for it.

    Before the answer come lines `{"stopping": …}`, each a `models.sft.processes.Stopping`.

    Attributes:
        grace: seconds after which it is killed.
    """

    do = "cancel"
    answer = HasStopped
    job: str
    id: str
    grace: float


@dataclass(frozen=True)
class FilesAnswer:
    """Name, size and SHA-256 of each file."""

    files: tuple[tuple[str, int, str | None], ...]


@dataclass(frozen=True)
class FilesRequest(Request[FilesAnswer]):
    """Ask for the files of a job directory.

    Attributes:
        names: of files and folders in it.
        large: files over this number of bytes get no SHA-256, because it follows them when they are sent.
        had: files that get one all the same, because the client may have them already.
    """

    do = "files"
    answer = FilesAnswer
    job: str
    id: str
    names: tuple[str, ...]
    large: int
    had: tuple[str, ...]


@dataclass(frozen=True)
class SendRequest(Request[None]):
    """Ask for the bytes of a file from `offset` to `size`.

    They follow the answer, and after them the SHA-256 of the first `size` bytes of the file.
    """

    do = "send"
    answer = NoneType
    job: str
    id: str
    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class FollowRequest(Request[None]):
    """Ask for a log after a position, and for what is appended to it, until the client hangs up.

    After the answer come pieces: each a line `{"protocol": 1, "piece": …}` with a `PieceHead`, and its bytes.

    Attributes:
        offset, end: a `models.sft.log_pieces.LogPosition`; each byte of its end is a character.
    """

    do = "follow"
    answer = NoneType
    job: str
    id: str
    offset: int
    end: str


@dataclass(frozen=True)
class PieceHead:
    """Offset and number of the bytes of a log that follow."""

    offset: int
    size: int


@dataclass(frozen=True)
class FindAnswer:
    """The offset of a match, or the search to continue with; neither if there is no match."""

    at: int | None = None
    search: Search | None = None


@dataclass(frozen=True)
class FindRequest(Request[FindAnswer]):
    """Search a part of a log."""

    do = "find"
    answer = FindAnswer
    job: str
    id: str
    search: Search

    def lack(self, answer: FindAnswer) -> str | None:
        return None if answer.at is None or answer.at >= 0 else "where in the log that is"


@dataclass(frozen=True)
class DescribeAnswer:
    """The content of the job file of a training, and its key if it has one."""

    job: dict[str, Any]
    id: str | None


@dataclass(frozen=True)
class DescribeRequest(Request[DescribeAnswer]):
    """Ask for what a client needs in order to adopt a training."""

    do = "describe"
    answer = DescribeAnswer
    job: str


@dataclass(frozen=True)
class RemoveRequest(Request[None]):
    """Delete a job directory unless it belongs to another training."""

    do = "remove"
    answer = NoneType
    job: str
    id: str


@dataclass(frozen=True)
class LeaveRequest(Request[None]):
    """Delete the job directory of a training that moved, and note where it moved so that nobody starts it here again.

    Attributes:
        to: such as "on host gpu".
    """

    do = "leave"
    answer = NoneType
    job: str
    id: str
    to: str


@dataclass(frozen=True)
class TrainingsAnswer:
    """The names of job directories with their keys; None for one without a key."""

    keys: dict[str, str | None]


@dataclass(frozen=True)
class TrainingsRequest(Request[TrainingsAnswer]):
    """Ask which job directories a host has."""

    do = "trainings"
    answer = TrainingsAnswer


@dataclass(frozen=True)
class CheckAnswer:
    """What a machine has for trainings.

    Attributes:
        python: the version of the Python that answers.
        writable: whether the workdir can be written.
        free_bytes: on the disk of the workdir.
        gpus: name, memory and driver of each.
        base: whether all files of the base are there.
        clock: seconds since the epoch.
        slurm: whether there is an sbatch.
        processors: None if the system does not tell.
    """

    python: str
    writable: bool
    free_bytes: int
    gpus: tuple[str, ...]
    packages: PackagesAnswer
    base: bool
    clock: float
    slurm: bool
    processors: int | None


@dataclass(frozen=True)
class CheckRequest(Request[CheckAnswer]):
    """Ask what a machine has for trainings.

    Attributes:
        python: the Python to use without a virtual environment.
        key, files: of a base; no files without one.
        packages: whose versions to tell.
    """

    do = "check"
    answer = CheckAnswer
    python: str
    key: str
    files: tuple[str, ...]
    packages: tuple[str, ...]

    def lack(self, answer: CheckAnswer) -> str | None:
        return answer.packages.lack(self.packages)


@dataclass(frozen=True)
class SetupAnswer:
    """The virtual environment is being made.

    Attributes:
        log: path of its log.
        offset: where the log of this attempt begins.
    """

    log: str
    offset: int


@dataclass(frozen=True)
class SetupRequest(Request[SetupAnswer]):
    """Make the virtual environment in a process of its own.

    Attributes:
        requirements: the content of a requirements file.
        wheels: the key of a folder of wheels to install from; None to install from the network.
    """

    do = "setup"
    answer = SetupAnswer
    requirements: str
    wheels: str | None


@dataclass(frozen=True)
class SetupStatusAnswer:
    """The state of the virtual environment.

    Attributes:
        state, reason: as of a training.
        is_ready: whether it was made completely, from the same requirements.
    """

    state: str
    reason: str | None
    is_ready: bool


@dataclass(frozen=True)
class SetupStatusRequest(Request[SetupStatusAnswer]):
    """Ask for the state of the virtual environment."""

    do = "setup_status"
    answer = SetupStatusAnswer
    requirements: str
