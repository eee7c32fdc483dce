"""Byte order marks, which some editors write, are accepted in every text that a user provides."""

from pathlib import Path

import pytest

from kdtui.distill.prompt_files import own_prompt_file, prompt_text, prompts_hash
from kdtui.errors import BadFile
from kdtui.exchange.pasted_text import read_typed
from kdtui.workflows.data.import_dataset import import_dataset
from models.errors import ModelError
from models.files.json_files import read_object
from store.sqlite import Database
from tests.support.commands import Kdtui, feed

MARK = b"\xef\xbb\xbf"


def test_a_byte_order_mark_in_a_users_prompt(tmp_path: Path) -> None:
    path = own_prompt_file("detect")
    assert path.is_relative_to(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes("Größe".encode())
    plain = prompts_hash()
    path.write_bytes(MARK + "Größe".encode())
    assert prompt_text("detect") == "Größe"
    assert prompts_hash() == plain
    path.write_text("Größe", encoding="utf-16")
    with pytest.raises(BadFile, match=r"detect\.txt: it is UTF-16 text; save the file as UTF-8"):
        prompt_text("detect")
    path.write_bytes("eins\nGröße".encode("latin-1"))
    with pytest.raises(BadFile, match=r"detect\.txt, line 2: this is not UTF-8 text"):
        prompt_text("detect")


def test_a_byte_order_mark_in_pasted_text() -> None:
    [session] = read_typed("\ufeffTent\nPegs")
    assert [item.title for item in session.items] == ["Tent", "Pegs"]
    [session] = read_typed('\ufeff{"session": "s", "items": [{"id": "a"}]}')
    assert session.id == "s"


def test_a_byte_order_mark_in_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_bytes(MARK + b'{"a": 1}')
    assert read_object(path) == {"a": 1}
    path.write_text('{"a": 1}', encoding="utf-16")
    with pytest.raises(ModelError, match=r"job\.json: it is UTF-16 text"):
        read_object(path)


def test_byte_order_marks_in_numbers_on_stdin(
    db: Database, outdoor: Path, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    list(import_dataset(db, outdoor, "demo"))
    assert kdtui("knowledge", "mine").code == 0
    feed(monkeypatch, MARK + b"1,2\n")
    result = kdtui("knowledge", "export", "-d", "demo", "--pieces", "-", "-o", tmp_path / "out")
    assert "2 pieces" in result.err


def test_byte_order_marks_in_sessions_on_stdin(kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'{"session": "s", "items": [{"id": "a", "title": "Tent"}]}\n'
    feed(monkeypatch, MARK + line)
    [row] = kdtui("generate", "-", "--json", "--student", "smollm2").rows
    assert row["session"] == "s"
    feed(monkeypatch, b"\x1f\x8b" + line)
    result = kdtui("generate", "-", "--json", "--student", "smollm2")
    assert "stdin: it is compressed by gzip" in result.err
