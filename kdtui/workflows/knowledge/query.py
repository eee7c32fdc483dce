"""The query language of a search for knowledge: words, and filters such as `format:rule` or `support:>0.02`.

    cables teacher:"large model" support:>0.02 "case: red"

Several filters of one name match any of their values. Words and filters of different names must all match. Text with a
blank, or with a colon that belongs to no filter, goes in double quotes; two quotes inside quotes stand for one. Formats
and statuses can be shortened.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, TypeVar, cast

from kdtui.errors import KdtuiError
from store.records import FORMATS, MEASURES, STATUSES, Bound, KnowledgeQuery, Measure

Value = TypeVar("Value", bound=str)

FILTERS = ("format", "dataset", "teacher", "status", "sample", "origin", *MEASURES)
"""The names of the filters."""

_NAME = re.compile(r"([A-Za-z]+):")
_BOUND = re.compile(r"(>=|<=|>|<|=)?(.*)", re.DOTALL)
_PLAIN = re.compile(r'[^\s":]+')


class BadQuery(KdtuiError):
    """A query that cannot be parsed; the message says why."""


@dataclass(slots=True)
class _Part:
    """A part between blanks: the name of its filter, if it has one, and its text without quotes."""

    name: str | None
    text: str


@dataclass(slots=True)
class _Found:
    words: list[str] = field(default_factory=list)
    values: dict[str, list[str]] = field(default_factory=dict)
    bounds: list[Bound] = field(default_factory=list)


def parse_query(text: str) -> KnowledgeQuery:
    """Parse a query.

    Raises:
        BadQuery: there is no such filter, its value is invalid, or the query is not text.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadQuery("the search has half a character, which no text has")
    parsed = _Found()
    for part in _parts(text):
        if part.name is None:
            if part.text.strip():
                parsed.words.append(part.text.strip())
            continue
        name = part.name.lower()
        if name not in FILTERS:
            raise BadQuery(f"there is no filter {part.name}: (there are: {', '.join(FILTERS)}); quote it to find it")
        if name in MEASURES:
            parsed.bounds.append(_bound(name, part.text))
        elif part.text:
            parsed.values.setdefault(name, []).append(part.text)
        else:
            raise BadQuery(f"{name}: needs a value, such as {name}:{_example(name)}")
    values = parsed.values
    return KnowledgeQuery(
        tuple(parsed.words),
        _chosen("format", FORMATS, values.get("format", ())),
        tuple(dict.fromkeys(values.get("dataset", ()))),
        tuple(dict.fromkeys(values.get("teacher", ()))),
        _chosen("status", STATUSES, values.get("status", ())),
        tuple(dict.fromkeys(values.get("sample", ()))),
        tuple(dict.fromkeys(parsed.bounds)),
        tuple(dict.fromkeys(values.get("origin", ()))),
    )


def write_query(query: KnowledgeQuery) -> str:
    """Write a query as a user could have typed it."""
    parts = [quoted(word) for word in query.words]
    filters: Mapping[str, Sequence[str]] = {
        "format": query.formats,
        "dataset": query.datasets,
        "teacher": query.teachers,
        "status": query.statuses,
        "sample": query.samples,
        "origin": query.origins,
    }
    parts += [f"{name}:{quoted(value)}" for name, values in filters.items() for value in values]
    parts += [
        f"{bound.measure}:{bound.operator if bound.operator != '=' else ''}{bound.value!r}" for bound in query.bounds
    ]
    return " ".join(parts)


def toggled(
    query: KnowledgeQuery, name: Literal["format", "dataset", "status", "teacher", "sample"], value: str
) -> str:
    """Return the query with a filter added, or removed if it was there, as a user could have typed it."""
    import msgspec

    attribute = "statuses" if name == "status" else f"{name}s"
    values: tuple[str, ...] = getattr(query, attribute)
    values = tuple(each for each in values if each != value) if value in values else (*values, value)
    return write_query(msgspec.structs.replace(query, **{attribute: values}))


def quoted(text: str) -> str:
    """Quote a word or a value if necessary."""
    return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', '""') + '"'


def _parts(text: str) -> list[_Part]:
    parts: list[_Part] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        name = _NAME.match(text, at)
        if name:
            at = name.end()
        content, at = _content(text, at)
        parts.append(_Part(name[1] if name else None, content))
    return parts


def _content(text: str, at: int) -> tuple[str, int]:
    """Return the text up to the next blank outside of quotes, and its end. The last quote can be left open."""
    content = ""
    in_quotes = False
    while at < len(text) and (in_quotes or not text[at].isspace()):
        if text[at] != '"':
            content += text[at]
        elif in_quotes and text[at + 1 : at + 2] == '"':
            content += '"'
            at += 1
        else:
            in_quotes = not in_quotes
        at += 1
    return content, at


def _bound(measure: Measure, text: str) -> Bound:
    match = _BOUND.fullmatch(text)
    assert match is not None
    try:
        value = float(match[2])
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise BadQuery(
            f"{measure}: needs a number, such as {measure}:>0.02 or {measure}:<=0.5, not {text or 'nothing'}"
        )
    return Bound(measure, cast("Literal['>', '>=', '<', '<=', '=']", match[1] or "="), value)


def _chosen(name: str, among: Sequence[Value], given: Sequence[str]) -> tuple[Value, ...]:
    chosen: dict[Value, None] = {}
    for text in given:
        fitting = [value for value in among if value.startswith(text.lower())]
        if len(fitting) != 1:
            raise BadQuery(f"there is no {name} {text!r}; there are: {', '.join(among)}")
        chosen[fitting[0]] = None
    return tuple(chosen)


def _example(name: str) -> str:
    return {"format": "rule", "status": "rejected", "teacher": "annotations"}.get(name, "NAME")
