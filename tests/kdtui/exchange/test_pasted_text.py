"""Sessions that a user types or pastes."""

import json

import pytest

from kdtui.errors import BadFile
from kdtui.exchange.pasted_text import read_stream, read_typed, session_texts
from store.records import Bundle, Item, Session

TENT = {"id": "t", "title": "Tent"}
PEGS = {"id": "p"}


def test_a_line_is_a_product_with_a_category_after_a_bar() -> None:
    [session] = read_typed("Tent | Outdoor > Shelter\n  Sleeping bag \nA | B | C\n")
    assert session == Session(
        "typed 1",
        (
            Item("1", "Tent", (("Outdoor", "Shelter"),)),
            Item("2", "Sleeping bag"),
            Item("3", "A | B", (("C",),)),
        ),
    )


def test_an_empty_line_ends_a_session_as_it_does_on_stdin() -> None:
    text = "\n\nTent\nPegs\n \n\t\n\nKettle | Kitchen\nMug\n\nLamp\n\n"
    sessions = read_typed(text, number=4)
    assert [session.id for session in sessions] == ["typed 4", "typed 5", "typed 6"]
    streamed = read_stream(text.encode().splitlines(keepends=True), "stdin")
    assert [session.items for session in sessions] == [session.items for session in streamed]


def test_each_session_of_titles_is_a_part_of_the_text() -> None:
    assert session_texts("Tent\nPegs\n\n\nKettle\n") == ["Tent\nPegs", "Kettle"]
    # JSON is not split.
    assert session_texts('{"session":\n\n"s"}') == ['{"session":\n\n"s"}']


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_read_as_from_a_file(indent: int | None) -> None:
    one = {"session": "s", "items": [TENT, PEGS], "bundles": [{"items": ["t", "p"], "intent": "a night"}]}
    [session] = read_typed(json.dumps(one, indent=indent))
    assert session == Session("s", (Item("t", "Tent"), Item("p")), (Bundle((1, 2), "a night"),))


def test_several_sessions_can_be_lines_or_a_list() -> None:
    two = [{"session": name, "items": [TENT]} for name in "ab"]
    for text in ("\n".join(map(json.dumps, two)), json.dumps(two)):
        assert [session.id for session in read_typed(text)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it contains no product"),
        (" \n\t\n", "it contains no product"),
        ('{"session": "s"}', "a session is not as expected"),
        ('{"session": ', "this is not JSON"),
        ('[{"session": 1}]', "a session is not as expected"),
    ],
)
def test_text_without_a_session_is_reported(text: str, problem: str) -> None:
    with pytest.raises(BadFile, match=problem):
        read_typed(text)


def test_text_that_utf8_cannot_encode_is_replaced() -> None:
    [session] = read_typed("a\ud800b")
    assert session.items[0].title == "a?b"
