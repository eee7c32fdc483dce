"""The command that does what the screen does."""

import shlex
from pathlib import Path

import pytest

from kdtui.tui.choice import Choice
from kdtui.tui.commands import command_line
from store.records import RunSettings


def test_a_plain_command_has_no_quotes() -> None:
    assert (
        command_line(("generate",), "o01", {"--dataset": "demo-outdoor", "--student": None, "--knowledge": "pattern"})
        == "kdtui generate o01 --dataset demo-outdoor --knowledge pattern"
    )


@pytest.mark.parametrize("text", ["a b", "$(reboot)", "it's", "`x`", "a\nb", "", "\x1b[31m", "*"])
def test_a_shell_reads_what_was_meant(text: str) -> None:
    line = command_line(("generate",), text, {"--dataset": text}, database=Path("/tmp/my db"))
    assert shlex.split(line) == ["kdtui", "generate", text, "--dataset", text, "--db", "/tmp/my db"]


def test_what_begins_with_a_dash_is_no_option() -> None:
    line = command_line(("data", "show"), "-rf", {"--dataset": "-d"})
    assert line == "kdtui data show --dataset=-d -- -rf"


def test_the_pattern_student_is_not_given_patterns() -> None:
    choice = Choice("patterns", with_patterns=True)
    assert choice.name == "patterns"
    assert choice.options == {"--student": "patterns", "--knowledge": None, "--context": None}
    assert choice.to_settings() == RunSettings("patterns")


def test_settings_survive_being_a_choice() -> None:
    settings = RunSettings("/models/my student.gguf", ("pattern",), context=2048)
    choice = Choice.of(settings)
    assert choice.name == "my student + pattern"
    assert choice.to_settings() == settings
