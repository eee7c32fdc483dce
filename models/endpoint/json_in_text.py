"""Finds the JSON object that a model was asked for among whatever it wrote around it: thoughts, prose, fences."""

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from models.errors import ModelError

JsonObject: TypeAlias = dict[str, Any]

_EXCERPT = 40
"""Characters of a useless answer that a message shows."""

# The ways in which models end their thoughts. The beginning is often part of the prompt, and so not in the answer.
_END_OF_THOUGHTS = re.compile(
    r"</(?:\w+:)?(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad)>"
    r"|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)
_FENCES = re.compile(r"[\s`]*+(?:<\|\w+\|>[\s`]*+)*+")
_TOKEN = re.compile(
    r'\s*+(?:(?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+")|(?P<mark>[{}\[\]:,])|-?\d[\d.eE+-]*+|true|false|null)', re.DOTALL
)


def object_in(text: str, key: str) -> JsonObject:
    """Return the last JSON object with a key that a model wrote outside of its thoughts, also inside another object.

    The time is linear in the length of the text, whatever the text is.

    Raises:
        ModelError: there is no such object.
    """
    bare = text.strip()
    for candidate in _candidates(bare):
        content = _with_key(_decoded(candidate), key)
        if content is not None:
            return content
    raise not_asked_for(text)


def without_thoughts(text: str) -> str:
    """Return what a model wrote after its thoughts; the whole text if nothing follows them."""
    return text[_end_of_thoughts(text, _objects(text)) :].strip() or text


def not_asked_for(text: str) -> ModelError:
    """Return the error for a useless answer; it shows the beginning of the answer."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text[:400]).split())
    shown = line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"
    return ModelError(f"the answer is not the JSON that was asked for: {shown!r}")


def _candidates(text: str) -> Iterator[str]:
    """Yield the texts that can be the object, the likeliest first."""
    yield text
    spans = _objects(text)
    thoughts = _end_of_thoughts(text, spans)
    # If nothing follows the thoughts, the answer is in them. Otherwise an object in the thoughts is a dropped draft.
    is_all_thoughts = _FENCES.fullmatch(text, thoughts) is not None
    for start, end in reversed(spans):
        if start >= thoughts or is_all_thoughts:
            yield text[start:end]


def _end_of_thoughts(text: str, spans: list[tuple[int, int]]) -> int:
    """Return the end of the last mark of an end of thoughts outside of objects; 0 if there is none."""
    last, number = 0, 0
    for mark in _END_OF_THOUGHTS.finditer(text):
        while number < len(spans) and spans[number][1] <= mark.start():
            number += 1
        if number == len(spans) or spans[number][0] > mark.start():
            last = mark.end()
    return last


def _objects(text: str) -> list[tuple[int, int]]:
    """Return beginning and end of each outermost JSON object of a text, in order.

    A brace is tried as the beginning of an object unless an earlier attempt has read it as a brace: that attempt ended
    where this one would. Two attempts that read the same text at the same time differ in what they take for strings. So
    no text is read more than twice, and the total time is linear.
    """
    spans_found: list[tuple[int, int]] = []
    met: set[int] = set()
    start = text.find("{")
    while start >= 0:
        following = start + 1
        if start not in met:
            spans = _attempt(text, start, met)
            spans_found += spans
            if spans and spans[-1][0] == start:
                following = spans[-1][1]
        start = text.find("{", following)
    return _outermost(spans_found)


def _attempt(text: str, start: int, met: set[int]) -> list[tuple[int, int]]:
    """Read an object from a brace on; return it, or else the outermost objects that were read before the failure."""
    done: list[tuple[int, int]] = []
    # The open brackets, each with its position; and what can come next.
    open_at: list[tuple[str, int]] = []
    expected = "value"
    at = start
    while token := _TOKEN.match(text, at):
        at = token.end()
        mark = token["mark"]
        if mark in ("{", "["):
            if expected not in ("value", "value or ]"):
                break
            if mark == "{":
                met.add(at - 1)
            open_at.append((mark, at - 1))
            expected = "key or }" if mark == "{" else "value or ]"
        elif mark in ("}", "]"):
            if expected not in (f"key or {mark}", f"value or {mark}", ", or end") or not _closes(mark, open_at):
                break
            kind, begin = open_at.pop()
            if kind == "{":
                while done and done[-1][0] > begin:
                    done.pop()
                done.append((begin, at))
            if not open_at:
                break
            expected = ", or end"
        elif mark == ":":
            if expected != ":":
                break
            expected = "value"
        elif mark == ",":
            if expected != ", or end":
                break
            expected = "key" if open_at[-1][0] == "{" else "value"
        elif expected in ("key", "key or }") and token["string"] is not None:
            expected = ":"
        elif expected in ("value", "value or ]"):
            expected = ", or end"
        else:
            break
    return done


def _closes(mark: str, open_at: list[tuple[str, int]]) -> bool:
    return open_at[-1][0] == ("{" if mark == "}" else "[")


def _outermost(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def _decoded(text: str) -> object:
    try:
        # Models write line breaks into strings, which JSON does not allow.
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _with_key(value: object, key: str) -> JsonObject | None:
    """Return the value, or the last object inside it, that has a key."""
    waiting = [value]
    while waiting:
        level, waiting = waiting, []
        for each in reversed(level):
            if isinstance(each, dict):
                if key in each:
                    return each
                # Objects in lists are skipped: they are parts of an answer, and not the answer.
                waiting += each.values()
    return None
