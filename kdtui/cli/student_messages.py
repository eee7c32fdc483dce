"""Messages of a student before it answers, on stderr."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from kdtui.cli.output import progress_bar, say
from kdtui.workflows.student.learning import Learning

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from store.records import RunSettings


def say_default(settings: "RunSettings", dataset: str | None) -> None:
    """Say which default adapter answers a dataset, if it has one."""
    for adapter, _ in settings.adapters:
        say(f"kdtui: with {adapter}, the default adapter of {dataset}; --student shipped leaves it out")


class StudentMessages:
    """Shows the messages of a student, and a progress bar while it learns from a dataset.

    Args:
        say: prints a message.
    """

    def __init__(self, say: Callable[[str], None] = say) -> None:
        self._say = say
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "StudentMessages":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, message: str | Learning) -> None:
        """Show a message or the progress of learning."""
        if isinstance(message, str):
            self._close()
            self._say(f"kdtui: {message}")
            return
        if self._bar is None or self._task is None:
            self._bar = progress_bar()
            if self._bar.disable:
                self._say(f"kdtui: {message.text}: {message.total:,} texts to read")
            self._bar.start()
            self._task = self._bar.add_task(message.text, total=message.total)
        self._bar.update(self._task, completed=message.done)
        if message.done >= message.total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
