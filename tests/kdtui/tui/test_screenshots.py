"""The pictures in the documentation are up to date."""

import re
from pathlib import Path

import pytest

from docs.screenshots import (
    FOLDER,
    TOUR_SIZE,
    make_store,
    opened,
    photograph_form,
    photograph_knowledge,
    photograph_session,
    words_of,
)
from kdtui.tui.actions import ACTIONS

PAGES = [FOLDER.parent / "README.md", *FOLDER.glob("*.md")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photographed") / "kdtui.db"
    make_store(path)
    return path


@pytest.fixture
def at_home(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default store of commands."""
    monkeypatch.setenv("KDTUI_DB", str(store))
    return store


def lasting(path: Path) -> str:
    """Return the text of a picture without dates and durations."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DAY", words_of(path.read_text(encoding="utf-8")))
    return re.sub(r"done in [\d.]+ s", "done in some time", text)


@pytest.mark.slow
async def test_pictures_without_a_language_model_are_up_to_date(at_home: Path, tmp_path: Path) -> None:
    await photograph_session(at_home, tmp_path)
    async with opened(at_home, tmp_path, TOUR_SIZE, "shipped") as camera:
        await photograph_knowledge(camera)
        await camera.press("escape", until="Search")
        await photograph_form(camera)
    made = sorted(tmp_path.glob("*.svg"))
    assert [path.stem for path in made] == ["session", "tour-form", "tour-piece", "tour-rule"]
    for path in made:
        assert lasting(FOLDER / path.name) == lasting(path), "make it anew with: python -m docs.screenshots"


def test_the_keys_in_a_picture_with_a_student_are_up_to_date() -> None:
    words = words_of((FOLDER / "tour-tried.svg").read_text(encoding="utf-8"))
    footer = words[words.rindex("$ kdtui") :]
    shown = [each for each in ACTIONS if each.scope == "session" and each.footer and f" {each.label}" in footer]
    assert len(shown) > 4, footer


def test_the_tour_ends_with_a_training_that_helped_and_the_documentation_has_its_numbers() -> None:
    words = words_of((FOLDER / "tour-helped.svg").read_text(encoding="utf-8"))
    assert "the training helped on 8 validation sessions" in words
    loss = re.search(r"validation loss ([\d.]+), shipped ([\d.]+): -0(\.\d+) \[-0(\.\d+), -0(\.\d+)\]", words)
    answers = re.search(r"token F1 of intents 0(\.\d+), shipped 0(\.\d+)", words)
    assert loss is not None
    assert answers is not None
    after, before, *gain = loss.groups()
    student = (FOLDER / "student.md").read_text(encoding="utf-8")
    assert f"| {after} | -{gain[0]} [-{gain[1]}, -{gain[2]}] | {answers[1]} |" in student
    assert f"before the training it is {before}" in student


def test_every_picture_is_used_and_every_used_picture_exists() -> None:
    shown = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r"\]\(([^)]+\.svg)\)", page.read_text(encoding="utf-8"))
    }
    assert shown == {path.resolve() for path in FOLDER.glob("*.svg")}
