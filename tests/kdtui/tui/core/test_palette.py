"""The palette finds names in the store, and runs actions of other places."""

from pathlib import Path
from threading import Event

import pytest
from textual.command import CommandList, CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input, Select

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core import palette
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.help import HelpScreen
from kdtui.tui.core.store_names import StoreName, store_names
from kdtui.tui.places.jobs.training_screen import TrainingScreen
from kdtui.tui.places.models.screen import ModelsScreen
from kdtui.tui.places.runs.run_screen import RunScreen
from kdtui.tui.places.samples.screen import SamplesScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.data.import_dataset import import_dataset
from store.database import open_database
from store.models import NamedModel, add_model
from store.records import TrainingSettings
from store.samples import list_samples, save_sample
from store.sqlite import Database
from tests.support.acting import act
from tests.support.jobs_place import make_job
from tests.support.screens import Settle, Until
from tests.support.stores import OUTDOOR
from tests.support.waiting import PATIENCE

HOSTILE = "[red]x[/] trail"


@pytest.fixture
def named_store(store: Path) -> Path:
    """A store with runs, a second dataset, a sample, an adapter and a training."""
    db = open_database(store)
    list(import_dataset(db, OUTDOOR, "trail"))
    save_sample(db, "half", [], [1, 2], replace=False)
    save_sample(db, HOSTILE, [], [3], replace=False)
    add_model(db, NamedModel("camper", store, "a test", False, "adapter"))
    db.close()
    make_job(store, "camping", {"exit_code": "0", "log": "done\n"}, TrainingSettings(("trail",)))
    return store


async def listed_options(pilot: Pilot[None], until: Until, text: str, title: str) -> list[list[str]]:
    """Return the lines of the options that the palette lists for a text, after one with this title appears."""
    app = pilot.app
    await act(pilot, "app.palette")
    await until(pilot, lambda: isinstance(app.screen, CommandPalette))
    app.screen.query_one(Input).value = text

    def lines() -> list[list[str]]:
        return [str(option.prompt).splitlines() for option in app.screen.query_one(CommandList).options]

    def is_searching() -> bool:
        group = CommandPalette._GATHER_COMMANDS_GROUP
        return any(worker.group == group and not worker.is_finished for worker in app.workers)

    await until(pilot, lambda: title in [each[0] for each in lines()] and all(len(each) == 2 for each in lines()))
    # The order can change while more commands arrive.
    await until(pilot, lambda: not is_searching())
    return lines()


async def choose(pilot: Pilot[None], until: Until, text: str, title: str) -> None:
    """Choose the option with this title."""
    titles = [each[0] for each in await listed_options(pilot, until, text, title)]
    pilot.app.screen.query_one(CommandList).highlighted = titles.index(title)
    await pilot.press("enter")
    await until(pilot, lambda: not isinstance(pilot.app.screen, CommandPalette))


def notices(app: KdtuiApp) -> list[tuple[str, str]]:
    return [(note.title, str(note.message)) for note in app._notifications]


async def test_a_dataset_is_found_and_its_sessions_are_listed(named_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(named_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await choose(pilot, until, "trail", "Dataset trail")
        await settle(pilot)
        assert app.current_mode == "workbench"
        assert app.screen.query_one("#dataset", Select).value == "trail"
        # An open session and a filter hide no dataset.
        await act(pilot, "table.select")
        await settle(pilot)
        assert isinstance(app.screen, SessionScreen)
        await choose(pilot, until, "dataset demo", "Dataset demo-outdoor")
        await settle(pilot)
        assert app.screen.query_one("#dataset", Select).value == "demo-outdoor"


async def test_a_run_is_found_and_opened_even_if_a_filter_hides_it(
    named_store: Path, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(named_store)
    app.memory.of("runs")["filter"] = "no such run"
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await choose(pilot, until, "quick rule", "Run 2: quick + rule on demo-outdoor test")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert app.screen.number == 2  # type: ignore[attr-defined]
        assert app.current_mode == "runs"


async def test_a_sample_a_model_and_a_training_are_found(named_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(named_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for name in (HOSTILE, "half"):
            # Names are not markup.
            await choose(pilot, until, name, f"Sample {name}")
            await settle(pilot)
            assert isinstance(app.screen, SamplesScreen)
            assert app.screen.query_one(RowTable).cursor_key == name
        await choose(pilot, until, "camper", "Adapter camper")
        await settle(pilot)
        assert isinstance(app.screen, ModelsScreen)
        assert app.screen.query_one(RowTable).cursor_key == "camper"
        await choose(pilot, until, "camping", "Training camping")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        assert app.screen.training_name == "camping"  # type: ignore[attr-defined]


async def test_the_highlighted_command_stays_while_more_arrive(
    named_store: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_are_known = Event()

    def wait_for_names(db: Database) -> list[StoreName]:
        names_are_known.wait(PATIENCE)
        return store_names(db)

    monkeypatch.setattr(palette, "store_names", wait_for_names)
    # Otherwise nothing is listed for the first quarter of a second.
    monkeypatch.setattr(CommandPalette, "_RESULT_BATCH_TIME", 0.0)
    app = KdtuiApp(named_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await act(pilot, "app.palette")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        app.screen.query_one(Input).value = "training"
        options = app.screen.query_one(CommandList)
        try:
            await until(pilot, lambda: options.option_count > 2)
            found = options.option_count
            await pilot.press("down", "down")
            chosen = options.highlighted_option
            assert chosen is not None
        finally:
            names_are_known.set()
        await until(pilot, lambda: options.option_count > found)
        assert options.highlighted_option is not None
        assert str(options.highlighted_option.prompt) == str(chosen.prompt)


async def test_a_deleted_row_gives_a_message(named_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(named_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for place, key, sentence in (
            ("workbench", "gone", "there is no dataset 'gone' any more"),
            ("runs", "run 99", "there is no run 99 any more"),
            ("samples", "gone", "there is no sample 'gone' any more"),
            ("models", "gone", "there is no model 'gone' any more"),
            ("jobs", "gone", "there is no training 'gone' any more"),
        ):
            app.show_in_place(place, key)
            await until(pilot, lambda sentence=sentence: sentence in [each.sentence for each in app.past_messages])  # type: ignore[misc]


@pytest.mark.parametrize("visited", [False, True])
async def test_a_command_of_another_place_runs_there(
    visited: bool, named_store: Path, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(named_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        if visited:
            await act(pilot, "app.runs")
            await settle(pilot)
            await act(pilot, "table.select")
            await until(pilot, lambda: isinstance(app.screen, RunScreen))
            await act(pilot, "app.knowledge")
        # It is also found by its purpose.
        await choose(pilot, until, "evaluate a student", "Runs: New")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert app.current_mode == "runs"


async def test_an_action_on_a_row_is_only_offered(named_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(named_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await choose(pilot, until, "samples delete", "Samples: Delete")
        await until(pilot, lambda: ("Press d", "Delete the sample; its knowledge stays") in notices(app))
        assert isinstance(app.screen, SamplesScreen)
        assert not isinstance(app.screen, ConfirmDialog)
    db = open_database(named_store)
    assert len(list_samples(db)) == 2
    db.close()


async def test_an_impossible_action_of_another_place_says_why(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    why = f"mark two samples first, with {app.key_of('samples.mark')}"
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        # The place is not loaded, so this is known only after the user opens it.
        assert ["Samples: Overlap", "Show which pieces the two marked samples share"] in await listed_options(
            pilot, until, "overlap", "Samples: Overlap"
        )
        await pilot.press("escape")
        await settle(pilot)
        await choose(pilot, until, "overlap", "Samples: Overlap")
        await until(pilot, lambda: ("Not now", why) in notices(app))
        assert isinstance(app.screen, SamplesScreen)
        await act(pilot, "app.knowledge")
        assert [
            "Samples: Overlap",
            f"Show which pieces the two marked samples share (not now: {why})",
        ] in await listed_options(pilot, until, "overlap", "Samples: Overlap")


@pytest.mark.slow
async def test_an_action_on_a_session_runs_in_it_or_says_how_to_open_one(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await choose(pilot, until, "knowledge and its strategy", "Workbench: Settings")
        await until(pilot, lambda: "Open a session first, with ⏎" in [title for title, _ in notices(app)])
        assert app.current_mode == "workbench"
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        await settle(pilot)
        await act(pilot, "app.knowledge")
        await choose(pilot, until, "knowledge and its strategy", "Workbench: Settings")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert app.current_mode == "workbench"


async def test_scattered_letters_of_a_purpose_find_nothing(named_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(named_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert [each[0] for each in await listed_options(pilot, until, "half", "Sample half")] == ["Sample half"]


async def test_the_palette_names_no_command_twice(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for text, title in (("", "Workbench: Search"), ("help", "Help")):
            listed = await listed_options(pilot, until, text, title)
            purposes = [purpose.partition(" (not now")[0] for _, purpose in listed]
            assert len(purposes) == len(set(purposes)), sorted(purposes)
            await pilot.press("escape")
            await settle(pilot)


async def test_commands_are_found_where_the_store_cannot_be_read(
    empty_store: Path, settle: Settle, until: Until
) -> None:
    empty_store.write_bytes(b"this is not a database, whatever its name says" * 100)
    app = KdtuiApp(empty_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await choose(pilot, until, "list the keys", "Help")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
