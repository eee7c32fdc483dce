"""The app in a real terminal, driven by tmux."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from store.database import open_database
from tests.support.needs import needs_tmux
from tests.support.real_terminal import Terminal, opened
from tests.support.tiny import make_model

pytestmark = needs_tmux


@pytest.fixture(params=[(80, 24), (200, 50)], ids=["80x24", "200x50"])
def terminal(request: pytest.FixtureRequest, demo_store: Path) -> Iterator[Terminal]:
    with opened(demo_store, *request.param) as terminal:
        yield terminal


@pytest.mark.slow
def test_a_session_is_opened_and_answered_and_the_app_quits(terminal: Terminal) -> None:
    terminal.press("2")
    terminal.wait_for("o01")
    terminal.press("Enter")
    terminal.wait_for("True bundles")
    terminal.press("g")
    assert "%" in terminal.wait_for("done in")
    terminal.press("1")
    terminal.wait_for("Statement")
    terminal.press("q")
    assert "Traceback" not in terminal.wait_for("ended with 0")


@pytest.mark.slow
def test_from_a_rule_to_an_adapter(demo_store: Path, few: Path, tmp_path: Path) -> None:
    """Follow docs/tour.md, with a tiny base and few sessions, so that the training is short."""
    db = open_database(demo_store)
    list(import_dataset(db, few, "few"))
    list(distill_annotations(db, "demo-outdoor", ["rule"]))
    db.close()
    base = make_model(tmp_path / "tiny.gguf")
    with opened(demo_store, 80, 24) as terminal:
        terminal.press("/")
        terminal.type("tents mats format:rule")
        terminal.wait_for("1 piece ·")
        terminal.press("Enter")
        terminal.wait_for("Put Camping > Shelter > Tents together")
        terminal.wait_for("space Mark")
        terminal.press("Enter")
        terminal.wait_for("Comes from")
        terminal.press("t")
        terminal.wait_for("alike")
        terminal.press("5")
        terminal.wait_for("There is no training yet")
        terminal.press("n")
        terminal.wait_for("Start a training")
        terminal.press("Tab", "C-u")
        terminal.type("few")
        terminal.press(*["Tab"] * 8, "C-u")
        terminal.type(str(base))
        terminal.press("C-s")
        terminal.wait_for("kdtui sft show few-1")
        terminal.press("Enter")
        assert "loss" in terminal.wait_for("evaluation at step")
        terminal.wait_for("few-1 ✓ done")
        terminal.press("a")
        terminal.wait_for("True bundles")
        terminal.press("g")
        assert "%" in terminal.wait_for("done in")
        terminal.press("q")
        terminal.wait_for("ended with 0")


def test_copying_the_mouse_and_resizing_work(demo_store: Path) -> None:
    # The size that a shell has exported is not the size of the terminal.
    with opened(demo_store, 80, 24, "COLUMNS=80 LINES=24") as terminal:
        terminal.press("c")
        terminal.wait_for("copied:")
        assert terminal.copied().startswith("kdtui knowledge ls --all")
        [bar] = [line for line in terminal.screen().splitlines() if "6 Runs" in line]
        terminal.click(bar.index("Runs"), 0)
        terminal.wait_for("▸6 Runs")
        terminal.resize(120, 40)
        assert len(terminal.wait_for("kdtui   1 Knowledge").splitlines()) == 40
        terminal.resize(30, 6)
        terminal.resize(80, 24)
        terminal.wait_for("▸6 Runs")
        terminal.press("q")
        terminal.wait_for("ended with 0")


@pytest.mark.parametrize("variables", ["NO_COLOR=1", "TERM=xterm-16color COLORTERM="], ids=["none", "16"])
def test_with_few_colours_the_cursor_is_visible(demo_store: Path, variables: str) -> None:
    with opened(demo_store, 80, 24, variables) as terminal:
        assert "▸1 Knowledge" in terminal.screen()
        if variables.startswith("NO_COLOR"):
            colours = re.findall(r"[34]8[;:]5[;:](\d+)", terminal.screen("-e"))
            # Black, white, and greys.
            assert all(int(each) in (0, 7, 8, 15, 16, 59, 102, 145, 188, 231, *range(232, 256)) for each in colours)
            # The row under the cursor differs by more than a colour.
            # The piece below the list shows the number too.
            row = next(line for line in terminal.screen("-e").splitlines() if "0.475" in line)
            assert re.search(r"\x1b\[(?:\d+;)*[17]m", row), repr(row)
