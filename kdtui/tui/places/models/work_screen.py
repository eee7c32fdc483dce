"""A screen on which one model at a time is made or written in the background."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.widgets import Static

from kdtui.text import one_line
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.places.models.model_work import ModelsChanged, ModelWork
from kdtui.tui.student.calibration_form import CalibratingScreen
from kdtui.workflows.manage_models import Quantized, Writing

if TYPE_CHECKING:
    from store.sqlite import Database


class ModelWorkScreen(CalibratingScreen[None]):
    """A screen with a line `#work` that shows the progress of making or writing a model.

    Attributes:
        model_work: the running work; None if there is none.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self.model_work: ModelWork | None = None

    def on_mount(self) -> None:
        self.query_one("#work").display = False

    def list_again(self, cursor_target: str | None) -> None:
        """List the models again, with the cursor on the one of this name."""
        raise NotImplementedError

    def begin_work(
        self, name: str, work: "Callable[[Database], Iterator[object]]", *, failed: str = "", stopped: str | None = None
    ) -> None:
        """Begin work that makes or writes a model.

        Args:
            name: what it does.
            failed: prefix of the message when it fails.
            stopped: message when it is stopped.
        """
        activity = Activity(name, self.database, work, self.post_message)
        self.model_work = ModelWork(activity, failed, stopped or f"{name} was stopped; nothing is left behind")
        self._show_work()
        self.kdtui.begin(activity)
        self.refresh_bindings()

    def _show_work(self, written: int | None = None) -> None:
        line = self.query_one("#work", Static)
        line.display = self.model_work is not None
        if self.model_work is not None:
            activity = self.model_work.activity
            state = f": {written / 1e6:,.0f} MB so far" if written is not None else "…"
            line.update(Text(one_line(f"⏳ {activity.name}{': stopping' if activity.is_cancelled else state}", 200)))

    def on_happened(self, message: Happened) -> None:
        """Show the progress, or the model that was made."""
        match message.event:
            case Writing(bytes=written):
                self._show_work(written)
            case Quantized(model=model, before=before, after=after):
                self._note_made(
                    ModelsChanged(f"{model.name} has {after / 1e6:,.0f} MB, of {before / 1e6:,.0f} before", model.name)
                )
            case ModelsChanged() as changed:
                self._note_made(changed)

    def _note_made(self, made: ModelsChanged) -> None:
        assert self.model_work is not None
        self.model_work.is_done = True
        self.model_work.made = made.name
        self.say(made.sentence, error=False)

    def on_ended(self, message: Ended) -> None:
        """Show why the work failed or stopped, and list the models again."""
        work = self.model_work
        assert work is not None
        self.model_work = None
        self._show_work()
        if message.problem is not None:
            self.say(f"{work.failed}{message.problem}", details=message.details)
        elif work.activity.is_cancelled and not work.is_done:
            self.say(work.stopped, error=False)
        self.refresh_bindings()
        self.list_again(work.made)

    def action_stop(self) -> None:
        assert self.model_work is not None
        self.model_work.activity.cancel()
        self._show_work()
