"""The screen of a training: its curves, and its log of any size, which is followed while the screen is open."""

import re
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from kdtui.errors import KdtuiError
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.places.jobs.log_view import LogView
from kdtui.tui.places.jobs.screen import JobsScreen
from kdtui.tui.places.jobs.training_screen import TrainingScreen
from kdtui.tui.widgets.curve import Curve, Points
from kdtui.tui.widgets.footer import Footer
from models.errors import ModelError
from models.sft.job_files import EXIT_CODE, LOG, METRICS, PID
from store.database import open_database
from store.default_adapters import default_adapters
from tests.support.acting import act
from tests.support.done_trainings import right, trained, wrong
from tests.support.jobs_place import HOSTILE, LONG, SIZES, app_at_jobs, is_idle, log, make_job, metrics
from tests.support.screens import Settle, Until, messages, shown


@pytest.mark.parametrize("size", SIZES)
async def test_a_training_is_followed_until_its_screen_closes(
    demo_store: Path, settle: Settle, sleeper: str, until: Until, size: tuple[int, int]
) -> None:
    begin = "".join(f"line {number}\n" for number in range(1, 101))
    progress = "10%|#\r50%|#####\r\x1b[32m100%\x1b[0m done\n"
    folder = make_job(
        demo_store, "busy", {PID: sleeper, METRICS: metrics(10), LOG: f"{begin}{progress}{LONG}\n{HOSTILE}"}
    )
    app = app_at_jobs(demo_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen) and "[red]x[/] red" in log(app).text)
        assert "busy ▶ running · step 10 of 40 · loss 0.200 · pair F1 0.625" in shown(app, "#title")
        assert isinstance(app.screen, TrainingScreen)
        assert app.screen.command == "kdtui sft logs busy --follow"
        assert all(curve.display for curve in app.screen.query(Curve))
        with (folder / LOG).open("a") as file:
            file.write("\nthe newest line\n")
        await until(pilot, lambda: "the newest line" in log(app).text)
        await act(pilot, "log.home")
        await until(pilot, lambda: log(app).text.startswith("line 1\n"))
        await act(pilot, "log.down")
        await until(pilot, lambda: log(app).text.startswith("line 2\n"))
        await act(pilot, "log.up")
        await act(pilot, "log.page_down")
        page = log(app).size.height - 1
        await until(pilot, lambda: log(app).text.startswith(f"line {1 + page}\n"))
        # The visible lines stay where they are while the log grows.
        with (folder / LOG).open("a") as file:
            file.write("more\n")
        await act(pilot, "log.page_up")
        await until(pilot, lambda: log(app).text.startswith("line 1\n"))
        await act(pilot, "log.end")
        await until(pilot, lambda: log(app).text.rstrip().endswith("more"))
        before = log(app).size.height * log(app).size.width
        await act(pilot, "job.plots")
        await until(pilot, lambda: log(app).size.height * log(app).size.width > before)
        await act(pilot, "job.back")
        assert isinstance(app.screen, JobsScreen)
        await until(pilot, lambda: is_idle(app))


async def test_the_footer_of_the_list_says_that_a_key_opens_the_log(demo_store: Path, settle: Settle) -> None:
    make_job(demo_store, "ended", {EXIT_CODE: "0", METRICS: metrics(40), LOG: "the end\n"})
    app = app_at_jobs(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert str(app.screen.query_one(Footer).render()).startswith("⏎ Log and loss n New ")
        await act(pilot, "trainings.open")
        assert isinstance(app.screen, TrainingScreen)


async def test_a_progress_bar_is_shown_in_its_last_state(demo_store: Path, settle: Settle, until: Until) -> None:
    make_job(demo_store, "ended", {EXIT_CODE: "0", LOG: "10%|#\r50%|#####\r\x1b[32m100%\x1b[0m done\r\n\tindented\n"})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        await until(pilot, lambda: log(app).text == "100% done\n        indented")


async def test_only_the_visible_parts_of_a_large_log_are_read(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_job(demo_store, "ended", {EXIT_CODE: "0", LOG: "the first line\n"})
    with (folder / LOG).open("r+b") as file:
        file.seek(500_000_000)
        file.write(b"\nthe middle\n")
        file.seek(1_000_000_000)
        file.write(b"\nthe last line\n")
    read = 0
    put = LogView.put

    def counted(self: LogView, offset: int, data: bytes, size: int) -> None:
        nonlocal read
        read += len(data)
        put(self, offset, data, size)

    monkeypatch.setattr(LogView, "put", counted)
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen) and "the last line" in log(app).text)
        assert "1.0 GB · follows" in str(log(app).border_title)
        await pilot.press("home")
        await until(pilot, lambda: "the first line" in log(app).text)
        await pilot.press("G")
        await until(pilot, lambda: "the last line" in log(app).text)
        # The bar on the right stands for the whole log.
        await pilot.click(LogView, offset=(log(app).region.width - 2, 1 + log(app).size.height // 2))
        await until(pilot, lambda: 40 <= int(re.findall(r"(\d+)%", f"0% {log(app).border_title}")[-1]) <= 60)
        await pilot.press("k", "pageup", "pagedown", "j")
        await settle(pilot)
        assert read < 4_000_000
        assert log(app).bytes_kept <= 64 * 65536


async def test_a_restarted_log_is_shown_from_its_start(
    demo_store: Path, settle: Settle, sleeper: str, until: Until
) -> None:
    folder = make_job(demo_store, "busy", {PID: sleeper, LOG: "old\n" * 500})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen) and "old" in log(app).text)
        (folder / LOG).write_text("new\n")
        await until(pilot, lambda: log(app).text == "new")
        (folder / EXIT_CODE).write_text("1")
        await until(pilot, lambda: "why: new" in shown(app, "#title"))


@pytest.mark.parametrize("value", [0.0, 0.5])
async def test_the_axis_of_a_single_value_has_no_negative_numbers(value: float) -> None:
    class Plotted(App[None]):
        def compose(self) -> ComposeResult:
            yield Curve()

    app = Plotted()
    async with app.run_test(size=(60, 12)) as pilot:
        curve = app.query_one(Curve)
        curve.show("pair F1", [Points([3], [value], "x")])
        await pilot.pause()
        drawn = "\n".join(strip.text for strip in curve.render_lines(Region(0, 0, 60, 12)))
        assert "x" in drawn
        assert not re.search(r"-\d", drawn), drawn


async def test_a_finished_training_says_whether_it_helped_and_a_key_changes_the_default(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    db = open_database(demo_store)
    trained(db, demo_store.parent, "good", wrong, right, dataset="demo-outdoor")
    app = app_at_jobs(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: "the training helped on 22 validation sessions" in shown(app, "#title"))
        assert shown(app, "#title").splitlines()[-1] == "default adapter of demo-outdoor"
        await act(pilot, "training.default")
        await until(pilot, lambda: "good is no longer the default adapter of demo-outdoor" in messages(app))
        await until(pilot, lambda: not default_adapters(db))
        await until(pilot, lambda: shown(app, "#title").splitlines()[-1] != "default adapter of demo-outdoor")
        await act(pilot, "training.default")
        await until(pilot, lambda: default_adapters(db) == {"demo-outdoor": "good"})
    db.close()


async def test_a_training_that_cannot_be_followed_any_more_names_the_key_that_tries_again(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(demo_store, "old", {METRICS: metrics(40), LOG: "the end\n", EXIT_CODE: "143"})

    async def refuse(*_: object) -> None:
        raise KdtuiError("its machine refuses")

    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        with monkeypatch.context() as broken:
            broken.setattr("kdtui.workflows.training.watch._LocalSource.look", refuse)
            await act(pilot, "table.select")
            await until(pilot, lambda: "its machine refuses; r tries again" in shown(app, "#title"))
            assert "retrying" not in shown(app, "#title")
        await act(pilot, "screen.reload")
        await until(pilot, lambda: "the end" in log(app).text and "refuses" not in shown(app, "#title"))


@pytest.mark.parametrize("covered", [False, True])
async def test_the_screen_of_a_deleted_training_closes(
    demo_store: Path, settle: Settle, until: Until, covered: bool
) -> None:
    make_job(demo_store, "ended", {EXIT_CODE: "1", LOG: "the end\n"})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "trainings.open")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        await act(pilot, "training.remove")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await act(pilot, "confirm.yes")
        if covered:
            await act(pilot, "app.messages")
        await until(pilot, lambda: "deleted training ended" in messages(app) and is_idle(app))
        await settle(pilot)
        if covered:
            await act(pilot, "text.close")
            await settle(pilot)
        assert isinstance(app.screen, JobsScreen)
        assert [said.sentence for said in app.past_messages] == ["deleted training ended"]


async def test_a_training_is_followed_although_it_cannot_be_computed_whether_it_helped(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(demo_store, "old", {METRICS: metrics(40), LOG: "the end\n", EXIT_CODE: "143"})

    def refuse(*_: object) -> None:
        raise ModelError("its answers are gone")

    monkeypatch.setattr("kdtui.workflows.training.find_outcome.find_outcome", refuse)
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: "the end" in log(app).text)
        assert "whether the training helped cannot be computed: its answers are gone" in messages(app)
        assert "✗" not in shown(app, "#title")
