"""The app on a missing store, and on one that another process writes to."""

from pathlib import Path

import pytest

from kdtui.tui.app import KdtuiApp, run_app
from kdtui.workflows.waiting import WAITING
from store.database import open_database
from store.errors import StoreError
from store.samples import save_sample
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


@pytest.fixture
def sampled(demo_store: Path) -> Path:
    """A store with one sample."""
    db = open_database(demo_store)
    save_sample(db, "half", [], [1], replace=False)
    db.close()
    return demo_store
