"""Pictures of screens, small and large, dark and light: each place empty, full, and failing."""

import json
import pickle
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from pytest_textual_snapshot import PseudoApp, PseudoConsole, SVGImageExtension, node_to_report_path
from rich.console import Console
from syrupy.assertion import SnapshotAssertion
from textual.command import CommandPalette
from textual.notifications import Notification
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from kdtui.tui.action import PLACES
from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import Config
from kdtui.tui.memory import Memory
from kdtui.tui.places.runs.screen import RunsScreen
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.sample import create_sample
from kdtui.workflows.studies.plan import StudyPlan, make_plan
from kdtui.workflows.studies.spec_files import load_preset, to_toml
from kdtui.workflows.studies.steps import EvaluationStep, TrainingStep, encoded_step
from kdtui.workflows.studies.store_contents import StoreContents
from models import embedded
from store.calls import record_call
from store.database import open_database
from store.jobs import add_job
from store.predictions import PredictedBundle, Prediction, add_prediction
from store.records import RunSettings, TrainingSettings
from store.runs import finish_run, start_run
from store.sessions import iter_sessions
from store.sqlite import Database
from store.studies import begin_step, fail_step, finish_step, save_study
from tests.support.screens import Settle
from tests.support.stores import OUTDOOR, copy_store

LooksRight = Callable[..., Awaitable[None]]

SMALL, LARGE = (80, 24), (200, 50)
DARK, LIGHT = "textual-dark", "textual-light"

Looks = Mapping[str, tuple[tuple[int, int], str]]

LOOKS: Looks = {
    "small-dark": (SMALL, DARK),
    "large-dark": (LARGE, DARK),
    "large-light": (LARGE, LIGHT),
    "small-light": (SMALL, LIGHT),
}
"""The variants of a picture in turn, by their names: the app becomes larger, and smaller again."""

MIDDLE: Looks = {"middle-dark": ((120, 36), DARK), "middle-light": ((120, 36), LIGHT)}
"""The smallest terminal in which parts are side by side."""

METRICS = "".join(
    json.dumps({"step": step, "steps": 40, "loss": round(1 + 4 / step, 3), "tokens_per_second": 350.0}) + "\n"
    for step in range(1, 41)
) + "".join(
    json.dumps({"step": step, "valid_loss": 1.5, "pair_f1": round(0.6 + step / 400, 3)}) + "\n" for step in (10, 20, 40)
)
TRAININGS = {
    "camping": {
        "exit_code": "0",
        "metrics.jsonl": METRICS,
        "log": "".join(f"step {step} of 40\n" for step in range(1, 41)),
    },
    "halted": {"exit_code": "143", "metrics.jsonl": "".join(METRICS.splitlines(keepends=True)[:7])},
    "too-large": {"exit_code": "1", "log": "out of memory: take fewer --batch-tokens\n"},
}
"""Trainings, by the files that their trainers left."""


@pytest.fixture(autouse=True)
def same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give shipped models the same path everywhere, and stop the clock."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name in ("embedded_student", "shipped_adapter"):
        real = getattr(embedded, name)()
        link = Path(real.name)
        link.symlink_to(real)
        monkeypatch.setattr(embedded, name, lambda link=link: link)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def filled_store(mined_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for copies, with rows for each place, all made at the same time."""
    path = tmp_path_factory.mktemp("filled") / "kdtui.db"
    copy_store(mined_store, path)
    db = open_database(path)
    list(distill_annotations(db, "demo-outdoor", ("rule", "thought")))
    for seed, name in enumerate(("half", "another half")):
        create_sample(db, name, ["demo-outdoor"], ["rule"], strategy="random", ratio=0.5, seed=seed, student="smollm2")
    for name, together in (("all in one", True), ("apart", False)):
        run = start_run(db, "demo-outdoor", "valid", name, RunSettings("smollm2", limit=2))
        for number in ("o23", "o24"):
            bundles = (PredictedBundle(("a", "b"), (1, 2), "camp", 0.5),) if together else ()
            add_prediction(db, run, Prediction(number, bundles, None, 0.5))
        finish_run(db, run)
    for name, files in TRAININGS.items():
        folder = path.parent / "jobs" / name
        folder.mkdir(parents=True)
        for file, content in {"job.json": '{"base": "x"}', **files}.items():
            (folder / file).write_text(content)
        add_job(db, name, folder, TrainingSettings(("demo-outdoor",), "pairs", ("pattern",)), name)
    for place, problem in enumerate((None, "429 Too Many Requests"), start=1):
        record_call(
            db,
            key=str(place),
            teacher="http://127.0.0.1/v1#large",
            step="reflect",
            request=json.dumps({"messages": [["user", f"What went wrong in session o0{place}?"]]}),
            response=None if problem else "Tents go with mats.",
            error=problem,
            prompt_tokens=812,
            completion_tokens=64,
            cost=0.0042,
            seconds=1.5,
            attempts=place,
        )
    with db.atomic():
        for table in ("datasets", "knowledge", "samples", "runs", "predictions", "jobs", "calls"):
            db.execute(f"UPDATE {table} SET created_at = '2026-01-02T03:04:05Z'")
        db.execute("UPDATE runs SET finished_at = created_at")
    db.close()
    return path


@pytest.fixture
def studied_store(full_store: Path) -> Path:
    """The same store with a study that is half done."""
    db = open_database(full_store)
    spec = load_preset("rq1", ["demo-outdoor"])
    save_study(db, spec.name, to_toml(spec), "rq1")
    _half_done(db, make_plan(db, spec))
    db.close()
    return full_store


def _half_done(db: Database, plan: StudyPlan) -> None:
    """Finish some cells of a study; one is started, one failed, and one waits for a failed training."""
    look = StoreContents(db)
    for number, cell in enumerate(plan.cells[:5]):
        step = cell.step
        assert isinstance(step, EvaluationStep)
        run = start_run(db, step.dataset, step.split, "study", RunSettings("smollm2"), ["study"])
        begin_step(db, cell.key, cell.kind, encoded_step(step), look.basis(step), str(run.id))
        if number == 4:
            fail_step(db, cell.key, "no room on the disk")
            continue
        for at, session in enumerate(iter_sessions(db, step.dataset, split=step.split)):
            if at < 3 or number < 3:
                # Each run finds more pairs than the one before.
                whole = tuple(range(1, len(session.items) + 1))
                bundles = (PredictedBundle(("a", "b"), whole, "camp", 0.5),) if at <= 2 * number else ()
                add_prediction(db, run, Prediction(session.id, bundles, None, 0.5))
        if number < 3:
            finish_run(db, run)
            finish_step(db, cell.key, str(run.id))
    training = next(step for step in plan.steps.values() if isinstance(step.step, TrainingStep))
    begin_step(db, training.key, training.kind, encoded_step(training.step), look.basis(training.step), "too-large")
    fail_step(db, training.key, "out of memory: take fewer --batch-tokens")


@pytest.fixture
def full_store(filled_store: Path, empty_store: Path) -> Path:
    """A copy of that store."""
    copy_store(filled_store, empty_store)
    return empty_store


@pytest.fixture
def failing_store(empty_store: Path) -> Path:
    """A file that is not a database, with a relative path."""
    empty_store.write_bytes(b"this is not a database, whatever its name says" * 100)
    return Path(empty_store.name)


_DRAWN = 0.22
"""Seconds in which everything is drawn; screens wait for 0.2 at most."""


@pytest.fixture
def looks_right(
    settle: Settle, snapshot: SnapshotAssertion, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> LooksRight:
    """Open an app at a place, press keys, and compare its pictures with the stored ones.

    One app makes all pictures, because opening it takes longest; this also tests resizing.
    """
    # The first and the last picture show the same notifications.
    monkeypatch.setattr(Notification, "time_left", 600)

    async def rest(pilot: Pilot[None]) -> None:
        app = cast("KdtuiApp", pilot.app)
        # An answer of the store can lead to another question.
        await settle(pilot)
        while (isinstance(app.screen, RunsScreen) and app.screen.is_redrawing) or any(
            each.is_running and not each.name.startswith("following") for each in app.activities
        ):
            await pilot.pause(0.01)
            await settle(pilot)

    async def drawn(pilot: Pilot[None]) -> None:
        await rest(pilot)
        # Results in parts are drawn together, a moment later.
        await pilot.pause(_DRAWN)
        await rest(pilot)

    async def look(pilot: Pilot[None], size: tuple[int, int], theme: str) -> str:
        app = pilot.app
        if app.theme != theme:
            app.theme = theme
            await settle(pilot)
            if isinstance(app.screen, CommandPalette):
                # Textual does not restyle it; a user cannot change the theme while it is open.
                app.stylesheet.update(app.screen)
                await settle(pilot)
        if app.size != size:
            await pilot.resize_terminal(*size)
            # Textual waits a moment for the last of many sizes.
            while app.screen.size != size:
                await pilot.pause(0.01)
            await drawn(pilot)
        return app.export_screenshot(simplify=True)

    async def compare(store: Path, place: str, *keys: str | list[str], looks: Looks = LOOKS) -> None:
        memory = Memory(None, store)
        memory.place = place
        size, theme = next(iter(looks.values()))
        app = KdtuiApp(store, config=Config(theme=theme), memory=memory)
        async with app.run_test(size=size, notifications=True) as pilot:
            await rest(pilot)
            for key in keys:
                await pilot.press(*([key] if isinstance(key, str) else key))
                await rest(pilot)
            # No picture shows the moment in which the cursor is invisible.
            for line in app.screen.query("Input, TextArea"):
                assert isinstance(line, Input | TextArea)
                line.cursor_blink = False
            await drawn(pilot)
            pictures = {name: await look(pilot, *how) for name, how in looks.items()}
        others = [name for name, picture in pictures.items() if not _is_stored(picture, name, snapshot, request.node)]
        assert not others, (
            f"not as stored: {', '.join(others)}; snapshot_report.html shows both, make snapshots stores them "
            "as they are"
        )

    return compare


def _is_stored(picture: str, name: str, snapshot: SnapshotAssertion, test: pytest.Item) -> bool:
    """Return whether a picture equals the stored one of this name."""
    svg = snapshot.use_extension(SVGImageExtension)
    is_stored = svg(name=name) == picture
    stored = svg.executions[0].final_data
    file, line, title = test.reportinfo()
    console = Console(legacy_windows=False, force_terminal=True)
    # `snap_compare` compares only one picture in a test; this is what it leaves for its report.
    path = node_to_report_path(test)
    path.with_name(f"{path.name}_{name}").write_bytes(
        pickle.dumps(
            (
                is_stored,
                str(stored),
                picture,
                PseudoApp(PseudoConsole(console.legacy_windows, console.size)),
                file,
                line,
                f"{title} {name}",
                "",
                "",
                stored is not None,
            )
        )
    )
    return is_stored


@pytest.mark.parametrize("kind", ["empty", "full", "failing"])
@pytest.mark.parametrize("place", PLACES)
async def test_a_place(place: str, kind: str, looks_right: LooksRight, request: pytest.FixtureRequest) -> None:
    store = "studied" if (place, kind) == ("studies", "full") else kind
    await looks_right(request.getfixturevalue(f"{store}_store"), place)


TYPED = [*"Tent | Outdoor > Shelter", "enter", *"Headlamp"]

OPENED: dict[str, tuple[str | list[str], ...]] = {
    "a session": ("workbench", "enter"),
    "a session to be typed": ("workbench", "n", TYPED),
    "a session that was typed": ("workbench", "n", TYPED, "ctrl+s"),
    "the settings of a session": ("workbench", "enter", "s"),
    "a piece": ("knowledge", "j", "enter"),
    "facets": ("knowledge", "F"),
    "what is to be distilled": ("distill", "n"),
    "a question": ("samples", "d"),
    "the overlap of samples": ("samples", "space", "j", "space", "o"),
    "a row found": ("samples", "slash", [*"ha"]),
    "a new training": ("jobs", "n"),
    "a training": ("jobs", "end", "enter"),
    "a line found in a log": ("jobs", "end", "enter", "slash", [*"p 7"]),
    "a call": ("distill", "down", "enter"),
    "a run": ("runs", "enter"),
    "a plot of the runs": ("runs", "p"),
    "two runs compared": ("runs", "space", "v"),
    "all of a model": ("models", "v"),
    "a study": ("studies", "enter"),
    "a study to be planned": ("studies", "n"),
    "what is written of a study": ("studies", "e"),
    "the help": ("knowledge", "question_mark"),
    "a key found in the help": ("knowledge", "question_mark", "slash", [*"sort"]),
    "the palette": ("knowledge", "colon"),
    "a command of another place": ("knowledge", "colon", [*"evaluate a"]),
    "something of the store": ("knowledge", "colon", [*"half"]),
    "parts to jump to": ("knowledge", "f"),
    "a calibration": ("models", "C"),
}
"""Screens that a place opens, by their keys; keys in a list are pressed without a pause."""


@pytest.mark.parametrize("kind", ["what is there", "a mistake"])
async def test_a_dataset_to_be_imported(kind: str, full_store: Path, tmp_path: Path, looks_right: LooksRight) -> None:
    # The test runs in its folder.
    name = "sessions.jsonl"
    text = OUTDOOR.read_text(encoding="utf-8")
    (tmp_path / name).write_text(text if kind == "what is there" else f"{text}{{}}", encoding="utf-8")
    keys: list[str | list[str]] = ["i", [*"sess"], "tab", "tab"]
    await looks_right(full_store, "workbench", *keys, *(["ctrl+s"] if kind == "a mistake" else []))


@pytest.mark.parametrize("what", OPENED)
async def test_what_is_opened_from_a_place(what: str, looks_right: LooksRight, request: pytest.FixtureRequest) -> None:
    place, *keys = OPENED[what]
    store = "studied" if place == "studies" else "full"
    await looks_right(request.getfixturevalue(f"{store}_store"), place, *keys)


@pytest.mark.parametrize("what", ["a study", "a study to be planned"])
async def test_what_is_opened_in_a_terminal_of_middle_size(
    what: str, studied_store: Path, looks_right: LooksRight
) -> None:
    place, *keys = OPENED[what]
    await looks_right(studied_store, place, *keys, looks=MIDDLE)
