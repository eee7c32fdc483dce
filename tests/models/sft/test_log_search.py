"""Log search: forwards and backwards, once around, in slices of any size."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.sft import log_search
from models.sft.log_search import Search, look_further


def offset_of(log: Path, search: Search) -> int | None:
    found: int | Search | None = search
    for _ in range(1000):
        if not isinstance(found, Search):
            return found
        found = look_further(log, found)
    raise AssertionError("it never ends")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(content="BBBa", text="BB", start=0, slice_bytes=2, backwards=True)
@given(
    content=st.text("abB\n", max_size=40),
    text=st.text("abB", min_size=1, max_size=3),
    start=st.integers(0, 50),
    slice_bytes=st.integers(1, 20),
    backwards=st.booleans(),
)
def test_the_nearest_match_is_found_around_the_end(
    tmp_path: Path, content: str, text: str, start: int, slice_bytes: int, backwards: bool
) -> None:
    log = tmp_path / "log"
    log.write_text(content)
    in_log, wanted = (content, text) if text != text.lower() else (content.lower(), text)
    places = [at for at in range(len(content)) if in_log.startswith(wanted, at)]
    if backwards:
        nearest = max(places, key=lambda at: (at < start, at), default=None)
    else:
        nearest = min(places, key=lambda at: (at < start, at), default=None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(log_search, "_SLICE", slice_bytes)
        assert offset_of(log, Search(text, start, backwards)) == nearest


def test_invalid_bytes_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe\x00" * 100 + "größer".encode() + b"\xff")
    assert offset_of(tmp_path / "log", Search("größer", 0)) == 300
    assert offset_of(tmp_path / "log", Search("", 0)) is None
    with pytest.raises(FileNotFoundError):
        look_further(tmp_path / "none", Search("a", 0))
