"""One line of the tables in `tests/inputs/cases`: a situation, what a person enters there, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """A command in a situation, and the sentence that it must answer with.

    Attributes:
        situation: reads as a sentence, and names the test.
        command: arguments of `kdtui`. `{tmp}` in any text of a case stands for the folder of the test.
        expected: part of what is printed: on stderr where the command fails, else on stdout or stderr.
        code: exit code.
        files: files in the folder of the test, by name.
        before: commands that are run first, and must succeed. The demo data are imported with `DEMO`.
        forbidden: what must not be printed.
    """

    situation: str
    command: tuple[str, ...]
    expected: str
    code: int = 1
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    before: tuple[tuple[str, ...], ...] = ()
    forbidden: tuple[str, ...] = ()


DEMO = ("data", "import", "{outdoor}", "--dataset", "demo")
"""Imports the demo sessions of outdoor products as the dataset `demo`."""
