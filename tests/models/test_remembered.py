"""What is computed of a file is computed once, until the file changes."""

from pathlib import Path

from models.remembered import remembered


def test_what_is_computed_of_a_file_is_computed_again_when_it_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "it's a file", tmp_path / "cache"
    asked = []

    def compute(path: Path) -> str:
        asked.append(path)
        return path.read_text()

    path.write_text("one")
    assert [remembered(path, compute, cache) for _ in range(3)] == ["one"] * 3
    assert len(asked) == 1
    path.write_text("other")
    assert remembered(path, compute, cache) == "other"
    assert remembered(path, compute, None) == "other"
    assert len(asked) == 3
    assert not list(cache.glob("*.part"))


def test_a_cache_that_cannot_be_used_costs_time_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    (tmp_path / "cache").write_text("no folder")
    assert remembered(path, Path.read_text, tmp_path / "cache") == "one"
