"""A drop-down list that handles fast typing."""

from typing import Self

from textual.widgets import OptionList, Select


class DropDown(Select[str]):
    """A choice between options, which have to be `str` or `Text`: typed letters are matched only in those.

    Textual moves the focus to the list, and back, only after all keys in the queue. Those keys would go to the widget
    that had the focus before, which ignores them. This class moves the focus at once.
    """

    def focus(self, scroll_visible: bool = True) -> Self:
        """Take the focus at once."""
        self.screen.set_focus(self, scroll_visible)
        return self

    def watch_expanded(self, expanded: bool) -> None:
        """Move the focus to the list that has opened, or back."""
        # The list can be gone already.
        for options in self.query(OptionList):
            if expanded:
                options.disabled = False
                self.screen.set_focus(options, scroll_visible=False)
            else:
                if options is self.screen.focused:
                    self.focus()
                # Textual can still be about to focus the closed list.
                options.disabled = True
