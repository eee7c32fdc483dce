"""The registry of actions: each is tested by its key, and documented."""

import ast

from docs.keys import PAGE, page
from kdtui.tui.actions import ACTIONS, bindings
from tests.support.repository import ROOT


def acted() -> set[str]:
    """Return the actions that a test runs by their keys; an f-string stands for all its possible values."""
    actions = set()
    for path in (ROOT / "tests" / "kdtui" / "tui").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "act":
                name = node.args[1]
                if isinstance(name, ast.Constant):
                    actions.add(str(name.value))
                elif isinstance(name, ast.JoinedStr) and isinstance(start := name.values[0], ast.Constant):
                    # The scope is literal; the name is a parameter or in a list of the same test.
                    words = {
                        each.value for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Constant)
                    }
                    actions |= {
                        each.id for each in ACTIONS if each.id.startswith(str(start.value)) and each.name in words
                    }
                elif isinstance(name, ast.Name):
                    words = {
                        each.value for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Constant)
                    }
                    actions |= {each.id for each in ACTIONS if each.id in words}
    return actions


def test_each_action_is_run_by_its_key_in_a_test() -> None:
    # `app.NAME` is tested for all places.
    untested = {each.id for each in ACTIONS if not each.call.startswith("show(")} - acted()
    assert not untested


def test_a_purpose_is_a_sentence_without_a_full_stop() -> None:
    for action in ACTIONS:
        assert action.purpose[0].isupper(), action.id
        assert not action.purpose.endswith("."), action.id
        assert len(action.label) <= 14, action.id


def test_bindings_have_the_names_that_a_keymap_uses() -> None:
    assert [each.id for each in bindings("app") if not isinstance(each, tuple)] == [
        each.id for each in ACTIONS if each.scope == "app"
    ]


def test_the_page_of_keys_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make it anew with: python -m docs.keys"
