"""The fast version of the embedded student is made once, and a damaged file is replaced."""

from pathlib import Path

import pytest

from models.embedded import embedded_student
from models.llama import fast_base
from models.llama.fast_base import fast_embedded_student, open_embedded_student
from models.llama.quantization import model_info


@pytest.fixture
def kept(cache: Path) -> Path:
    return fast_embedded_student(cache / "kdtui" / "models")


def test_the_fast_student_is_made_once(kept: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_info(kept).quantization == "Q4_0"
    monkeypatch.setattr("models.llama.quantization.quantize_file", lambda *_: pytest.fail("it is made again"))
    assert fast_embedded_student(cache / "kdtui" / "models") == kept


def test_without_a_writable_cache_the_shipped_student_is_used(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, and no folder")
    assert fast_embedded_student(tmp_path / "cache") == embedded_student()


def test_on_a_gpu_the_shipped_student_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_base, "can_use_gpu", lambda: True)
    assert fast_embedded_student(tmp_path) == embedded_student()


@pytest.mark.parametrize("bytes_left", [0, 1000, 5_000_000])
def test_a_damaged_file_is_made_again(kept: Path, tmp_path: Path, bytes_left: int) -> None:
    damaged = tmp_path / "models" / kept.name
    damaged.parent.mkdir()
    damaged.write_bytes(kept.read_bytes()[:bytes_left])
    with open_embedded_student(context=512, cache=tmp_path) as student:
        assert student.model.path == damaged
    assert damaged.stat().st_size == kept.stat().st_size
