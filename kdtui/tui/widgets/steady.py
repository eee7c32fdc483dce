"""Scrolling widgets that change their length without a new layout of the screen."""

from typing import cast

from rich.console import RenderableType
from rich.text import Text
from textual.geometry import Size
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip


class Steady:
    """A mixin for widgets that scroll by themselves; it goes before `ScrollView` in the bases.

    For every change of `virtual_size`, Textual lays out and paints the whole screen, which takes longer than all other
    work for a key. With this mixin, only the scrollbar changes, unless the size of the widget depends on its content.
    """

    virtual_size = Reactive(Size(0, 0))

    def watch_virtual_size(self, size: Size) -> None:
        """Update the scrollbar."""
        view = cast("ScrollView", self)
        if view.is_attached:
            view._scroll_update(size)
        if view.styles.auto_dimensions:
            view.refresh(layout=True)


class Pane(Steady, ScrollView, can_focus=True):
    """A text that changes often, such as one about the row under the cursor."""

    DEFAULT_CSS = """
    Pane {
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._content: RenderableType = Text()
        self._lines: list[Strip] = []

    def show(self, content: RenderableType) -> None:
        """Show a text from its beginning."""
        self._content = content
        self._draw()
        self.scroll_home(animate=False)

    @property
    def text(self) -> str:
        """The lines of the text."""
        return "\n".join(line.text.rstrip() for line in self._lines)

    def on_resize(self) -> None:
        """Wrap the lines again."""
        self._draw()

    def notify_style_update(self) -> None:
        """Draw the text in the new colours."""
        super().notify_style_update()
        self._draw()

    def render_line(self, y: int) -> Strip:
        """Draw a line."""
        number = y + round(self.scroll_y)
        width = self.scrollable_content_region.width
        return self._lines[number] if number < len(self._lines) else Strip.blank(width, self.rich_style)

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if not width:
            return
        console = self.app.console
        options = console.options.update(width=width, height=None, highlight=False)
        lines = console.render_lines(self._content, options, style=self.rich_style)
        self._lines = [Strip(line, width) for line in lines]
        self.virtual_size = Size(width, len(lines))
        self.refresh()
