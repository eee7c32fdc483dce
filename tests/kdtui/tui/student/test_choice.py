"""The choice of a student: as options of a command, and in the memory."""

import json

import pytest

from kdtui.tui.core.choice import StudentChoice
from store.records import RunSettings

FULL = RunSettings(
    "/models/my student.gguf",
    ("pattern", "rule"),
    context=2048,
    strategy="drafts",
    adapters=(("a", 1.0), ("b", 0.5)),
    sample="half",
    neighbours=3,
    budget=100,
    near="smollm2",
    domains="all",
)


def test_settings_survive_a_choice_and_the_memory() -> None:
    choice = StudentChoice.of(FULL)
    assert choice.settings == FULL
    assert StudentChoice.from_memory(json.loads(json.dumps(choice.to_memory()))) == choice


def test_the_limit_of_a_run_is_not_part_of_the_choice() -> None:
    assert StudentChoice.of(RunSettings("smollm2", limit=3)) == StudentChoice.of(RunSettings("smollm2"))


def test_all_settings_are_options() -> None:
    assert {name: value for name, value in StudentChoice.of(FULL).options.items() if value} == {
        "--student": ["/models/my student.gguf"],
        "--adapter": ["a", "b=0.5"],
        "--knowledge": ["pattern,rule"],
        "--sample": ["half"],
        "--domains": ["all"],
        "--neighbours": ["3"],
        "--near": ["smollm2"],
        "--budget": ["100"],
        "--strategy": ["drafts"],
        "--context": ["2048"],
    }
    assert not any(StudentChoice.of(None).options.values())


def test_the_words_of_a_choice_name_unusual_settings() -> None:
    assert StudentChoice.of(None).in_words == "shipped"
    assert (
        StudentChoice.of(RunSettings("smollm2", ("thought",), neighbours=3)).in_words
        == "smollm2 + thought · 3 neighbours"
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        "shipped",
        {},
        {"student": 3},
        {"student": "patterns", "knowledge": ["rule"]},
        {"student": "shipped", "knowledge": ["pattern"]},
        {"student": "smollm2", "strategy": "magic"},
        {"student": "http://me:secret@host/v1#m"},
    ],
)
def test_an_impossible_choice_is_not_remembered(value: object) -> None:
    assert StudentChoice.from_memory(value) is None


@pytest.mark.parametrize(
    ("student", "settings"),
    [
        ("patterns", RunSettings("patterns")),
        ("shipped", RunSettings("shipped", context=512)),
        ("smollm2", RunSettings("smollm2", ("rule",), context=512, strategy="drafts")),
    ],
)
def test_another_student_keeps_what_it_can_use(student: str, settings: RunSettings) -> None:
    choice = StudentChoice.of(RunSettings("other", ("rule",), context=512, strategy="drafts"))
    assert choice.with_student(student).settings == settings


def test_removing_the_last_format_removes_the_settings_for_knowledge() -> None:
    choice = StudentChoice.of(RunSettings("smollm2", neighbours=None)).with_format("pattern").with_format("rule")
    assert choice.settings.knowledge == ("pattern", "rule")
    choice = StudentChoice.of(RunSettings("smollm2", ("rule",), sample="s", neighbours=2, budget=9, near="m"))
    assert choice.with_format("rule") == StudentChoice.of(RunSettings("smollm2"))
