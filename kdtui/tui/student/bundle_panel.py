"""A panel of bundles, with a heading."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from kdtui.text import one_line
from kdtui.tui.widgets.letters import badge

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class BundleLine:
    """A bundle as it is shown.

    Attributes:
        confidence: None for a true bundle.
        remark: shown before the intent.
    """

    positions: tuple[int, ...]
    intent: str
    confidence: float | None = None
    remark: Text = field(default_factory=Text)


class BundlePanel(Vertical):
    """A heading over bundles that scroll."""

    def __init__(self, *, id: str, lower: bool = False) -> None:
        super().__init__(id=id)
        self._lower = lower

    def compose(self) -> ComposeResult:
        """Lay out the heading and the bundles."""
        yield Static(classes="heading", markup=False)
        with VerticalScroll():
            yield Static(classes="bundles", markup=False)

    def show_heading(self, title: str, remark: str = "") -> None:
        """Show a title in bold, and after it a remark."""
        heading = Text(one_line(title), style="bold")
        if remark:
            heading.append(f"  {one_line(remark, _LONGEST)}", style="not bold")
        self.query_one(".heading", Static).update(heading)

    def show_bundles(self, bundles: Sequence[BundleLine], otherwise: str) -> None:
        """Show bundles, or a sentence if there are none."""
        body = self.query_one(".bundles", Static)
        if not bundles:
            body.update(Text(one_line(otherwise, _LONGEST), style="dim"))
            return
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(max_width=14)
        if bundles[0].confidence is not None:
            table.add_column(no_wrap=True, justify="right")
        table.add_column(ratio=1)
        for number, bundle in enumerate(bundles):
            cells = [badge(number, lower=self._lower), Text(" ".join(map(str, bundle.positions)))]
            if bundle.confidence is not None:
                cells.append(Text(f"{bundle.confidence:.0%}"))
            remarks = [bundle.remark] if bundle.remark else []
            table.add_row(*cells, Text(" ").join([*remarks, Text(one_line(bundle.intent, _LONGEST))]))
        body.update(table)

    def show_start(self) -> None:
        """Scroll to the first bundle."""
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def show_end(self) -> None:
        """Scroll to the last bundle."""
        self.query_one(VerticalScroll).scroll_end(animate=False)
