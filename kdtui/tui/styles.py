"""The stylesheet of the app, which is parsed only when necessary."""

from textual.css.stylesheet import Stylesheet


class Styles(Stylesheet):
    """A stylesheet that is parsed again only when the colours of the theme change.

    Textual parses it whenever the user opens a place for the first time, which delays keys by 100 ms.
    """

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables=variables)
        self._colours = variables
        self._is_out_of_date = False

    def set_variables(self, variables: dict[str, str]) -> None:
        """Set the colours, by their names."""
        if variables != self._colours:
            super().set_variables(variables)
            self._colours = variables
            self._is_out_of_date = True

    def reparse(self) -> None:
        """Parse the styles if the colours have changed; added styles are parsed on demand."""
        if self._is_out_of_date:
            super().reparse()
            self._is_out_of_date = False
