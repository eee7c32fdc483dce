"""The place Distill: the cost of a distillation, its progress, and the list of calls."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Checkbox, Input, Select, Static

from kdtui.errors import KdtuiError
from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.tui.places.distill.distillation import Distillation
from kdtui.tui.places.distill.panel import DistillationPanel
from kdtui.tui.places.distill.plan import check_values, plan_from
from kdtui.tui.places.distill.screen import DistillScreen
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.knowledge import distill_with_model, rehearse
from kdtui.workflows.knowledge.distillation_request import DistillationRequest
from store.calls import record_call
from store.database import open_database
from store.knowledge import Knowledge, NewKnowledge, add_knowledge, find_knowledge
from store.sqlite import Database
from tests.support import waiting
from tests.support.acting import act, rest
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Reply, Serve
from tests.support.fake_teacher import answer_for, good
from tests.support.screens import Settle, Until, toasts
from tests.support.waiting import PATIENCE

DATASET = "demo-outdoor"
HOSTILE = "[red]x[/] \x1b[31mred\x1b[0m \u202eright\u202c 界界 e\u0301 "


def screen(app: App[None]) -> DistillScreen:
    found = next(each for each in app.screen_stack if isinstance(each, DistillScreen))
    assert isinstance(found, DistillScreen)
    return found


def text_of(widget: Static) -> str:
    from rich.console import Console

    console = Console(width=200, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(widget.content)
    return capture.get()


def panel(app: App[None]) -> str:
    return text_of(screen(app).query_one(DistillationPanel))


def notice(app: App[None]) -> str:
    widget = screen(app).query_one("#notice", Static)
    return str(widget.content) if widget.display else ""


def table(app: App[None]) -> RowTable:
    return screen(app).query_one("#calls", RowTable)


def column(app: App[None], number: int) -> list[str]:
    rows = [table(app).row_at(row) for row in range(table(app).row_count)]
    return [str(row.cells[number]) for row in rows if row is not None]


def dialog(app: App[None]) -> str:
    return "\n".join(text_of(each) for each in app.screen.query(Static))


def app_with(database: Path, **form: str) -> KdtuiApp:
    """Return an app that remembers these values of the form."""
    memory = Memory(None, database)
    memory.place = "distill"
    memory.of("distill")["form"] = form
    return KdtuiApp(database, memory=memory)


def endpoint(url: str, **more: str) -> dict[str, str]:
    return {"formats": "thought", "teacher": "endpoint", "url": url, "model": "m", **more}


def hanging_after(count: int) -> Reply:
    """Return a server that answers this number of calls at once, and the others when its gate opens."""

    def reply(fake: Fake, number: int) -> None:
        if number >= count:
            fake.gate.wait(PATIENCE)
        good(fake, number)

    return reply


async def accept_forms(pilot: Pilot[None], settle: Settle) -> None:
    """Accept both forms with their remembered values."""
    await settle(pilot)
    await act(pilot, "distill.new")
    await rest(pilot)
    await act(pilot, "form.done")
    await rest(pilot)
    if isinstance(pilot.app.screen, FormDialog):
        await act(pilot, "form.done")


async def begin_paid(pilot: Pilot[None], settle: Settle, until: Until) -> None:
    """Accept both forms, and agree to pay."""
    await accept_forms(pilot, settle)
    await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
    await act(pilot, "confirm.yes")


def ended(app: App[None]) -> bool:
    current = screen(app).current
    return current is not None and not current.is_active


def calls(database: Path) -> list[dict[str, Any]]:
    db = open_database(database)
    rows = list(db.query("SELECT * FROM calls ORDER BY id"))
    db.close()
    return rows


def thoughts(database: Path) -> int:
    db = open_database(database)
    found = sum(len(find_knowledge(db, format="thought", status=status)) for status in ("kept", "rejected"))
    db.close()
    return found


def write_calls(database: Path, count: int = 3, topic: str = "camping") -> None:
    db = open_database(database)
    for number in range(1, count + 1):
        failed = number % 3 == 0
        record_call(
            db,
            key=f"{number}",
            teacher=f"teacher {topic}",
            step="thought",
            request=json.dumps(
                {"model": "m", "messages": [["user", f"about {topic}\nnumber {number}."]], "schema": {}}
            ),
            response=None if failed else json.dumps({"left_out": f"{topic} {number}"}),
            error=f"{topic} is too much" if failed else None,
            prompt_tokens=None if failed else 300,
            completion_tokens=None if failed else 40,
            cost=None if failed else 0.5,
            seconds=1.25,
            attempts=1,
        )
    db.close()


async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle) -> None:
    app = app_with(empty_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "kdtui demo" in notice(app)
        await act(pilot, "distill.new")
        assert any("there is no dataset yet" in toast for toast in toasts(app))
        await act(pilot, "distill.totals")
        assert any("no model has been asked yet" in toast for toast in toasts(app))


async def test_without_calls_a_notice_says_how_to_begin(demo_store: Path, settle: Settle) -> None:
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "kdtui knowledge distill --dry-run --dataset demo-outdoor" in notice(app)
        assert "Press n" in panel(app)
        for action in ("distill.pause", "distill.cancel"):
            await act(pilot, action)
        assert [toast for toast in toasts(app) if "nothing is running" in toast]
        await act(pilot, "distill.next_run")
        assert any("there is only one" in toast for toast in toasts(app))


async def test_the_cost_is_shown_before_anything_is_asked(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, fake = serve(good)
    app = app_with(demo_store, **endpoint(url, formats="rule,thought", prompt_price="1", max_calls="7"))
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "88 calls are to be paid, and 0 were answered before" in dialog(app).replace("\n", " ")
        assert "It stops before it exceeds 7 calls" in dialog(app)
        await act(pilot, "confirm.no")
        await until(pilot, lambda: ended(app))
        assert "cancelled" in panel(app)
        assert not fake.asked


async def test_a_distillation_runs_and_the_list_of_calls_grows(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, fake = serve(good)
    app = app_with(demo_store, **endpoint(url, prompt_price="1", answer_price="2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: ended(app) and table(app).row_count == 22)
        await settle(pilot)
        assert "✓ done" in panel(app)
        assert "0 answered before · 22 paid · 0 failed" in panel(app)
        assert "6,600 + 880 tokens · cost 0.0084" in panel(app)
        assert thoughts(demo_store) == len(fake.asked) == 22
        assert column(app, 0)[:2] == ["22", "21"]
        assert column(app, 4)[0] == "300+40"
        assert screen(app).command == "kdtui knowledge calls 22"
        assert any("thoughts of demo-outdoor from m at" in toast for toast in toasts(app))
        # All calls are answered, so no consent is needed.
        await accept_forms(pilot, settle)
        await until(pilot, lambda: "22 answered before · 0 paid" in panel(app) and ended(app))
        assert len(fake.asked) == 22


async def test_a_paused_distillation_makes_no_calls_and_resumes_without_paying_twice(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    permits = threading.Semaphore(0)

    def slowly(fake: Fake, number: int) -> None:
        permits.acquire(timeout=PATIENCE)
        good(fake, number)

    url, fake = serve(slowly)
    app = app_with(demo_store, **endpoint(url, concurrency="2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        permits.release(3)
        await until(pilot, lambda: len(fake.asked) == 5)
        await act(pilot, "distill.pause")
        await until(pilot, lambda: "pausing" in panel(app))
        assert "pending ones are finished and kept" in panel(app)
        permits.release(100)
        await until(pilot, lambda: "‖ paused" in panel(app))
        assert len(fake.asked) == len(calls(demo_store)) == 5
        await act(pilot, "distill.resume")
        await until(pilot, lambda: ended(app))
        assert "done" in panel(app)
        assert not [toast for toast in toasts(app) if "nothing is running" in toast]
        assert len(fake.asked) == len(calls(demo_store)) == thoughts(demo_store) == 22
        assert all(row["attempts"] == 1 for row in calls(demo_store))


async def test_a_cancelled_distillation_keeps_its_answers_and_can_be_resumed(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    permits = threading.Semaphore(0)

    def slowly(fake: Fake, number: int) -> None:
        permits.acquire(timeout=PATIENCE)
        good(fake, number)

    url, fake = serve(slowly)
    app = app_with(demo_store, **endpoint(url, concurrency="2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        permits.release(3)
        await until(pilot, lambda: len(fake.asked) == 5)
        await act(pilot, "distill.cancel")
        await until(pilot, lambda: "stopping" in panel(app))
        await act(pilot, "distill.cancel")
        assert any("it is being cancelled already" in toast for toast in toasts(app))
        permits.release(100)
        await until(pilot, lambda: ended(app))
        assert "cancelled" in panel(app)
        assert len(fake.asked) == len(calls(demo_store)) == thoughts(demo_store) == 5
        await act(pilot, "distill.resume")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "17 calls are to be paid, and 5 were answered before" in dialog(app).replace("\n", " ")
        await act(pilot, "confirm.yes")
        await until(pilot, lambda: ended(app))
        assert len(fake.asked) == len(calls(demo_store)) == thoughts(demo_store) == 22
        await act(pilot, "distill.resume")
        assert any("it is done" in toast for toast in toasts(app))


async def test_cancelling_gives_up_on_a_hanging_server(
    demo_store: Path, serve: Serve, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill_with_model, "_PATIENCE", 0.1)
    url, fake = serve(hanging_after(4))
    app = app_with(demo_store, **endpoint(url, concurrency="2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: len(fake.asked) == 6)
        await act(pilot, "distill.cancel")
        await until(pilot, lambda: ended(app))
        assert "cancelled" in panel(app)
        assert "running calls did not end in 0.1 seconds and are given up" in panel(app)
        assert len(calls(demo_store)) == 4


async def test_it_runs_while_the_user_is_elsewhere_and_asks_for_consent_when_he_returns(
    demo_store: Path, serve: Serve, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = threading.Event()
    really_rehearsed = rehearse.rehearsal

    def rehearsal(db: Database, job: DistillationRequest) -> Iterator[rehearse.Rehearsed]:
        elsewhere.wait(PATIENCE)
        return really_rehearsed(db, job)

    monkeypatch.setattr(rehearse, "rehearsal", rehearsal)
    url, fake = serve(good)
    app = app_with(demo_store, **endpoint(url))
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await act(pilot, "app.samples")
        elsewhere.set()
        here = app.get_screen_stack("distill")[0]
        assert isinstance(here, DistillScreen)
        await until(pilot, lambda: here.current is not None and here.current.state == "confirming")
        assert not isinstance(app.screen, ConfirmDialog)
        await act(pilot, "app.distill")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await act(pilot, "confirm.yes")
        await act(pilot, "app.samples")
        await until(pilot, lambda: len(fake.asked) == 22 and any("thoughts of" in toast for toast in toasts(app)))
        await act(pilot, "app.distill")
        await until(pilot, lambda: ended(app))
        assert "22 paid" in panel(app)


async def test_only_one_distillation_of_the_same_knowledge_runs_at_a_time(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, fake = serve(hanging_after(0))
    app = app_with(demo_store, **endpoint(url))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: len(fake.asked) == 16)
        await act(pilot, "distill.new")
        await settle(pilot)
        assert "thoughts of demo-outdoor are being distilled already" in dialog(app)
        app.screen.query_one("#field-formats", Select).value = "pattern"
        await settle(pilot)
        assert "already" not in dialog(app)
        await act(pilot, "form.done")
        await settle(pilot)
        await act(pilot, "form.done")
        await until(pilot, lambda: ended(app))
        assert "2 of 2: patterns of demo-outdoor" in panel(app)
        await act(pilot, "distill.next_run")
        assert "1 of 2: thoughts" in panel(app)
        assert "16 pending" in panel(app)
        fake.gate.set()
        await until(pilot, lambda: ended(app))


async def test_the_error_of_a_server_is_shown(
    demo_store: Path, serve: Serve, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.endpoint.teacher.RETRIES", 0)
    reply = {"error": {"message": "[red]no[/] \x1b[31mway"}}
    url, _ = serve(lambda fake, number: good(fake, number) if number % 2 else fake.send(reply, 400))
    app = app_with(demo_store, **endpoint(url, limit="6", concurrency="1"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: ended(app) and table(app).row_count == 6)
        await settle(pilot)
        assert "3 sessions gave no knowledge" in panel(app)
        assert "[red]no[/]" in panel(app)
        assert "\x1b" not in panel(app)
        assert column(app, 3).count("✗ failed") == 3
        await act(pilot, "app.messages")
        await rest(pilot)
        assert "answers with status 400" in dialog(app)
        await act(pilot, "text.close")
        await act(pilot, "distill.failed_only")
        await settle(pilot)
        assert column(app, 3) == ["✗ failed"] * 3
        await act(pilot, "distill.failed_only")
        await settle(pilot)
        assert len(column(app, 3)) == 6


async def test_a_missing_server_is_reported_in_one_sentence(demo_store: Path, settle: Settle, until: Until) -> None:
    app = app_with(demo_store, **endpoint("http://127.0.0.1:9/v1", model=""))
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: ended(app))
        assert "✗ failed" in panel(app)
        await until(pilot, lambda: any("cannot be reached" in toast for toast in toasts(app)))


async def test_a_missing_key_is_reported_before_and_after(
    demo_store: Path, serve: Serve, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)

    def strict(fake: Fake, _: int) -> None:
        fake.send({"error": {"message": "who are you?"}}, 401)

    url, fake = serve(strict)
    app = app_with(demo_store, **endpoint(url, key="NO_SUCH_KEY", concurrency="1"))
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "The variable NO_SUCH_KEY is not set" in " ".join(dialog(app).split())
        await act(pilot, "confirm.yes")
        await until(pilot, lambda: ended(app))
        assert "! stopped" in panel(app)
        assert "refuses the key in the variable NO_SUCH_KEY" in panel(app)
        assert len(fake.asked) == 1


async def test_without_prices_the_cost_is_unknown_and_never_0(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, _ = serve(good)
    app = app_with(demo_store, **endpoint(url, limit="3"))
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "no prices were given, so the cost is not known" in " ".join(dialog(app).split())
        await act(pilot, "confirm.yes")
        await until(pilot, lambda: ended(app) and table(app).row_count == 3)
        await settle(pilot)
        assert "cost unknown (no prices)" in panel(app)
        assert column(app, 5) == ["–"] * 3
        await act(pilot, "distill.totals")
        await rest(pilot)
        assert "unknown" in dialog(app)
        assert "0.0000" not in dialog(app)


async def test_unreported_tokens_are_estimated_and_an_empty_answer_is_paid_for(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    def silent(fake: Fake, number: int) -> None:
        fake.complete(json.dumps(answer_for(fake)) if number % 2 else "", usage=None)

    url, fake = serve(silent)
    plan = endpoint(url, limit="4", prompt_price="1000", answer_price="1000")
    app = app_with(demo_store, **plan)
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: ended(app) and table(app).row_count == 4)
        await settle(pilot)
        assert all(cost.startswith("~") for cost in column(app, 5))
        assert "cost ~" in panel(app)
        assert "2 failed" in panel(app)
        # Only the option for it retries calls that failed for good.
        await accept_forms(pilot, settle)
        await until(pilot, lambda: "4 answered before" in panel(app) and ended(app))
        assert len(fake.asked) == 4
    fake.reply = staticmethod(good)
    app = app_with(demo_store, **plan, retry_failed="yes")
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: ended(app))
        assert "2 paid" in panel(app)
        assert len(fake.asked) == 6


async def test_a_note_on_how_a_server_is_asked_is_shown_once(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    def modern(fake: Fake, number: int) -> None:
        if "max_tokens" in fake.body:
            fake.send(
                {"error": {"message": "Unsupported parameter: use max_completion_tokens", "param": "max_tokens"}}, 400
            )
        else:
            good(fake, number)

    url, _ = serve(modern)
    app = app_with(demo_store, **endpoint(url))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: ended(app))
        assert len([toast for toast in toasts(app) if "max_completion_tokens instead of max_tokens" in toast]) == 1


async def test_an_unknown_student_is_not_said_to_cost_nothing(demo_store: Path, settle: Settle, until: Until) -> None:
    app = app_with(demo_store, teacher="student", student="gpt-4o", formats="rule")
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: ended(app))
        assert "there is no student 'gpt-4o'" in panel(app)
        assert "costs nothing" not in panel(app)


async def test_an_exhausted_budget_stops_the_distillation(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, fake = serve(good)
    app = app_with(demo_store, **endpoint(url, max_calls="5"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: ended(app))
        assert "! stopped" in panel(app)
        assert "the next call might pass the budget" in panel(app)
        assert len(fake.asked) == len(calls(demo_store)) == 5


async def test_leaving_the_program_keeps_pending_calls(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, fake = serve(hanging_after(4))
    app = app_with(demo_store, **endpoint(url, concurrency="2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: len(fake.asked) == 6)
        threading.Timer(0.2, fake.gate.set).start()
    assert len(fake.asked) == len(calls(demo_store)) == 6


async def test_the_annotations_need_no_consent(demo_store: Path, settle: Settle, until: Until) -> None:
    app = app_with(demo_store, teacher="annotations", formats="rule,thought")
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: ended(app))
        assert "rules and thoughts of demo-outdoor from the annotations" in panel(app)
        assert "rules kept" in panel(app)
        assert "it costs nothing" in panel(app)
        assert thoughts(demo_store) == 22


def patterns(database: Path) -> list[Knowledge]:
    db = open_database(database)
    found = find_knowledge(db, format="pattern")
    db.close()
    return found


async def test_patterns_are_mined_with_the_options_of_the_form(demo_store: Path, settle: Settle, until: Until) -> None:
    before = patterns(demo_store)
    app = app_with(demo_store, formats="pattern", levels="4", min_support="0.1", max_size="2")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.new")
        await settle(pilot)
        text = dialog(app).replace("\n", " ")
        assert f"{DATASET} has {len(before)} patterns of this teacher; what is not found again stays." in text
        await act(pilot, "form.done")
        await settle(pilot)
        command = text_of(app.screen.query_one("#dialog-command", Static))
        assert (
            "kdtui knowledge mine --dataset demo-outdoor --level 4 --min-support 0.1 --max-size 2"
            in command.replace("\n", "")
        )
        await act(pilot, "form.done")
        await until(pilot, lambda: ended(app))
        assert "1 pattern kept" in panel(app)
        assert f"{len(before) - 1} earlier ones were not found again; they stay as they are" in panel(app)
    assert patterns(demo_store) == before


@pytest.mark.parametrize("agrees", [True, False])
async def test_knowledge_to_delete_is_counted_first(
    demo_store: Path, settle: Settle, until: Until, agrees: bool
) -> None:
    before = patterns(demo_store)
    app = app_with(demo_store, formats="pattern", levels="4", min_support="0.1", max_size="2", replace="yes")
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        gone = len(before) - 1
        text = " ".join(dialog(app).split())
        assert f"{gone} of the existing {len(before)} patterns would be deleted" in text
        assert "kdtui knowledge mine --replace --dataset demo-outdoor" in text
        assert patterns(demo_store) == before
        await act(pilot, "confirm.yes" if agrees else "confirm.no")
        await until(pilot, lambda: ended(app))
        assert (f"patterns: deleted {gone} that were not found again" in panel(app)) == agrees
        assert len(patterns(demo_store)) == (1 if agrees else len(before))
        # The option to delete is not remembered.
        await act(pilot, "distill.new")
        await settle(pilot)
        assert app.screen.query_one("#field-replace", Checkbox).value is False


async def test_mining_without_results_says_so_and_changes_nothing(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    before = patterns(demo_store)
    app = app_with(demo_store, formats="pattern", levels="99", replace="yes")
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: ended(app))
        assert "level 99 cannot be mined" in panel(app)
    assert patterns(demo_store) == before


async def test_earlier_rules_of_a_model_are_counted_before_it_is_asked(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, fake = serve(good)
    db = open_database(demo_store)
    add_knowledge(db, DATASET, "rule", f"m at {url.split('/')[2]}", [NewKnowledge("As it was", "{}")])
    db.close()
    app = app_with(demo_store, **endpoint(url, formats="rule", replace="yes"))
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        text = " ".join(dialog(app).split())
        assert "has 1 rule of m at" in text
        assert "66 calls are to be paid" in text
        assert not fake.asked
        await act(pilot, "confirm.yes")
        await until(pilot, lambda: ended(app))
        assert "rules: deleted 1 that was not found again" in panel(app)


async def test_a_student_is_a_teacher_too(demo_store: Path, settle: Settle, until: Until) -> None:
    app = app_with(demo_store, teacher="student", student="patterns", formats="rule")
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: ended(app))
        assert "rules of demo-outdoor from patterns" in panel(app)
        assert "22 of 22 sessions" in panel(app)
        assert "rules kept" in panel(app)


def test_a_paused_student_stops_answering_and_a_cancelled_one_ends(demo_store: Path) -> None:
    plan = plan_from({"dataset": DATASET, "teacher": "student", "student": "patterns", "formats": "rule"})
    distillation = Distillation(plan)
    distillation.gate.hold()
    events: list[object] = []

    def work() -> None:
        db = open_database(demo_store)
        events.extend(distillation.work.run(db))
        db.close()

    thread = threading.Thread(target=work)
    thread.start()
    waiting.until(lambda: distillation.step is not None or not thread.is_alive())
    assert distillation.step is not None
    assert distillation.step.sessions == 0
    distillation.gate.close()
    thread.join(20)
    assert not thread.is_alive()
    assert not events


async def test_a_deleted_dataset_is_reported_in_one_sentence(demo_store: Path, settle: Settle, until: Until) -> None:
    app = app_with(demo_store, teacher="annotations")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.new")
        await settle(pilot)
        db = open_database(demo_store)
        with db.atomic():
            db.execute("DELETE FROM datasets")
        db.close()
        await act(pilot, "form.done")
        await until(pilot, lambda: ended(app))
        await until(pilot, lambda: any("there is no dataset 'demo-outdoor'" in toast for toast in toasts(app)))


async def test_the_form_is_filled_in_and_remembered(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, _ = serve(good)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.new")
        await settle(pilot)
        app.screen.query_one("#field-formats", Select).value = "thought"
        app.screen.query_one("#field-teacher", Select).value = "endpoint"
        app.screen.query_one("#field-limit", Input).value = "2"
        await settle(pilot)
        await act(pilot, "form.done")
        await settle(pilot)
        assert "the address begins with http" in dialog(app)
        for name, value in {"url": url, "model": "m", "per_minute": "600"}.items():
            app.screen.query_one(f"#field-{name}", Input).value = value
        await settle(pilot)
        command = text_of(app.screen.query_one("#dialog-command", Static)).replace("\n", "")
        assert f"--format thought --teacher '{url}#m' --limit 2 --requests-per-minute 600" in command
        await act(pilot, "form.done")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await act(pilot, "confirm.yes")
        await until(pilot, lambda: ended(app))
    form = app.memory.of("distill")["form"]
    assert (form["url"], form["limit"], form["per_minute"]) == (url, "2", "600")


async def test_closing_a_form_does_nothing(demo_store: Path, serve: Serve, settle: Settle) -> None:
    url, _ = serve(good)
    app = app_with(demo_store, **endpoint(url))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.new")
        await settle(pilot)
        await act(pilot, "form.close")
        await settle(pilot)
        await act(pilot, "distill.new")
        await settle(pilot)
        await act(pilot, "form.done")
        await settle(pilot)
        await act(pilot, "form.close")
        await settle(pilot)
        assert isinstance(app.screen, DistillScreen)
        assert "Nothing is being distilled" in panel(app)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"limit": "0"}, "Sessions at most: enter a whole number of 1 or more"),
        ({"limit": "many"}, "Sessions at most: enter a whole number"),
        ({"limit": "5", "seed": "-1"}, "Seed: enter a whole number of 0 or more"),
        ({"limit": "", "seed": "1"}, "the seed draws sessions; say how many at most"),
        ({"levels": "2,x", "min_support": "0", "max_size": "3"}, "levels are whole numbers"),
        ({"levels": "2", "min_support": "2", "max_size": "3"}, "Least support: enter a number of 1 or less"),
        ({"levels": "2", "min_support": "nan", "max_size": "3"}, "Least support"),
        ({"levels": "2", "min_support": "0.1", "max_size": "9"}, "Most categories: enter a whole number of 6 or less"),
        ({"student": " "}, "say which student"),
        ({"student": "https://api.example/v1#m"}, "an endpoint is another kind of teacher"),
        ({"url": "ftp://x"}, "the address begins with http"),
        ({"url": "http://x/v1#m"}, "the name of the model has a field of its own"),
        ({"url": "http://user:secret@x/v1"}, "the address of an endpoint must not contain a key"),
        ({"url": "http://x/v1", "key": "sk-123"}, "the key itself is not asked for"),
        ({"url": "http://x/v1", "prompt_price": "-1"}, "Price of prompts: enter a number of 0 or more"),
        ({"url": "http://x/v1", "max_cost": "cheap"}, "Cost at most: enter a number"),
        ({"url": "http://x/v1", "max_cost": "5"}, "a limit of the cost needs prices"),
        ({"url": "http://x/v1", "answer_tokens": "0"}, "Tokens of an answer: enter a whole number of 1 or more"),
        ({"url": "http://x/v1", "concurrency": "0"}, "Calls at a time: enter a whole number of 1 or more"),
    ],
)
def test_the_form_shows_what_is_wrong(values: dict[str, str], problem: str) -> None:
    if "url" in values:
        usual = plan_from().values
        names = ("model", "key", "prompt_price", "answer_price", "max_calls", "max_cost", "concurrency", "timeout")
        values = {**{name: usual[name] for name in names}, **values}
    with pytest.raises(KdtuiError, match=re.escape(problem)):
        check_values(values)


def test_the_command_of_a_plan_has_all_options_that_are_not_default(kdtui: Kdtui) -> None:
    plan = plan_from(
        {"dataset": "--odd", "formats": "rule", "teacher": "endpoint", "url": "http://h/v1", "model": "a b"},
        {"key": "MY_KEY", "concurrency": "4", "tokens_per_minute": "9", "max_cost": "2", "limit": "5", "timeout": "9"},
        {"prompt_price": "0", "retry_failed": "yes", "answer_tokens": "4096", "seed": "3"},
    )
    assert plan.command(Path("x.db")) == (
        "kdtui knowledge distill --retry-failed --dataset=--odd --format rule --teacher 'http://h/v1#a b' --limit 5 "
        "--seed 3 --key MY_KEY --concurrency 4 --tokens-per-minute 9 --timeout 9 --prompt-price 0 --max-cost 2 "
        "--answer-tokens 4096 --db x.db"
    )
    known = kdtui("knowledge", "distill", "--help").out + kdtui("knowledge", "mine", "--help").out
    patterns = plan_from({"formats": "pattern", "levels": "1,2", "min_support": "1", "max_size": "2"})
    student = plan_from({"teacher": "student", "student": "my model"})
    for command in (plan.command(None), patterns.command(None), student.command(None)):
        for word in command.split():
            assert not word.startswith("--") or word.partition("=")[0] in known


def test_the_command_of_a_plan_with_a_mistake_shows_the_typed_text() -> None:
    assert "--limit many --seed f" in plan_from({"limit": "many", "seed": "f"}).command(None)


async def test_a_call_is_shown_in_full_and_can_be_copied(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store)
    db = open_database(demo_store)
    add_knowledge(db, DATASET, "rule", "t", [NewKnowledge("Put tents with lamps", "{}", call=2, rejected="too rare")])
    db.close()
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "table.down")
        await act(pilot, "table.select")
        await settle(pilot)
        assert isinstance(app.screen, TextDialog)
        shown = dialog(app)
        assert "call 2: thought, answered" in shown
        assert "[user]\nabout camping\nnumber 2." in shown
        assert '{\n  "left_out": "camping 2"\n}' in shown
        assert "Put tents with lamps (rejected: too rare)" in shown
        await act(pilot, "text.copy")
        assert "number 2." in app.clipboard


async def test_a_failed_call_says_why(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert "[error]\ncamping is too much" in dialog(app)


async def test_calls_are_searched_by_their_text(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store, 6)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.search")
        await pilot.press(*"number 4.")
        await settle(pilot)
        assert column(app, 0) == ["4"]
        await pilot.press(*"zzz")
        await settle(pilot)
        assert "No call matches" in notice(app)
        screen(app).query_one("#search", Input).value = "TOO MUCH"
        await settle(pilot)
        await act(pilot, "search.leave_search")
        assert app.focused is table(app)
        assert column(app, 0) == ["6", "3"]
    assert app.memory.of("distill")["search"] == "TOO MUCH"


async def test_calls_are_totalled_by_teacher(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store, 4, "[b]one[/b]")
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.totals")
        await rest(pilot)
        assert "teacher [b]one[/b]" in dialog(app)
        assert "900+120" in dialog(app)
        assert "1.5000" in dialog(app)


async def test_reloading_shows_calls_of_other_programs(demo_store: Path, settle: Settle) -> None:
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        write_calls(demo_store)
        await act(pilot, "screen.reload")
        await settle(pilot)
        assert column(app, 0) == ["3", "2", "1"]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_hostile_text_is_shown_as_text(demo_store: Path, settle: Settle, size: tuple[int, int]) -> None:
    write_calls(demo_store, 3, HOSTILE + "x" * 10_000)
    app = app_with(demo_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert all("\x1b" not in strip.text for strip in (table(app).render_line(y) for y in range(4)))
        await pilot.press("down", "enter")
        await settle(pilot)
        shown = dialog(app)
        assert "[red]x[/]" in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown


async def test_a_very_long_call_is_shown_in_part_and_copied_whole(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store, 1, "word " * 30_000)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await settle(pilot)
        assert "characters more" in dialog(app)
        await act(pilot, "text.copy")
        assert len(app.clipboard) > 300_000


async def test_a_wide_screen_shows_totals_next_to_the_calls(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store)
    app = app_with(demo_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        totals, side = screen(app).query_one("#totals"), screen(app).query_one("#side")
        assert totals.display
        assert side.region.x > table(app).region.x
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert not totals.display
        assert side.region.y < table(app).region.y
        assert table(app).region.height > 10


async def test_a_broken_store_is_reported_in_one_sentence(demo_store: Path, settle: Settle) -> None:
    demo_store.write_bytes(b"dear diary, " * 100)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert any("not an SQLite database" in toast for toast in toasts(app))
        assert "not an SQLite database" in notice(app)


async def test_invalid_remembered_values_do_no_harm(demo_store: Path, settle: Settle, until: Until) -> None:
    app = app_with(demo_store)
    app.memory.of("distill").update(form={"dataset": 3, "formats": "poems", "limit": "x"}, search=[1], failed="no")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.new")
        await settle(pilot)
        assert "Sessions at most: enter a whole number" in dialog(app)
        await act(pilot, "form.done")
        assert isinstance(app.screen, FormDialog)
        app.screen.query_one("#field-limit", Input).value = ""
        await settle(pilot)
        await act(pilot, "form.done")
        await until(pilot, lambda: ended(app))
        assert thoughts(demo_store) == 22
