"""A drop-down list whose keys may come as fast as one types."""

from typing import Self

from textual.widgets import OptionList, Select


class DropDown(Select[str]):
    """One of some options, which have to be `str` or `Text`: letters that are typed are looked for in those alone.

    Textual gives the keys to the list that opens, and back again, behind all keys that have come meanwhile: they would
    go to what had the focus before, which does nothing with them. Here both are done at once.
    """

    def focus(self, scroll_visible: bool = True) -> Self:
        """Take the keys at once."""
        self.screen.set_focus(self, scroll_visible)
        return self

    def watch_expanded(self, expanded: bool) -> None:
        """Give the keys to the list that has opened, or take them back."""
        # It may be gone meanwhile.
        for options in self.query(OptionList):
            if expanded:
                options.disabled = False
                self.screen.set_focus(options, scroll_visible=False)
            else:
                if options is self.screen.focused:
                    self.focus()
                # Textual may be about to give them to it, when it is closed already.
                options.disabled = True
