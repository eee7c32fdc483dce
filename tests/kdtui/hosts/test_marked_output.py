"""The output of a program between two marks, in whatever parts it arrives."""

from hypothesis import example, given
from hypothesis import strategies as st

from kdtui.hosts.shell import MarkedOutput

MARK = "\x1ekey"
NEAR_MARKS = st.sampled_from([b"\x1e", b"\x1ekey", b"\x1ekey:", b"\x1ekey:x", b"\x1ekey:" + b"9" * 50, b"text\n", b"7"])


def taken(said: bytes, cuts: list[int]) -> tuple[bytes, int | None, int]:
    """Return the output that is read of these bytes, the exit code, and the most bytes that were held back."""
    output, read, most_held = MarkedOutput(MARK), b"", 0
    for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
        read += output.take(said[start:end])
        most_held = max(most_held, len(said[:end]) - len(read))
    return read + output.rest(), output.code, most_held


@given(st.lists(NEAR_MARKS), st.integers(0, 255), st.data())
@example([b"\x1ekey:" + b"9" * 5000], 0, None)
def test_the_output_and_its_code_do_not_depend_on_the_parts(
    parts: list[bytes], code: int, data: st.DataObject | None
) -> None:
    body = b"".join(parts)
    said = f"{MARK}\n".encode() + body + f"{MARK}:{code}\n".encode()
    cuts = [] if data is None else sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=6)))
    read, found, _ = taken(said, cuts)
    assert (read, found) == (body, code)


def test_a_mark_without_a_code_holds_nothing_back() -> None:
    body = f"{MARK}:".encode() + b"x" * 100_000
    said = f"{MARK}\n".encode() + body
    read, code, most_held = taken(said, list(range(1000, len(said), 1000)))
    assert (read, code) == (body, None)
    assert most_held < 1000
