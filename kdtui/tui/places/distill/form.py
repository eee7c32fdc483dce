"""The forms that ask what is to be distilled, and then what depends on the teacher."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kdtui.tui.core.forms import ValuesDialog
from kdtui.tui.places.distill.plan import DistillationPlan, first_form, planned, problem_of, second_form, told_before


class DistillationForm:
    """Asks what to distil, from whom, and for how much.

    Args:
        datasets: those that there are.
        dataset: the one that the form begins with.
        before: what was chosen last; anyone may have edited it.
        clash: why a plan cannot be carried out now, or None.
        there: how many pieces of the annotations could be replaced, by dataset and format.
        database: how a command names the store.
    """

    def __init__(
        self,
        datasets: Sequence[str],
        dataset: str,
        before: object,
        clash: Callable[[DistillationPlan], str | None],
        there: Mapping[tuple[str, str], int],
        database: Path | None,
    ) -> None:
        self._datasets, self._clash, self._there, self._database = datasets, clash, there, database
        self._before = (
            {name: text for name, text in before.items() if isinstance(text, str)} if isinstance(before, dict) else {}
        ) | {"dataset": dataset}

    def what(self) -> ValuesDialog:
        """The first form."""
        return ValuesDialog(
            "Distil knowledge",
            first_form(self._before, self._datasets),
            verb="Go on",
            check=lambda values: problem_of(values) or self._clash(planned(values)),
            command=lambda values: self.plan(values).command(self._database),
            follow=lambda _, values: ({}, told_before(values, self._there)),
        )

    def how(self, what: Mapping[str, str]) -> ValuesDialog | None:
        """The second form; None where the values of the first say all."""
        fields = second_form(self._before, planned(what))
        if not fields:
            return None
        return ValuesDialog(
            planned(what).heading,
            fields,
            verb="See what it costs" if planned(what).teacher == "endpoint" else "Begin",
            check=problem_of,
            command=lambda how: self.plan(what, how).command(self._database),
        )

    def plan(self, *values: Mapping[str, str]) -> DistillationPlan:
        """What the values of the forms stand for; what was not asked for is as it was last."""
        return planned(self._before, *values)
