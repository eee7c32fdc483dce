"""Reading ahead from a source that blocks: available values come at once, and an error comes after them."""

from collections.abc import Iterator
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.exchange.read_ahead import ReadAhead
from tests.support.waiting import PATIENCE


@given(st.lists(st.integers(), max_size=400))
def test_everything_comes_in_order(values: list[int]) -> None:
    assert [value for value in ReadAhead(values) if value is not None] == values


def test_the_reader_does_not_wait() -> None:
    more = Event()

    def source() -> Iterator[str]:
        yield "first"
        more.wait(PATIENCE)
        yield "second"

    read = iter(ReadAhead(source()))
    assert next(value for value in read if value is not None) == "first"
    # The source waits for the test, but the test does not wait for the source.
    assert next(read) is None
    more.set()
    assert next(value for value in read if value is not None) == "second"


def test_an_error_comes_after_what_was_read_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("line 2")

    read = ReadAhead(source())
    assert [value for value in read if value is not None] == [1]
    with pytest.raises(ValueError, match="line 2"):
        read.check()
