"""A form without a place."""

from collections.abc import Mapping, Sequence

from kdtui.tui.core.forms import Field, Form


class PlainForm(Form[dict[str, str]]):
    """A form whose result is its values.

    Args:
        required: a field that has to be filled in.
    """

    title, verb = "A form", "Do it"
    fields: Sequence[Field] = ()

    def __init__(self, fields: Sequence[Field], *, required: str | None = None) -> None:
        self.fields, self._required = fields, required

    def parse(self, values: Mapping[str, str]) -> dict[str, str]:
        return dict(values)

    def problem(self, parsed: dict[str, str]) -> str | None:
        return f"{self._required} is missing" if self._required and not parsed[self._required] else None

    def command(self, parsed: dict[str, str]) -> str:
        return " ".join(["kdtui thing", *(f"--{name} {value}" for name, value in parsed.items() if value)])
