"""Forms and confirmations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import Field, FormDialog
from tests.support.acting import act, rest
from tests.support.help_lines import help_lines
from tests.support.plain_form import PlainForm
from tests.support.screens import Settle


async def test_a_key_before_the_fields_of_a_form_exist_does_not_accept_it(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        results: list[Mapping[str, str] | None] = []
        form = FormDialog(PlainForm([Field("name", "Name", "text", "camping")]))
        shown = app.push_screen(form, results.append)
        form.action_done()
        await shown
        await rest(pilot)
        assert app.screen is form
        await act(pilot, "form.done")
        assert results == [{"name": "camping"}]


async def test_a_form_gets_all_fast_keys(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    done: list[Mapping[str, str] | None] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fields = [Field("one", "One"), Field("on", "On", "switch"), Field("two", "Two")]
        app.push_screen(FormDialog(PlainForm(fields)), done.append)
        await settle(pilot)
        for key in (*"first", "tab", "tab", *"second", "ctrl+s"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        assert done == [{"one": "first", "on": "", "two": "second"}]


@pytest.mark.parametrize(
    ("keys", "done"),
    [
        (["enter", "down", "enter", "tab", "x", "ctrl+s"], {"fruit": "L", "two": "x"}),
        (["enter", *"pe", "enter", "tab", "x", "ctrl+s"], {"fruit": "P", "two": "x"}),
        (["enter", *"pe", "enter", "ctrl+s"], {"fruit": "P", "two": ""}),
        (["enter", "down", "escape", "tab", "x", "ctrl+s"], {"fruit": "A", "two": "x"}),
        (["down", "down", "space", "enter", "tab", "x", "enter"], {"fruit": "L", "two": "x"}),
        (["tab", "shift+tab", "enter", "end", "enter", "enter", "up", "enter", "ctrl+s"], {"fruit": "L", "two": ""}),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
async def test_a_choice_by_keys_works_at_any_speed(
    demo_store: Path, settle: Settle, keys: list[str], done: dict[str, str], at_once: bool
) -> None:
    app = KdtuiApp(demo_store)
    results: list[Mapping[str, str] | None] = []
    fruit = [("an apple", "A"), ("a lemon", "L"), ("a pear", "P")]
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fields = [Field("fruit", "Fruit", "choice", "A", options=fruit), Field("two", "Two")]
        app.push_screen(FormDialog(PlainForm(fields)), results.append)
        await settle(pilot)
        for key in keys:
            app.post_message(Key(key, key if len(key) == 1 else None))
            if not at_once:
                await settle(pilot)
        await settle(pilot)
        assert results == [done]


async def test_an_irreversible_action_is_confirmed(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        await settle(pilot)
        for action in ("confirm.yes", "confirm.no"):
            app.push_screen(ConfirmDialog("Delete [b]it[/b]?", "All of it is lost.", "Delete"), answers.append)
            await rest(pilot)
            await act(pilot, action)
            await rest(pilot)
        app.push_screen(ConfirmDialog("Delete?", "All of it is lost.", "Delete"), answers.append)
        await rest(pilot)
        # The harmless button has the focus.
        await pilot.press("enter")
        await rest(pilot)
    assert answers == [True, False, False]


async def test_the_command_of_a_dialog_is_shown_and_copied(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        form = FormDialog(PlainForm([Field("name", "Name")]))
        for dialog, action, command in (
            (ConfirmDialog("Delete [b]it[/b]?", "It is lost.", "Delete", "kdtui x rm '[b]it[/b]'"), "confirm.copy", ""),
            (form, "form.copy", "kdtui thing --name it"),
        ):
            app.push_screen(dialog)
            await rest(pilot)
            if dialog is form:
                await pilot.press(*"it")
            await act(pilot, action)
            assert app.clipboard == (command or dialog.command)
            assert str(dialog.query_one("#dialog-command", Static).content) == f"$ {app.clipboard}"
            dialog.dismiss(None)
            await rest(pilot)
        app.push_screen(ConfirmDialog("Sure?", "No command does that.", "Yes"))
        await rest(pilot)
        await act(pilot, "confirm.copy")
        assert [*app._notifications][-1].message == "there is no command to copy"


async def test_help_and_messages_open_over_a_text(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        app.push_screen(TextDialog("A text", "of some words"))
        await rest(pilot)
        await act(pilot, "text.help")
        assert help_lines(app)["Copy the text"] == "c"
        await act(pilot, "help.close")
        app.say("something was said")
        await act(pilot, "text.messages")
        assert isinstance(app.screen, TextDialog)
        assert "something was said" in str(app.screen.query(Static).last().content)


async def test_a_form_shows_its_command_and_what_is_wrong(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    results: list[Any] = []

    form = PlainForm(
        [
            Field("name", "Name"),
            Field("kind", "Kind", "choice", "b", options=[("An [a]", "a"), ("A b", "b")]),
            Field("notes", "Notes", "lines"),
            Field("big", "Big", "switch", "yes"),
        ],
        required="name",
    )

    async with app.run_test() as pilot:
        await settle(pilot)
        app.push_screen(FormDialog(form), results.append)
        await rest(pilot)
        assert "name is missing" in str(app.screen.query_one("#form-problem", Static).content)
        await act(pilot, "form.done")
        await rest(pilot)
        assert results == []
        await pilot.press(*"x y")
        assert "kdtui thing --name x y --kind b" in str(app.screen.query_one("#dialog-command", Static).content)
        await act(pilot, "form.done")
        await rest(pilot)
        app.push_screen(FormDialog(form), results.append)
        await rest(pilot)
        await act(pilot, "form.close")
        await rest(pilot)
    assert results == [{"name": "x y", "kind": "b", "notes": "", "big": "yes"}, None]


async def test_closing_a_dialog_twice_closes_nothing_else(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        await settle(pilot)
        below, above = TextDialog("Below", "stays"), ConfirmDialog("Delete?", "It is lost.", "Delete")
        app.push_screen(below)
        app.push_screen(above, answers.append)
        await rest(pilot)
        # Before the dialog is gone, like a double click.
        above.action_answer(True)
        above.action_answer(True)
        await rest(pilot)
        assert app.screen is below
    assert answers == [True]
