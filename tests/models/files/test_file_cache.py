"""The cache of slow computations on files."""

import os
from pathlib import Path

import pytest

from models.files.file_cache import compute_cached


def test_a_changed_file_is_computed_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "it's a file", tmp_path / "cache"
    asked = []

    def compute(path: Path) -> str:
        asked.append(path)
        return path.read_text()

    path.write_text("one")
    assert [compute_cached(path, compute, cache) for _ in range(3)] == ["one"] * 3
    assert len(asked) == 1
    path.write_text("other")
    assert compute_cached(path, compute, cache) == "other"
    assert compute_cached(path, compute, None) == "other"
    assert len(asked) == 3
    assert not list(cache.glob("*.part"))


def test_an_unusable_cache_only_costs_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    (tmp_path / "cache").write_text("no folder")
    assert compute_cached(path, Path.read_text, tmp_path / "cache") == "one"


@pytest.mark.parametrize("size", [0, 10, 64, 66])
def test_a_truncated_cache_file_is_computed_again_and_replaced(tmp_path: Path, size: int) -> None:
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_text("one")
    assert compute_cached(path, Path.read_text, cache) == "one"
    [place] = cache.iterdir()
    whole = place.read_bytes()
    os.truncate(place, size)
    assert compute_cached(path, Path.read_text, cache) == "one"
    assert place.read_bytes() == whole


def test_a_cache_file_of_an_older_version_is_computed_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_text("one")
    compute_cached(path, Path.read_text, cache)
    [place] = cache.iterdir()
    place.write_bytes(b"\xff no digest")
    assert compute_cached(path, Path.read_text, cache) == "one"
