"""The form for a new training: problems, the command, and a training that it starts."""

from pathlib import Path

import pytest
from textual.widgets import Button, Checkbox, Input

from kdtui.tui.core.forms import FormDialog
from kdtui.tui.places.jobs.form import TrainingForm
from kdtui.tui.places.jobs.screen import JobsScreen
from kdtui.tui.places.jobs.training_choices import TrainingChoices
from kdtui.tui.places.jobs.training_request import TrainingRequest
from kdtui.tui.places.jobs.training_screen import TrainingScreen
from kdtui.workflows.data.import_dataset import import_dataset
from models.sft.job import CONTINUED_LEARNING_RATE, LEARNING_RATE
from models.sft.job_files import PID
from store.database import open_database
from tests.support.acting import act
from tests.support.jobs_place import app_at_jobs, job_rows, log, make_job, register_host, wait_for
from tests.support.screens import Settle, Until, fill, messages, shown
from tests.support.stores import OUTDOOR
from tests.support.tiny import make_model


async def test_a_missing_package_is_reported_with_what_to_do(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.training.prepare.find_spec", lambda name: None if name == "peft" else name)
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert "peft is needed to train on this machine; install it with: pip install 'kdtui[sft]'" in shown(
            app, "#form-problem"
        )
        assert app.screen.query_one("#done", Button).disabled


@pytest.mark.slow
async def test_the_form_shows_problems_and_the_command(
    demo_store: Path, settle: Settle, until: Until, sleeper: str
) -> None:
    register_host(demo_store, "far")
    make_job(demo_store, "busy", {PID: sleeper})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert shown(app, "#form-problem") == ""
        assert shown(app, "#dialog-command") == "$ kdtui sft launch --name demo-outdoor-1 --dataset demo-outdoor"
        for values, problem in (
            ({"name": ""}, "needs a name"),
            ({"name": "busy"}, "there is a training or a model 'busy' already"),
            ({"name": "x", "datasets": "demo-outdoor, none"}, "there is no dataset 'none'"),
            ({"datasets": "demo-outdoor", "as": "target"}, "switch on thoughts, and nothing else"),
            ({"as": "context", "epochs": "0"}, "epochs: a whole number from 1 on"),
            ({"epochs": "1" * 5000}, "epochs: a whole number from 1 on"),
            ({"epochs": "3", "learning_rate": "fast"}, "the learning rate is a number"),
            ({"learning_rate": "0.001", "base": " "}, "needs a base"),
            ({"base": "abc"}, "there is no base 'abc'; there are: smollm2, files, and ids of transformers"),
            ({"base": "shipped"}, "shipped is a student that cannot be trained; choose a base: smollm2"),
            ({"base": "patterns"}, "patterns is a student that cannot be trained"),
            ({"base": "http://host/v1#m"}, "is a student that cannot be trained"),
            ({"base": "none.gguf"}, "none.gguf: there is no such file"),
            ({"base": "owner/model", "epochs": "none"}, "epochs: a whole number from 1 on"),
            (
                {"epochs": "3", "base": "smollm2", "after": "busy", "host": "far"},
                "training busy is not on the same host",
            ),
        ):
            await fill(pilot, **values)
            await until(pilot, lambda problem=problem: problem in shown(app, "#form-problem"))  # type: ignore[misc]
        await fill(pilot, host="", rule="yes", form="list", evaluate="yes")
        await until(pilot, lambda: shown(app, "#form-problem") == "")
        assert shown(app, "#dialog-command") == (
            "$ kdtui sft launch --follow --evaluate --name x --dataset demo-outdoor --form list --knowledge rule "
            "--epochs 3 --learning-rate 0.001 --after busy"
        )
        # A problem that only the store knows is reported after the start; the form keeps the values.
        await fill(pilot, after="", evaluate="", sample="", form="pairs", thought="yes", host="")
        await until(pilot, lambda: shown(app, "#form-problem") == "")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "demo-outdoor" in messages(app))
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert app.screen.query_one("#field-name", Input).value == "x"
        assert app.screen.query_one("#field-epochs", Input).value == "3"
        assert app.screen.query_one("#field-rule", Checkbox).value
        await pilot.press("escape")
        await settle(pilot)
        assert len(job_rows(app)) == 1


async def test_the_form_estimates_the_training_while_it_is_filled_in(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path
) -> None:
    base = make_model(tmp_path / "tiny.gguf")
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await fill(pilot, base=str(base), epochs="2")
        await until(pilot, lambda: " in 44 steps" in shown(app, "#form-description"))
        assert "22 sessions an epoch, 4 to validate on; " in shown(app, "#form-description")
        assert "unknown: no training of tiny.gguf was measured on this machine" in shown(app, "#form-description")
        # The estimate does not block typing.
        await fill(pilot, epochs="30")
        await until(pilot, lambda: "--epochs 30" in shown(app, "#dialog-command"))
        await until(pilot, lambda: " in 660 steps" in shown(app, "#form-description"))
        await fill(pilot, epochs="none")
        await until(pilot, lambda: shown(app, "#form-description") == "")
        await fill(pilot, epochs="1", thought="yes")
        await until(pilot, lambda: "has no thoughts yet" in shown(app, "#form-description"))


async def test_the_form_proposes_free_names(demo_store: Path, settle: Settle, until: Until) -> None:
    db = open_database(demo_store)
    list(import_dataset(db, OUTDOOR, "trail mix!"))
    db.close()
    make_job(demo_store, "demo-outdoor-1", {})
    (demo_store.parent / "jobs" / "demo-outdoor-2").mkdir()
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        name = app.screen.query_one("#field-name", Input)
        assert name.value == "demo-outdoor-3"
        await fill(pilot, datasets="trail mix!, demo-outdoor")
        await until(pilot, lambda: name.value == "trail-mix-demo-outdoor-1")
        await fill(pilot, name="mine")
        await fill(pilot, datasets="demo-outdoor")
        await until(pilot, lambda: "--name mine --dataset demo-outdoor" in shown(app, "#dialog-command"))


def test_a_training_that_could_not_start_gets_another_name() -> None:
    options = TrainingChoices(("one",), (), ("smollm2",), (), (), frozenset({"mine-7", "mine-1", "one-1"}), None, None)
    form = TrainingForm(options, ("one",), Path("store.db"), TrainingRequest("mine-7", ("one",)))
    [name] = [field.value for field in form.fields if field.name == "name"]
    assert name == "mine-2"


@pytest.mark.parametrize(
    ("seen", "begins_with"), [("trail", "trail"), ("gone", "demo-outdoor"), (["x"], "demo-outdoor")]
)
async def test_the_form_begins_with_the_dataset_that_the_workbench_shows(
    demo_store: Path, settle: Settle, until: Until, seen: object, begins_with: str
) -> None:
    db = open_database(demo_store)
    list(import_dataset(db, OUTDOOR, "trail"))
    db.close()
    app = app_at_jobs(demo_store)
    app.memory.of("workbench")["dataset"] = seen
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert app.screen.query_one("#field-datasets", Input).value == begins_with
        assert app.screen.query_one("#field-name", Input).value == f"{begins_with}-1"


@pytest.mark.slow
async def test_a_training_starts_is_watched_to_its_end_and_its_adapter_is_asked(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path
) -> None:
    base = make_model(tmp_path / "tiny.gguf")
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await fill(pilot, name="first", base=str(base), epochs="1", learning_rate="0.003", evaluate="yes")
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen) and "first" in str(job_rows(app)))
        await wait_for(
            pilot, lambda: "training first runs as process" in messages(app) or job_rows(app)[0][2] == "✓ done"
        )
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainingScreen) and "✓ done" in shown(app, "#title"))
        await wait_for(pilot, lambda: "evaluation at step" in log(app).text)
        assert "checkpoint" in shown(app, "#title")
        await wait_for(pilot, lambda: "first has a pair F1 of" in messages(app))
        await act(pilot, "training.adapter")
        await wait_for(pilot, lambda: app.current_mode == "workbench")
        assert app.choice.settings.adapters == (("first", 1.0),)
        assert app.choice.settings.student == str(base)
    db = open_database(demo_store)
    [(split,)] = db.execute("SELECT split FROM runs").fetchall()
    db.close()
    assert split == "valid"


async def test_values_that_are_no_longer_options_are_dropped(demo_store: Path, settle: Settle) -> None:
    options = TrainingChoices(("one",), (), ("smollm2",), (), (), frozenset(), None, None)
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        before = TrainingRequest("again", ("one",), sample="deleted", host="gone")
        app.push_screen(FormDialog(TrainingForm(options, ["one"], demo_store, before)))
        await settle(pilot)
        assert shown(app, "#dialog-command") == "$ kdtui sft launch --name again --dataset one"


async def test_an_adapter_to_begin_from_sets_its_form_and_its_knowledge(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        hint = "22 training sessions teach the base little: choose an adapter to begin from"
        await until(pilot, lambda: hint in shown(app, "#form-description"))
        begins = "$ kdtui sft launch --name demo-outdoor-1 --dataset demo-outdoor"
        await fill(pilot, **{"from": "shipped"})
        await until(pilot, lambda: shown(app, "#dialog-command") == f"{begins} --from shipped")
        assert app.screen.values["form"] == "intents"  # type: ignore[attr-defined]
        assert app.screen.query_one("#field-pattern", Checkbox).value
        assert float(app.screen.query_one("#field-learning_rate", Input).value) == CONTINUED_LEARNING_RATE
        await until(pilot, lambda: hint not in (text := shown(app, "#form-description")) and " in " in text)
        await fill(pilot, form="list")
        await until(
            pilot, lambda: "shipped was trained to be asked for the intents of bundles" in shown(app, "#form-problem")
        )
        await fill(pilot, **{"from": ""})
        await until(pilot, lambda: "--form list --knowledge pattern" in shown(app, "#dialog-command"))
        assert float(app.screen.query_one("#field-learning_rate", Input).value) == LEARNING_RATE
