"""The dialog with the details of a host."""

from rich.text import Text

from kdtui.tui.core.dialogs import TextDialog


class HostDialog(TextDialog):
    """The findings of the checks of a host, which grow while a check runs."""

    def __init__(self, host: str, content: Text) -> None:
        super().__init__(f"Host {host}", content, copies=content.plain)
        self.host = host

    def show(self, content: Text) -> None:
        """Show new content, also before the dialog is on the screen."""
        self._copies = content.plain
        self._text.update(content)
