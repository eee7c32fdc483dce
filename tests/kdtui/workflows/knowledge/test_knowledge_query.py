"""Queries for knowledge, and numbers of pieces."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.errors import KdtuiError
from kdtui.workflows.knowledge.query import BadQuery, parse_query, quoted, toggled, write_query
from kdtui.workflows.number_ranges import parse_numbers, write_numbers
from store.records import FORMATS, MEASURES, STATUSES, Bound, KnowledgeQuery

WORDS = st.text(min_size=1).map(str.strip).filter(bool)
NAMES = st.text(min_size=1)
BOUNDS = st.builds(
    Bound,
    st.sampled_from(MEASURES),
    st.sampled_from([">", ">=", "<", "<=", "="]),
    st.floats(allow_nan=False, allow_infinity=False),
)


def some(of: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(of, max_size=3, unique=True).map(tuple)


QUERIES = st.builds(
    KnowledgeQuery,
    words=st.lists(WORDS, max_size=4).map(tuple),
    formats=some(st.sampled_from(FORMATS)),
    datasets=some(NAMES),
    teachers=some(NAMES),
    statuses=some(st.sampled_from(STATUSES)),
    samples=some(NAMES),
    bounds=st.lists(BOUNDS, max_size=3, unique=True).map(tuple),
)


@given(QUERIES)
def test_a_written_query_reads_the_same(query: KnowledgeQuery) -> None:
    assert parse_query(write_query(query)) == query


@given(st.text())
def test_any_text_is_a_query_or_one_sentence(text: str) -> None:
    with suppress(BadQuery):
        query = parse_query(text)
        assert parse_query(write_query(query)) == query


@given(st.text())
def test_quoted_text_is_one_word(text: str) -> None:
    assert parse_query(quoted(text)).words == ((text.strip(),) if text.strip() else ())


@given(QUERIES, st.sampled_from(["format", "dataset", "teacher", "status", "sample"]), st.data())
def test_a_filter_can_be_toggled(query: KnowledgeQuery, name: str, data: st.DataObject) -> None:
    values = {"format": st.sampled_from(FORMATS), "status": st.sampled_from(STATUSES)}.get(name, NAMES)
    value = data.draw(values)
    attribute = "statuses" if name == "status" else f"{name}s"
    once = parse_query(toggled(query, name, value))  # type: ignore[arg-type]
    assert (value in getattr(once, attribute)) is not (value in getattr(query, attribute))
    twice = parse_query(toggled(once, name, value))  # type: ignore[arg-type]
    assert set(getattr(twice, attribute)) == set(getattr(query, attribute))
    assert twice.words == query.words


def test_words_and_filters_mix() -> None:
    query = parse_query('usb format:rule teacher:"large model" cables support:>0.02 format:thought precision:<=0.5')
    assert query.words == ("usb", "cables")
    assert query.formats == ("rule", "thought")
    assert query.teachers == ("large model",)
    assert query.bounds == (Bound("support", ">", 0.02), Bound("precision", "<=", 0.5))


def test_an_unfinished_query_is_read_as_far_as_possible() -> None:
    assert parse_query('teacher:"large mo').teachers == ("large mo",)
    assert parse_query('"two wor').words == ("two wor",)
    assert parse_query("format:th status:rej").formats == ("thought",)
    assert parse_query("FORMAT:Rule").formats == ("rule",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colour:red", "there is no filter colour: (there are: format, dataset,"),
        ("support:", "support: needs a number, such as support:>0.02"),
        ("support:>much", "not >much"),
        ("lift:nan", "lift: needs a number"),
        ("lift:>inf", "lift: needs a number"),
        ("format:", "format: needs a value, such as format:rule"),
        ("format:idea", "there is no format 'idea'; there are: pattern, rule, thought"),
        ("teacher:", "teacher: needs a value, such as teacher:annotations"),
    ],
)
def test_an_invalid_query_says_why(text: str, problem: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_query(f"words {text}")
    assert problem in str(caught.value)


def test_a_colon_without_a_filter_is_a_part_of_the_word() -> None:
    assert parse_query('16:9 "statement:tent" :x').words == ("16:9", "statement:tent", ":x")


@given(st.sets(st.integers(0, 10**17), min_size=1, max_size=40))
def test_numbers_are_written_short_and_read_again(numbers: set[int]) -> None:
    assert parse_numbers(write_numbers(numbers)) == sorted(numbers)


def test_ranges_of_numbers() -> None:
    assert write_numbers([4, 2, 3, 9, 3]) == "2-4,9"
    assert parse_numbers(" 9 2-4,3\n1") == [1, 2, 3, 4, 9]


@pytest.mark.parametrize("text", ["", "x", "4-2", "1-", "-3", "1-99999999999", "1.5", "²", "9" * 30])
def test_an_invalid_number_is_one_sentence(text: str) -> None:
    with pytest.raises(KdtuiError, match="write them as 3,17,40-52"):
        parse_numbers(text)
