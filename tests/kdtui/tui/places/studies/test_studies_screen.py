"""The place Studies: the list, the matrix of a running study, its cells, and the actions on a study."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static

from kdtui.tui.config import THEMES
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.places.jobs.training_screen import TrainingScreen
from kdtui.tui.places.runs.compared_screen import ComparedRunsScreen
from kdtui.tui.places.runs.run_screen import RunScreen
from kdtui.tui.places.studies.screen import StudiesScreen
from kdtui.tui.places.studies.study_screen import StudyScreen
from store.database import open_database
from store.runs import delete_run
from store.sqlite import Database
from store.studies import list_studies
from tests.support.acting import act, rest
from tests.support.painted import contrast
from tests.support.screens import Settle, Until, content_of, toasts
from tests.support.studies_place import (
    STUDY,
    about,
    app_at_studies,
    matrix,
    matrix_cells,
    open_study_screen,
    study,
    study_rows,
)

# The list


async def test_studies_are_listed_with_their_progress_and_questions(store: Path, settle: Settle) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        assert study_rows(app) == [
            ["wider", "wider.toml", "outdoor", "test", "5/5", "0", "✓ complete"],
            [STUDY, "rq3", "outdoor", "test", "5/5", "0", "✓ complete"],
        ]
        assert "How is knowledge best used?" in about(app)
        assert "utilization: zero-shot, icl, sft, sft+icl" in about(app)
        assert app.screen.command == "kdtui study show wider"  # type: ignore[attr-defined]


async def test_a_study_without_its_dataset_says_so_and_can_be_deleted(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    finished.execute("DELETE FROM datasets")
    assert finished.conn is not None
    finished.conn.commit()
    app = app_at_studies(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        assert "there is no dataset 'outdoor'" in study_rows(app)[0][-1]
        await act(pilot, "study.run")
        assert any("there is no dataset 'outdoor'" in each for each in toasts(app))
        await act(pilot, "study.delete")
        assert isinstance(app.screen, ConfirmDialog)
        assert app.screen.command == f"kdtui study rm {STUDY}"
        await act(pilot, "confirm.yes")
        await until(pilot, lambda: f"study {STUDY} is deleted" in toasts(app))
    assert list_studies(finished) == []


async def test_without_a_study_the_place_says_how_to_begin(unrun: Path, settle: Settle) -> None:
    db = open_database(unrun)
    db.execute("DELETE FROM studies")
    assert db.conn is not None
    db.conn.commit()
    db.close()
    app = app_at_studies(unrun)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "kdtui study run rq3 --dataset outdoor" in content_of(app, "#notice")
        await act(pilot, "study.run")
        assert toasts(app) == ["the cursor is not on a study"]


# The form


# Running


# The matrix


async def test_the_matrix_shows_formats_and_utilizations_of_one_question_at_a_time(
    store: Path, settle: Settle, until: Until
) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_study_screen(pilot, settle, until)
        shown = matrix(app)
        [block] = shown._blocks
        assert (block.rows, block.columns) == (("pattern+rule+thought",), ("zero-shot", "icl", "sft", "sft+icl"))
        assert "1/2 How is knowledge best used?" in content_of(app, "#title")
        await act(pilot, "cell.next_question")
        [block] = matrix(app)._blocks
        assert (block.rows, block.columns) == (("no knowledge", "pattern+rule+thought"), ("sft", "sft+icl"))
        assert "2/2 Does knowledge add" in content_of(app, "#title")
        await act(pilot, "cell.previous_question")
        assert "1/2 How is" in content_of(app, "#title")


async def test_keys_move_the_cursor_through_the_cells(store: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "cell.next_question")
        shown = matrix(app)
        assert shown.at == (0, 0, 0)
        for action, at in (
            ("matrix.right", (0, 0, 1)),
            ("matrix.down", (0, 1, 1)),
            ("matrix.left", (0, 1, 0)),
            ("matrix.up", (0, 0, 0)),
            ("matrix.bottom", (0, 1, 1)),
            ("matrix.top", (0, 0, 0)),
            ("matrix.page_down", (0, 1, 0)),
            ("matrix.page_up", (0, 0, 0)),
        ):
            await ACTS[action](pilot)
            assert shown.at == at, action


ACTS: dict[str, Callable[[Pilot[Any]], Awaitable[None]]] = {
    "matrix.right": lambda pilot: act(pilot, "matrix.right"),
    "matrix.down": lambda pilot: act(pilot, "matrix.down"),
    "matrix.left": lambda pilot: act(pilot, "matrix.left"),
    "matrix.up": lambda pilot: act(pilot, "matrix.up"),
    "matrix.bottom": lambda pilot: act(pilot, "matrix.bottom"),
    "matrix.top": lambda pilot: act(pilot, "matrix.top"),
    "matrix.page_down": lambda pilot: act(pilot, "matrix.page_down"),
    "matrix.page_up": lambda pilot: act(pilot, "matrix.page_up"),
}


async def test_a_key_changes_the_metric_of_the_heat_map(store: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_study_screen(pilot, settle, until)
        seen = []
        for _ in range(4):
            seen.append((content_of(app, "#title").splitlines()[2].split(" ▁")[0], matrix_cells(app)[0][:4]))
            await act(pilot, "cell.metric")
        assert [name for name, _ in seen] == ["pair F1", "strict precision", "strict recall", "exact"]
        snapshot = study(app).snapshot
        assert snapshot is not None
        row = study(app).scores.of(snapshot, matrix(app).cursor_key or "")
        assert row is not None
        assert row.scores is not None
        assert seen[0][1] == f"{row.scores.pair_f1:.3f}"[1:]
        assert content_of(app, "#title").splitlines()[2].startswith("pair F1")


async def test_the_heat_map_is_readable_in_every_theme(store: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_study_screen(pilot, settle, until)
        for theme in THEMES:
            app.theme = theme
            await rest(pilot)
            found = [
                segment
                for line in app.screen._compositor.render_strips()
                for segment in line
                if segment.text.strip("▸ ").startswith(".")
            ]
            assert len(found) >= 4, theme
            assert all(any(level in segment.text for level in "▁▂▃▄▅▆▇█") for segment in found), theme
            if not theme.startswith("ansi"):
                assert min(map(contrast, found)) > 3, theme


# A cell


async def test_a_cell_opens_its_run_which_leads_back(store: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        assert app.screen.command == "kdtui run show 1"  # type: ignore[attr-defined]
        await act(pilot, "matrix.select")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await settle(pilot)
        assert "Run 1" in content_of(app, "#title")
        assert "▸8 Studies" in str(app.screen.query_one("TopBar").render())
        await act(pilot, "run.back")
        assert isinstance(app.screen, StudyScreen)


async def test_a_cell_opens_its_training_in_the_place_jobs(store: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "cell.training")
        assert toasts(app) == ["the cell has no training, or none yet"]
        await pilot.press("l", "l")
        await act(pilot, "cell.training")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        assert app.current_mode == "jobs"
        # The study is still open.
        await act(pilot, "app.studies")
        assert isinstance(app.screen, StudyScreen)


async def test_two_marked_cells_are_compared_session_by_session(store: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "cell.compare")
        assert "mark two cells first" in toasts(app)[-1]
        await act(pilot, "cell.mark")
        await pilot.press("l")
        await act(pilot, "cell.mark")
        assert app.screen.command == "kdtui run compare 1 2"  # type: ignore[attr-defined]
        await act(pilot, "cell.compare")
        await until(pilot, lambda: isinstance(app.screen, ComparedRunsScreen))
        await settle(pilot)
        assert "▸8 Studies" in str(app.screen.query_one("TopBar").render())
        await act(pilot, "compared.back")
        await act(pilot, "cell.back")
        assert isinstance(app.screen, StudiesScreen)


async def test_a_cell_to_run_again_says_why(finished: Database, settle: Settle, until: Until) -> None:
    assert finished.path is not None
    delete_run(finished, 1)
    app = app_at_studies(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        assert matrix_cells(app)[0] == "○ again"
        assert "to do again: run 1 has been deleted" in about(app)
        await act(pilot, "matrix.select")
        assert "there is no run of this cell yet" in toasts(app)[-1]


async def test_changes_of_another_process_appear_without_a_key(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    app = app_at_studies(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        delete_run(finished, 2)
        await until(pilot, lambda: matrix_cells(app)[1] == "○ again")


async def test_a_study_is_found_by_name(store: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await act(pilot, "app.knowledge")
        await settle(pilot)
        await act(pilot, "app.palette")
        await pilot.press(*"Study wider")
        await until(pilot, lambda: bool(app.screen.query("OptionList")))
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        assert app.current_mode == "studies"


# Results


async def test_a_key_answers_the_questions_of_a_study(store: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await act(pilot, "study.answers")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        shown = " ".join(str(each.content) for each in app.screen.query(Static))
        assert "How is knowledge best used?" in shown
        assert "kdtui study answers wider" in shown


@pytest.mark.parametrize(
    ("kind", "names", "command"),
    [
        ("report", ["wider.html", "wider.md"], "kdtui study report wider --output"),
        ("csv", ["wider.csv"], "kdtui study export wider --output"),
    ],
)
async def test_a_report_or_a_table_is_written_to_a_folder(
    store: Path, tmp_path: Path, settle: Settle, until: Until, kind: str, names: list[str], command: str
) -> None:
    app = app_at_studies(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await act(pilot, "study.report")
        assert isinstance(app.screen, FormDialog)
        app.screen.query_one("#field-folder", Input).value = str(tmp_path / "out")
        app.screen.query_one("#field-kind", Select).value = kind
        await rest(pilot)
        assert app.screen.command.startswith(f"{command} {tmp_path}/out")
        await act(pilot, "form.done")
        await until(pilot, lambda: any(each.startswith("wrote ") for each in toasts(app)))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


async def test_no_report_is_written_without_a_finished_cell(unrun: Path, settle: Settle) -> None:
    app = app_at_studies(unrun)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await act(pilot, "study.report")
        assert toasts(app) == ["no cell of the study is done yet"]
