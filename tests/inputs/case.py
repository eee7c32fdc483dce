"""A row of the tables in `tests/inputs/cases`: a situation, the input of the user, and the expected answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """A command in a situation, and the expected message.

    Attributes:
        situation: a sentence that names the test.
        command: arguments of `kdtui`. `{tmp}` in any text of a case stands for the folder of the test.
        expected: part of the output: on stderr if the command fails, else on stdout or stderr.
        code: exit code.
        files: files in the folder of the test, by name.
        before: commands that run first and must succeed. `DEMO` imports the demo data.
        forbidden: texts that must not be in the output.
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
