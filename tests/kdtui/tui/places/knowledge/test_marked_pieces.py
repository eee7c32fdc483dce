"""Marked pieces become a sample or a file, or are deleted."""

import json
from pathlib import Path

import pytest
from textual.widgets import Input, Static

from benchmarks.large_store import make_store
from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.places.knowledge.screen import KnowledgeScreen
from store.database import open_database
from store.knowledge import find_knowledge
from store.records import STATUSES
from store.samples import pieces_of_sample, save_sample
from tests.support.acting import act, rest
from tests.support.knowledge_place import pieces_table, search, state
from tests.support.screens import Settle, Until


async def test_marked_pieces_become_a_sample(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        keys = [str(number) for number in list(pieces_table(app).ids)[:3]]
        await act(pilot, "knowledge.mark")
        await act(pilot, "knowledge.mark")
        await act(pilot, "knowledge.mark")
        await pilot.press("k")
        await act(pilot, "knowledge.mark")
        assert pieces_table(app).cursor_row == 3
        assert state(app).endswith("· 2 marked")
        await act(pilot, "knowledge.sample")
        assert isinstance(app.screen, FormDialog)
        await pilot.press(*"few")
        shown = str(app.screen.query_one("#dialog-command", Static).content)
        numbers = sorted(map(int, keys[:2]))
        assert shown == f"$ kdtui sample create few --pieces {','.join(map(str, numbers))}"
        await act(pilot, "form.done")
        await settle(pilot)
    db = open_database(full_store)
    assert pieces_of_sample(db, "few") == numbers
    db.close()


@pytest.mark.parametrize(("query", "flags"), [("format:rule", ""), ("format:rule status:rejected", "--all ")])
async def test_a_sample_has_rejected_pieces_only_on_demand(
    full_store: Path, settle: Settle, query: str, flags: str
) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, query, settle)
        await act(pilot, "knowledge.mark_all")
        await settle(pilot)
        await act(pilot, "knowledge.sample")
        await pilot.press(*"r")
        shown = str(app.screen.query_one("#dialog-command", Static).content)
        assert shown.startswith(f"$ kdtui sample create {flags}r --query ")
        await act(pilot, "form.done")
        await settle(pilot)
        messages = " ".join(note.message for note in app._notifications)
        assert ("rejected pieces are left out" in messages) == (not flags)
    db = open_database(full_store)
    statuses = {piece.status for status in STATUSES for piece in find_knowledge(db, sample="r", status=status)}
    assert statuses == ({"rejected"} if flags else {"kept"})
    db.close()


async def test_all_matches_are_marked_and_named_by_the_query(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, "format:pattern", settle)
        await act(pilot, "knowledge.mark_all")
        await settle(pilot)
        assert state(app).endswith("· 39 marked")
        await act(pilot, "knowledge.sample")
        await pilot.press(*"p")
        assert (
            str(app.screen.query_one("#dialog-command", Static).content)
            == "$ kdtui sample create p --query format:pattern"
        )
        await act(pilot, "form.close")
        await act(pilot, "knowledge.mark_all")
        await settle(pilot)
        assert "marked" not in state(app)


async def test_matches_that_are_not_loaded_yet_are_marked_too(empty_store: Path, settle: Settle) -> None:
    make_store(empty_store, 1_000, 50)
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert not pieces_table(app).is_whole
        await act(pilot, "knowledge.mark_all")
        await settle(pilot)
        assert state(app).endswith("· 1,000 marked")


async def test_a_taken_name_gives_a_message(full_store: Path, settle: Settle) -> None:
    db = open_database(full_store)
    save_sample(db, "few", [], [], replace=False)
    db.close()
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.sample")
        await pilot.press(*"few")
        await act(pilot, "form.done")
        await settle(pilot)
        assert any("'few' exists already" in each.message for each in app._notifications)
        assert app.screen.check_action("sample", ())


async def test_marked_pieces_are_exported(full_store: Path, tmp_path: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.mark")
        await act(pilot, "knowledge.export")
        assert isinstance(app.screen, FormDialog)
        app.screen.query_one("#field-folder", Input).value = str(tmp_path / "out")
        await rest(pilot)
        shown = str(app.screen.query_one("#dialog-command", Static).content)
        assert shown.startswith(f"$ kdtui knowledge export --output {tmp_path / 'out'} --pieces ")
        await act(pilot, "form.done")
        await settle(pilot)
    [line] = (tmp_path / "out" / "knowledge.jsonl").read_text().splitlines()
    assert json.loads(line)["statement"] == "Zebra tents go with mats"


async def test_deleted_pieces_can_be_restored(full_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert isinstance(app.screen, KnowledgeScreen)
        assert app.screen.why_not("undo") == "nothing was deleted since the program started"
        before = list(pieces_table(app).ids)
        await act(pilot, "knowledge.delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        asked = " ".join(str(each.content) for each in app.screen.query(Static))
        assert "Delete 1 piece of knowledge?" in asked
        assert "2 links to training sessions go too. u restores them" in asked
        await act(pilot, "confirm.no")
        await settle(pilot)
        assert list(pieces_table(app).ids) == before
        await act(pilot, "knowledge.delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await act(pilot, "confirm.yes")
        await settle(pilot)
        assert list(pieces_table(app).ids) == before[1:]
        await act(pilot, "knowledge.undo")
        await settle(pilot)
        assert list(pieces_table(app).ids) == before
        assert app.screen.why_not("undo") is not None
    db = open_database(full_store)
    assert db.execute("SELECT count(*) FROM knowledge_sessions WHERE knowledge_id = ?", [before[0]]).fetchone() == (2,)
    db.close()
