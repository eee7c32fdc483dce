"""The shell command that does the same as a screen."""

import shlex
from pathlib import Path

import pytest

from kdtui.tui.core.commands import command_line


def test_a_plain_command_has_no_quotes() -> None:
    assert (
        command_line(("generate",), "o01", {"--dataset": "demo-outdoor", "--student": None, "--knowledge": "pattern"})
        == "kdtui generate o01 --dataset demo-outdoor --knowledge pattern"
    )


@pytest.mark.parametrize("text", ["a b", "$(reboot)", "it's", "`x`", "a\nb", "", "\x1b[31m", "*"])
def test_a_shell_reads_the_same_words(text: str) -> None:
    line = command_line(("generate",), text, {"--dataset": text}, database=Path("/tmp/my db"))
    assert shlex.split(line) == ["kdtui", "generate", text, "--dataset", text, "--db", "/tmp/my db"]


def test_a_value_with_a_dash_is_not_an_option() -> None:
    line = command_line(("data", "show"), "-rf", {"--dataset": "-d"})
    assert line == "kdtui data show --dataset=-d -- -rf"


def test_an_option_with_several_values_is_repeated() -> None:
    line = command_line(("generate",), options={"--title": ["Tent", "-x"], "--adapter": []})
    assert line == "kdtui generate --title Tent --title=-x"
