"""Things that scroll, and may become longer or shorter without all of the screen being laid out anew."""

from typing import cast

from rich.console import RenderableType
from rich.text import Text
from textual.geometry import Size
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip


class Steady:
    """Goes before `ScrollView`, or a kind of it, among the bases of what scrolls by itself.

    Textual lays the screen out anew for every change of `virtual_size`, and paints it whole, which takes longer than
    all that comes with a key. Here only the scrollbar follows, where the size of the widget does not.
    """

    virtual_size = Reactive(Size(0, 0))

    def watch_virtual_size(self, size: Size) -> None:
        """Have the scrollbar say how much there is."""
        view = cast("ScrollView", self)
        if view.is_attached:
            view._scroll_update(size)
        if view.styles.auto_dimensions:
            view.refresh(layout=True)


class Pane(Steady, ScrollView, can_focus=True):
    """Something to read that changes often, as the cursor of a list goes on."""

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
        """Show something, from its beginning."""
        self._content = content
        self._draw()
        self.scroll_home(animate=False)

    @property
    def text(self) -> str:
        """What it says, line by line."""
        return "\n".join(line.text.rstrip() for line in self._lines)

    def on_resize(self) -> None:
        """Wrap the lines anew."""
        self._draw()

    def notify_style_update(self) -> None:
        """Draw it in other colours."""
        super().notify_style_update()
        self._draw()

    def render_line(self, y: int) -> Strip:
        """A line."""
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
