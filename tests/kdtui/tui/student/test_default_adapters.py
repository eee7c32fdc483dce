"""The default adapter of a dataset answers until the user chooses another student."""

from pathlib import Path

from kdtui.tui.app import KdtuiApp
from kdtui.workflows.finish_jobs import finish_job
from kdtui.workflows.training.find_outcome import find_outcome
from models.embedded import embedded_student
from store.database import open_database
from tests.support.acting import act
from tests.support.done_trainings import right, trained, wrong
from tests.support.screens import Settle, Until, command, shown


async def test_the_default_adapter_answers_until_the_user_chooses_and_commands_say_so(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    db = open_database(demo_store)
    trained(db, demo_store.parent, "good", wrong, right, dataset="demo-outdoor")
    job = demo_store.parent / "jobs" / "good" / "job.json"
    job.write_text(f'{{"base": "{embedded_student()}"}}')
    assert find_outcome(db, finish_job(db, "good")) is not None
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "app.workbench")
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: shown(app, "#asks") == "asks smollm2 + good")
        asked = "kdtui generate o01 --dataset demo-outdoor --student"
        assert command(app) == f"{asked} smollm2 --adapter good --knowledge none"
        # The students come in turn, the shipped one first.
        await act(pilot, "session.next_student")
        await until(pilot, lambda: command(app) == f"{asked} shipped")
        await pilot.press("escape", "down", "enter")
        await settle(pilot)
        assert command(app) == "kdtui generate o02 --dataset demo-outdoor --student shipped"
        app.forget_usual_choice()
        await pilot.press("escape", "enter")
        await until(pilot, lambda: "--adapter good" in command(app))
