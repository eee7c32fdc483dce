"""The form in which the user types or pastes the products of sessions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtui.exchange.pasted_text import read_typed
from kdtui.text import counted
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.forms import Field, Form
from kdtui.tui.places.workbench.typed_sessions import generate_command, piped_command
from store.records import Session


@dataclass(frozen=True, slots=True)
class TypedText:
    """What the user typed, and the sessions that were read from it."""

    text: str
    sessions: Sequence[Session]


class TypedSessionsForm(Form[TypedText]):
    """Asks for the products of one or several sessions.

    Args:
        text: the initial text.
        first_number: the number in the name of the first session that has no name.
        dataset: the dataset whose knowledge the student uses; None for none.
        choice: the student that the command asks.
    """

    title, verb = "Sessions of your own", "Open"

    def __init__(
        self, text: str, first_number: int, dataset: str | None, choice: StudentChoice, named_database: Path | None
    ) -> None:
        self._text, self._first_number = text, first_number
        self._dataset, self._choice, self._named_database = dataset, choice, named_database

    @property
    def fields(self) -> Sequence[Field]:
        """The products, as text."""
        help = (
            "One product a line: its title, and optionally | and its category, as in Tent | Outdoor > Shelter. An "
            "empty line ends a session. Or paste sessions as JSON Lines, as kdtui data export writes them."
        )
        return [Field("products", "Products", "lines", self._text, help)]

    def parse(self, values: Mapping[str, str]) -> TypedText:
        """Read the sessions.

        Raises:
            KdtuiError: the text holds no session, or a line is wrong.
        """
        return TypedText(values["products"], read_typed(values["products"], self._first_number))

    def command(self, parsed: TypedText) -> str:
        """Return the command that generates bundles for these sessions."""
        if len(parsed.sessions) > 1:
            return piped_command(parsed.sessions, self._dataset, self._choice, self._named_database)
        return generate_command(parsed.sessions[0], self._dataset, self._choice, self._named_database)

    def remark(self, parsed: TypedText) -> str:
        """Return the number of sessions, if there are several."""
        return counted(len(parsed.sessions), "session") if len(parsed.sessions) > 1 else ""
