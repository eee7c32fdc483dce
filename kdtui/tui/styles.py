"""The styles of the app, parsed once."""

from textual.css.stylesheet import Stylesheet


class Styles(Stylesheet):
    """Styles that are parsed anew only when the theme's colours are others.

    Textual parses all of them whenever a place is gone to for the first time, which holds up the keys by 100 ms.
    """

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables=variables)
        self._colours = variables
        self._is_out_of_date = False

    def set_variables(self, variables: dict[str, str]) -> None:
        """Use these colours, by their names."""
        if variables != self._colours:
            super().set_variables(variables)
            self._colours = variables
            self._is_out_of_date = True

    def reparse(self) -> None:
        """Parse what there is, if the colours have changed; what has been added is parsed when it is needed."""
        if self._is_out_of_date:
            super().reparse()
            self._is_out_of_date = False
