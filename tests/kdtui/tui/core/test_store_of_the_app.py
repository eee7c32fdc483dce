"""The app on a missing store, and on one that another process writes to."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from kdtui.tui.app import KdtuiApp, run_app
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.core.store_worker import StoreChanged
from kdtui.workflows.waiting import WAITING
from store.database import open_database
from store.errors import StoreError
from store.samples import delete_sample, save_sample
from store.sqlite import Database
from tests.support.acting import act
from tests.support.locking import writing
from tests.support.screens import Settle, Until, toasts


async def test_browsing_creates_no_store(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        for key in "1234567":
            await pilot.press(key)
            await settle(pilot)
    assert not empty_store.exists()


@pytest.mark.parametrize("place", ["/dev/null", "."])
def test_an_impossible_store_gives_a_message_before_the_app_opens(place: str) -> None:
    with pytest.raises(StoreError, match="a database is a file"):
        run_app(Path(place))


async def test_a_change_waits_for_another_process_and_says_so(sampled: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(sampled)
    async with app.run_test() as pilot:
        await pilot.press("4")
        await settle(pilot)
        await act(pilot, "samples.delete")
        await settle(pilot)
        with writing(sampled) as end:
            await act(pilot, "confirm.yes")
            await until(pilot, lambda: WAITING in toasts(app))
            end()
        await settle(pilot)
    db = open_database(sampled)
    assert db.execute("SELECT count(*) FROM samples").fetchone() == (0,)
    db.close()


async def test_changes_wait_for_each_other_and_none_is_lost(sampled: Path, settle: Settle, until: Until) -> None:
    db = open_database(sampled)
    save_sample(db, "other", [], [1], replace=False)
    db.close()
    app = KdtuiApp(sampled)
    async with app.run_test() as pilot:
        await pilot.press("4")
        await settle(pilot)
        with writing(sampled) as end:
            for key in ("home", "end"):
                await pilot.press(key)
                await act(pilot, "samples.delete")
                await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
                await act(pilot, "confirm.yes")
                await until(pilot, lambda: WAITING in toasts(app))
            end()
        await settle(pilot)
        assert {"sample half is deleted", "sample other is deleted"} <= set(toasts(app))
    db = open_database(sampled)
    assert db.execute("SELECT count(*) FROM samples").fetchone() == (0,)
    db.close()


async def test_a_change_is_made_and_reported_after_its_screen_has_closed(
    sampled: Path, settle: Settle, until: Until
) -> None:
    def delete(name: str, db: Database) -> StoreChanged:
        delete_sample(db, name)
        return StoreChanged(f"sample {name} is deleted")

    app = KdtuiApp(sampled)
    async with app.run_test() as pilot:
        await settle(pilot)
        screen = StoreScreen[None](sampled)
        await app.push_screen(screen)
        with writing(sampled) as end:
            screen.write(partial(delete, "half"))
            screen.write(partial(delete, "missing"))
            await until(pilot, lambda: WAITING in toasts(app))
            screen.dismiss()
            await until(pilot, lambda: not screen.is_attached)
            end()
        await settle(pilot)
        assert "sample half is deleted" in toasts(app)
        assert any("missing" in sentence for sentence in toasts(app))


async def test_leaving_the_app_waits_for_changes(sampled: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(sampled)
    with writing(sampled) as end:
        async with app.run_test() as pilot:
            await pilot.press("4")
            await settle(pilot)
            await act(pilot, "samples.delete")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await act(pilot, "confirm.yes")
            await until(pilot, lambda: WAITING in toasts(app))
            asyncio.get_running_loop().call_later(0.3, end)
    assert app.farewells == []
    db = open_database(sampled)
    assert db.execute("SELECT count(*) FROM samples").fetchone() == (0,)
    db.close()


async def test_leaving_the_app_names_the_changes_that_could_not_be_made(
    sampled: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.tui.app._QUIT_WAIT", 0.2)
    app = KdtuiApp(sampled)
    with writing(sampled) as end:
        async with app.run_test() as pilot:
            await pilot.press("4")
            await settle(pilot)
            await act(pilot, "samples.delete")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await act(pilot, "confirm.yes")
            await until(pilot, lambda: WAITING in toasts(app))
        end()
        await asyncio.wait(app.changes)
    assert app.farewells == ["1 change to the database could not be made, since another program was writing"]


@pytest.fixture
def sampled(demo_store: Path) -> Path:
    """A store with one sample."""
    db = open_database(demo_store)
    save_sample(db, "half", [], [1], replace=False)
    db.close()
    return demo_store
