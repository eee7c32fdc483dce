"""Facets: values that a list can be filtered by, each with the number of its rows."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.widgets.steady import Steady

_MOST = 20
"""The maximum number of values of one facet."""


class FacetList(Steady, OptionList):
    """Facets below each other. Choosing a value adds it as a filter, or removes the filter."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("facets")

    class Chosen(Message):
        """The user chose a value."""

        def __init__(self, facet: str, value: str) -> None:
            super().__init__()
            self.facet, self.value = facet, value

    class Left(Message):
        """The user leaves the list."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, compact=True)
        self._values: list[tuple[str, str] | None] = []
        self._counts: Mapping[str, Mapping[str, int]] = {}
        self._filters: Mapping[str, Collection[str]] = {}

    def show_facets(self, counts: Mapping[str, Mapping[str, int]], filters: Mapping[str, Collection[str]]) -> None:
        """Show values with their counts; active filters have a mark."""
        self._counts, self._filters = counts, filters
        self._show()

    def _show(self) -> None:
        highlighted = self._values[self.highlighted] if self.highlighted is not None else None
        options: list[Option] = []
        self._values = []
        room = max(12, self.scrollable_content_region.width - 1)
        for facet, counted in self._counts.items():
            chosen = self._filters.get(facet, ())
            # A filter without rows can still be removed.
            values = {**dict.fromkeys(chosen, 0), **counted}
            ordered = sorted(values.items(), key=lambda each: (each[0] not in chosen, -each[1], each[0]))
            if not ordered:
                continue
            options.append(Option(Content.styled(facet, "bold"), disabled=True))
            self._values.append(None)
            for value, count in ordered[:_MOST]:
                options.append(Option(_line(value, count, room, is_filter=value in chosen)))
                self._values.append((facet, value))
            if len(ordered) > _MOST:
                options.append(Option(Content(f"  {len(ordered) - _MOST:,} more"), disabled=True))
                self._values.append(None)
        self.clear_options()
        self.add_options(options)
        if highlighted in self._values:
            self.highlighted = self._values.index(highlighted)

    def on_resize(self) -> None:
        """Align the counts again."""
        self._show()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Post the chosen value."""
        event.stop()
        if chosen := self._values[event.option_index]:
            self.post_message(self.Chosen(*chosen))

    def action_down(self) -> None:
        self.action_cursor_down()

    def action_up(self) -> None:
        self.action_cursor_up()

    def action_leave(self) -> None:
        self.post_message(self.Left())


def _line(value: str, count: int, room: int, *, is_filter: bool) -> Content:
    number = f"{count:,}"
    text = Text(f"{'✓' if is_filter else '·'} {one_line(value, 100)}", no_wrap=True)
    text.truncate(max(4, room - len(number) - 1), overflow="ellipsis", pad=True)
    return Content(f"{text.plain} {number}")
