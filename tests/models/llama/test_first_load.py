"""Models from outside: any file is loaded or refused in one sentence, whatever llama.cpp asserts."""

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest

from models.embedded import embedded_student, shipped_encoder
from models.errors import Cancelled, ModelError
from models.llama import first_load, trial
from models.llama.cancellation import Cancellation
from models.llama.embedding import LocalEmbedder
from models.llama.model import LlamaModel
from models.llama.model_header import vocabulary_only
from models.llama.quantization import quantize_file
from models.llama.student import Student
from tests.support.commands import Kdtui
from tests.support.tiny import make_model


def with_equal_tokens(path: Path) -> Path:
    """Make a model whose vocabulary has the same token twice, which llama.cpp asserts not to happen."""
    data = make_model(path).read_bytes()
    name = b"\4\0\0\0\0\0\0\0camp"
    assert data.count(name) == 1
    path.write_bytes(data.replace(name, b"\4\0\0\0\0\0\0\0phon"))
    return path


def open_vocabulary(path: Path) -> None:
    with vocabulary_only(path):
        pass


def open_model(path: Path) -> None:
    LlamaModel(path).close()


def open_embedder(path: Path) -> None:
    LocalEmbedder(path).close()


def quantize(path: Path) -> None:
    quantize_file(path, path.with_name("quantized.gguf"), "Q8_0", 1)


@pytest.mark.parametrize("load", [open_vocabulary, open_model, open_embedder, quantize])
def test_a_model_that_crashes_llama_cpp_is_refused(load: Callable[[Path], None], tmp_path: Path) -> None:
    path = with_equal_tokens(tmp_path / "hostile.gguf")
    with pytest.raises(ModelError, match=r"hostile.gguf: llama.cpp crashes on this model \(ends by signal 6\)"):
        load(path)


def test_a_command_refuses_it_too(kdtui: Kdtui, tmp_path: Path) -> None:
    path = with_equal_tokens(tmp_path / "hostile.gguf")
    ended = kdtui("model", "add", path)
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "llama.cpp crashes on this model" in ended.err


def test_a_model_is_loaded_elsewhere_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_model(tmp_path / "tiny.gguf")
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    loads: list[Path] = []
    load = first_load._load_elsewhere

    def counted(use: first_load.Use, path: Path) -> str:
        loads.append(path)
        return load(use, path)

    monkeypatch.setattr(first_load, "_load_elsewhere", counted)
    for _ in range(2):
        open_model(path)
    assert loads == [path]
    path.write_bytes(data + b"\0")
    open_model(path)
    assert loads == [path, path]


def test_what_is_shipped_is_loaded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_load, "_load_elsewhere", None)
    with closing(LlamaModel(embedded_student(), vocabulary_only=True)) as model:
        assert model.vocab_size > 0


def test_a_first_load_can_be_cancelled(tmp_path: Path) -> None:
    path = make_model(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes() + b"\0")
    wish = Cancellation()
    wish.cancel()
    with wish.in_force(), pytest.raises(Cancelled):
        LlamaModel(path)


def _fill_memory(_path: str, _use: str) -> None:
    """End as the system ends a process that fills the memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_model_that_needs_too_much_memory_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_model(tmp_path / "tiny.gguf", remember=False)
    monkeypatch.setattr(first_load, "_load", _fill_memory)
    with pytest.raises(ModelError, match=r"tiny.gguf: there is not enough memory for this model"):
        open_model(path)


def _never_end(_path: str, _use: str) -> None:
    sleep(60)


def test_a_model_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_model(tmp_path / "tiny.gguf", remember=False)
    monkeypatch.setattr(first_load, "_load", _never_end)
    monkeypatch.setattr(first_load, "_PATIENCE", 0.5)
    with pytest.raises(ModelError, match=r"tiny.gguf: llama.cpp has not loaded this model after 1 seconds"):
        open_model(path)


def _take_memory(path: str, _use: str) -> None:
    """Use more memory than a model of this size may."""
    trial._MEMORY = 1 << 30
    trial._limit(Path(path))
    bytearray(1 << 31)


def test_a_model_that_fills_the_memory_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_model(tmp_path / "tiny.gguf", remember=False)
    monkeypatch.setattr(first_load, "_load", _take_memory)
    with pytest.raises(ModelError, match="there is not enough memory for this model"):
        open_model(path)


def test_a_file_that_claims_more_than_it_holds_is_refused_before_memory_is_reserved(tmp_path: Path) -> None:
    path = make_model(tmp_path / "tiny.gguf")
    data = bytearray(path.read_bytes())
    # The number of tensors.
    data[8:16] = (2**40).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"tiny.gguf: this model cannot be read"):
        LlamaModel(path)


def test_a_model_that_cannot_write_lines_is_refused_as_a_student() -> None:
    with pytest.raises(
        ModelError, match=r"minilm.gguf: its vocabulary cannot write numbers in lines, as a student has to"
    ):
        Student(shipped_encoder())


def test_a_model_without_digits_is_refused_as_a_student(tmp_path: Path) -> None:
    path = make_model(tmp_path / "tiny.gguf")
    digits = path.read_bytes()
    for digit in b"123456789":
        digits = digits.replace(b"\1\0\0\0\0\0\0\0" + bytes([digit]), b"\1\0\0\0\0\0\0\0" + bytes([digit - 48]))
    path.write_bytes(digits)
    with pytest.raises(ModelError, match=r"tiny.gguf: its vocabulary cannot write numbers in lines"):
        Student(path)
