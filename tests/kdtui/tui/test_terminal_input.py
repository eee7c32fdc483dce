"""Any bytes from a terminal become keys and pasted text, and never a fault."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.events import AppFocus, Key, MouseDown, Paste
from textual.message import Message

from kdtui.tui.terminal_input import TerminalInput


def read(*parts: bytes) -> list[Message]:
    """Return the messages of bytes that arrive in these parts."""
    terminal_input = TerminalInput()
    return [message for part in parts for message in terminal_input.feed(part)]


def typed(*parts: bytes) -> list[str]:
    """Return the keys, as characters where possible."""
    return [message.character or message.key for message in read(*parts) if isinstance(message, Key)]


def pasted(*parts: bytes) -> list[str]:
    return [message.text for message in read(*parts) if isinstance(message, Paste)]


START, END = b"\x1b[200~", b"\x1b[201~"


def test_invalid_bytes_become_replacement_characters() -> None:
    assert typed(b"a\xffb") == ["a", "\ufffd", "b"]
    assert typed(b"\xc3", b"q") == ["\ufffd", "q"]
    assert pasted(START + b"a\xffb" + END) == ["a\ufffdb"]


def test_a_character_can_arrive_in_two_parts() -> None:
    assert typed(b"\xc3", b"\xa9") == ["é"]


@pytest.mark.parametrize(
    "sequence",
    [b"\x1b[1114112;1u", b"\x1b[99999999999;1u", b"\x1b[1;1::2u", b"\x1b[3:1A", b"\x1b[48;0;0;0;0t\x1b[<0;1;1M"],
    ids=["no character", "no number", "no text", "no code", "a screen without pixels"],
)
def test_an_invalid_sequence_does_not_swallow_the_next_keys(sequence: bytes) -> None:
    assert typed(sequence + b"q")[-1] == "q"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_a_pasted_text_arrives_whole_for_any_split(size: int) -> None:
    text = "tent, stove & 1–2 mats\n[31m" * 40
    data = b"x" + START + text.encode() + END + b"y"
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    assert pasted(*parts) == [text]
    assert typed(*parts) == ["x", "y"]


def test_control_characters_in_a_pasted_text_are_not_keys() -> None:
    text = b"red \x1b[31mtent\x1b[0m\x07\x9b\x00 q\x03\x1b[200~\r\none\rtwo\tthree"
    messages = read(START + text + END)
    assert [message for message in messages if not isinstance(message, Paste)] == []
    [whole] = pasted(START + text + END)
    assert whole == "red [31mtent[0m\ufffd q[200~\none\ntwo\tthree"


def test_a_single_escape_character_is_a_key() -> None:
    terminal_input = TerminalInput()
    assert list(terminal_input.feed(b"\x1b")) == []
    messages: list[Message] = []
    while not messages:
        messages = list(terminal_input.tick())
    assert [message.key for message in messages if isinstance(message, Key)] == ["escape"]


def test_keys_clicks_and_the_focus_arrive_unchanged() -> None:
    assert typed(b"\x1b[A\t") == ["up", "\t"]
    assert any(isinstance(message, MouseDown) for message in read(b"\x1b[<0;3;4M"))
    assert any(isinstance(message, AppFocus) for message in read(b"\x1b[I"))


ODD = st.sampled_from(
    [START, END, b"\x1b", b"\x1b[", b";", b":", b"u", b"M", b"<", b"t", b"48", b"\xff", b"\xc3", b"\x9b"]
)


@settings(deadline=None, max_examples=20)
@given(st.lists(ODD | st.binary(max_size=6), max_size=30))
def test_no_input_ends_the_app(parts: list[bytes]) -> None:
    terminal_input = TerminalInput()
    for part in parts:
        list(terminal_input.feed(part))
        list(terminal_input.tick())
    # After the end of the paste, keys are keys again.
    list(terminal_input.feed(END + b"\x1b\x1b"))
    while not list(terminal_input.tick()):
        pass
    assert [each.key for each in terminal_input.feed(b"q") if isinstance(each, Key)] == ["q"]
