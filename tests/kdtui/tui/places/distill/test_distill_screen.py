"""The place Distill: the cost of a distillation, its progress, and the list of calls."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from textual.widgets import Checkbox, Input, Select, Static

from kdtui.errors import KdtuiError
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.places.distill.fields import (
    common_fields,
    fields_of_request,
    read_teacher,
    request_of_fields,
    teacher_fields,
)
from kdtui.tui.places.distill.request import (
    Annotations,
    DistillationRequest,
    EndpointTeacher,
    Mining,
    StudentTeacher,
    Teacher,
)
from kdtui.tui.places.distill.screen import DistillScreen
from store.database import open_database
from store.knowledge import Knowledge, find_knowledge
from tests.support.acting import act
from tests.support.commands import Kdtui
from tests.support.distill_place import DATASET, accept_forms, app_with, dialog, ended, endpoint, panel, thoughts
from tests.support.fake_chat_server import Serve
from tests.support.fake_teacher import good
from tests.support.screens import Settle, Until, notice, text_of, toasts


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


async def test_the_annotations_need_no_consent(demo_store: Path, settle: Settle, until: Until) -> None:
    app = app_with(demo_store, teacher="annotations", formats="rule,thought")
    async with app.run_test(size=(80, 24)) as pilot:
        await accept_forms(pilot, settle)
        await until(pilot, lambda: ended(app))
        assert "rules and thoughts of demo-outdoor from the annotations" in panel(app)
        assert "rules kept" in panel(app)
        assert "it costs nothing" in panel(app)
        assert thoughts(demo_store) == 22


async def test_what_was_distilled_appears_in_knowledge_at_once(demo_store: Path, settle: Settle, until: Until) -> None:
    app = app_with(demo_store, teacher="annotations", formats="rule,thought")
    async with app.run_test(size=(80, 24)) as pilot:
        await act(pilot, "app.knowledge")
        await settle(pilot)
        knowledge = app.screen
        before = knowledge.query_one(HitsTable).row_count
        await act(pilot, "app.distill")
        await accept_forms(pilot, settle)
        await until(pilot, lambda: ended(app))
        await settle(pilot)
        assert knowledge.query_one(HitsTable).row_count > before


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
        ({"limit": "9" * 400}, "Sessions at most: enter a whole number of 9,223,372,036,854,775,807 or less"),
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
    teachers: dict[str, Teacher] = {"levels": Mining(), "student": StudentTeacher(), "url": EndpointTeacher()}
    teacher = next((teacher for name, teacher in teachers.items() if name in values), Annotations())
    request = DistillationRequest(DATASET, ("rule",), teacher)
    with pytest.raises(KdtuiError, match=re.escape(problem)):
        read_forms({**fields_of_request(request), **values}, teacher)


def read_forms(values: Mapping[str, str], teacher: Teacher) -> None:
    request_of_fields({"teacher": "annotations", **values}, {})
    read_teacher(values, teacher)


REQUESTS = [
    DistillationRequest(
        "--odd",
        ("rule",),
        EndpointTeacher(
            "http://h/v1",
            "a b",
            "MY_KEY",
            prompt_price=0.0,
            max_cost=2.5,
            concurrency=4,
            tokens_per_minute=9,
            timeout=9.0,
            answer_tokens=4096,
            retry_failed=True,
        ),
        limit=5,
        seed=3,
    ),
    DistillationRequest("mine", ("pattern",), Mining((1, 2), 1.0, 2)),
    DistillationRequest("mine", ("rule", "thought"), StudentTeacher("my model"), replaces=True),
    DistillationRequest("mine", ("thought",), limit=7),
]


def test_the_command_of_a_request_has_all_options_that_are_not_default(kdtui: Kdtui) -> None:
    paid, patterns, student, annotations = (request.command(Path("x.db")) for request in REQUESTS)
    assert paid == (
        "kdtui knowledge distill --retry-failed --dataset=--odd --format rule --teacher 'http://h/v1#a b' --limit 5 "
        "--seed 3 --key MY_KEY --concurrency 4 --tokens-per-minute 9 --timeout 9 --prompt-price 0 --max-cost 2.5 "
        "--answer-tokens 4096 --db x.db"
    )
    assert patterns == "kdtui knowledge mine --dataset mine --level 1 --level 2 --min-support 1 --max-size 2 --db x.db"
    assert student == "kdtui knowledge distill --replace --dataset mine --teacher 'my model' --db x.db"
    assert annotations == "kdtui knowledge distill --dataset mine --format thought --limit 7 --db x.db"
    known = kdtui("knowledge", "distill", "--help").out + kdtui("knowledge", "mine", "--help").out
    for command in (paid, patterns, student, annotations):
        for word in command.split():
            assert not word.startswith("--") or word == "--db" or word.partition("=")[0] in known


@pytest.mark.parametrize("request_before", REQUESTS, ids=lambda request: request.title)
def test_forms_that_begin_with_the_values_of_a_request_give_the_same_request(
    request_before: DistillationRequest,
) -> None:
    values = {field.name: field.value for field in common_fields({}, [])} | fields_of_request(request_before)
    assert request_of_fields(values, values) == request_before
    assert [field.value for field in teacher_fields(request_before.teacher)] == [
        values[field.name] for field in teacher_fields(request_before.teacher)
    ]


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
