"""Distillations that ask a paid teacher: consent, pause, cancel, resume, and errors of servers."""

import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from textual.widgets import Select

from kdtui.tui import leaving
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.places.distill.distillation import Distillation
from kdtui.tui.places.distill.request import DistillationRequest, StudentTeacher
from kdtui.tui.places.distill.screen import DistillScreen
from kdtui.workflows.knowledge import distill_with_model, estimate_distillation
from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
from kdtui.workflows.pause_gate import CALL_PATIENCE
from store.database import open_database
from store.knowledge import NewKnowledge, add_knowledge
from store.sqlite import Database
from tests.support import waiting
from tests.support.acting import act, rest
from tests.support.distill_place import (
    DATASET,
    accept_forms,
    app_with,
    begin_paid,
    calls_in,
    dialog,
    ended,
    endpoint,
    hanging_after,
    panel,
    screen,
    thoughts,
)
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import answer_for, good
from tests.support.screens import Settle, Until, column, table, toasts
from tests.support.waiting import PATIENCE


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
        assert "■ stopped" in panel(app)
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


@pytest.mark.slow
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
        assert len(fake.asked) == len(calls_in(demo_store)) == 5
        await act(pilot, "distill.resume")
        await until(pilot, lambda: ended(app))
        assert "done" in panel(app)
        assert not [toast for toast in toasts(app) if "nothing is running" in toast]
        assert len(fake.asked) == len(calls_in(demo_store)) == thoughts(demo_store) == 22
        assert all(row["attempts"] == 1 for row in calls_in(demo_store))


async def test_a_stopped_distillation_keeps_its_answers_and_can_be_resumed(
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
        assert any("it is being stopped already" in toast for toast in toasts(app))
        permits.release(100)
        await until(pilot, lambda: ended(app))
        assert "■ stopped" in panel(app)
        assert len(fake.asked) == len(calls_in(demo_store)) == thoughts(demo_store) == 5
        await act(pilot, "distill.resume")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "17 calls are to be paid, and 5 were answered before" in dialog(app).replace("\n", " ")
        await act(pilot, "confirm.yes")
        await until(pilot, lambda: ended(app))
        assert len(fake.asked) == len(calls_in(demo_store)) == thoughts(demo_store) == 22
        await act(pilot, "distill.resume")
        assert any("it is done" in toast for toast in toasts(app))


async def test_cancelling_gives_up_on_a_hanging_server(
    demo_store: Path, serve: Serve, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill_with_model, "CALL_PATIENCE", 0.1)
    url, fake = serve(hanging_after(4))
    app = app_with(demo_store, **endpoint(url, concurrency="2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: len(fake.asked) == 6)
        await act(pilot, "distill.cancel")
        await until(pilot, lambda: ended(app))
        assert "■ stopped" in panel(app)
        assert "running calls did not end in 0.1 seconds and are given up" in panel(app)
        assert len(calls_in(demo_store)) == 4


async def test_leaving_the_app_waits_for_paid_calls_and_says_how_to_resume(
    demo_store: Path, serve: Serve, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, fake = serve(hanging_after(4))
    waits: list[float] = []
    real_join = leaving.join_threads

    def join(threads: Iterable[threading.Thread], seconds: float, *, announce: bool) -> None:
        waits.append(seconds)
        fake.gate.set()
        real_join(threads, seconds, announce=announce)

    app = app_with(demo_store, **endpoint(url, concurrency="2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: len(fake.asked) == 6)
        monkeypatch.setattr(leaving, "join_threads", join)
        await act(pilot, "app.quit")
    assert len(calls_in(demo_store)) == 6
    assert waits[0] > CALL_PATIENCE
    [farewell] = app.farewells
    assert "answers so far are kept; this resumes it: kdtui knowledge distill --dataset demo-outdoor" in farewell


async def test_it_runs_while_the_user_is_elsewhere_and_asks_for_consent_when_he_returns(
    demo_store: Path, serve: Serve, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = threading.Event()
    really_estimated = estimate_distillation.estimate_with_progress

    def estimate_with_progress(
        db: Database, plan: DistillationPlan
    ) -> Iterator[estimate_distillation.EstimateProgress]:
        elsewhere.wait(PATIENCE)
        return really_estimated(db, plan)

    monkeypatch.setattr(estimate_distillation, "estimate_with_progress", estimate_with_progress)
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
        assert "! ended early" in panel(app)
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


@pytest.mark.slow
async def test_unreported_tokens_are_estimated_and_an_empty_answer_is_paid_for(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    def silent(fake: Fake, number: int) -> None:
        fake.complete(json.dumps(answer_for(fake)) if number % 2 else "", usage=None)

    url, fake = serve(silent)
    options = endpoint(url, limit="4", prompt_price="1000", answer_price="1000")
    app = app_with(demo_store, **options)
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
    app = app_with(demo_store, **options, retry_failed="yes")
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
        assert "! ended early" in panel(app)
        assert "the next call might pass the budget" in panel(app)
        assert len(fake.asked) == len(calls_in(demo_store)) == 5


async def test_leaving_the_program_keeps_pending_calls(
    demo_store: Path, serve: Serve, settle: Settle, until: Until
) -> None:
    url, fake = serve(hanging_after(4))
    app = app_with(demo_store, **endpoint(url, concurrency="2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await begin_paid(pilot, settle, until)
        await until(pilot, lambda: len(fake.asked) == 6)
        threading.Timer(0.2, fake.gate.set).start()
    assert len(fake.asked) == len(calls_in(demo_store)) == 6


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
    request = DistillationRequest(DATASET, ("rule",), StudentTeacher("patterns"))
    distillation = Distillation(request)
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
