"""The lines of the help screen."""

from rich.table import Table
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.help import HelpScreen


def help_lines(app: KdtuiApp) -> dict[str, str]:
    """Return the keys in the help by their purposes."""
    assert isinstance(app.screen, HelpScreen)
    grid = next(each.content for each in app.screen.query(Static) if isinstance(each.content, Table))
    assert isinstance(grid, Table)
    keys, purposes = ([str(cell) for cell in column.cells] for column in grid.columns)
    return dict(zip(purposes, keys, strict=True))
