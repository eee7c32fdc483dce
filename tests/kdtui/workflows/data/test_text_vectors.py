"""Vectors of titles and category names: computed once, stored with their dataset, and never blocking anything."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.data.text_vectors import TextVectors
from models.embedded import ENCODER_DIMENSIONS, ENCODER_SHA256, shipped_encoder
from models.llama import embedding
from models.llama.embedding import LocalEmbedder, shipped_embedder
from models.unit_vectors import Vectors
from store.database import open_database
from store.datasets import delete_dataset
from store.sqlite import Database
from store.text_vectors import count_text_vectors, kept_text_vectors, save_text_vectors

TEXTS = ["Two-person tent", "Phone case", "Tents", "Phone case"]


@pytest.fixture(autouse=True)
def real_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember nothing: these tests are about what the encoder computes, and when."""
    monkeypatch.setattr(embedding, "shipped_embedder", shipped_embedder)


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the encoder has embedded."""
    asked: list[str] = []
    embed = LocalEmbedder.embed

    def watched(self: LocalEmbedder, texts: Sequence[str]) -> Vectors:
        asked.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(LocalEmbedder, "embed", watched)
    return asked


def refuse(sentence: str) -> None:
    raise AssertionError(sentence)


def vectors(db: Database | None, texts: Sequence[str] = TEXTS, dataset: str | None = "outdoor") -> Vectors:
    with TextVectors(db, dataset, refuse) as of:
        found = of(texts)
    assert found is not None
    return found


def test_each_text_has_a_vector_of_length_one_and_the_same_text_the_same(db: Database, embedded: list[str]) -> None:
    found = vectors(db)
    assert (found.shape, found.dtype) == ((4, ENCODER_DIMENSIONS), np.dtype(np.float32))
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found[1] == found[3]).all()
    assert float(found[0] @ found[2]) > float(found[0] @ found[1]) + 0.2
    assert embedded == TEXTS[:3]


def test_stored_vectors_are_not_computed_again_and_are_identical(db: Database, embedded: list[str]) -> None:
    first = vectors(db)
    embedded.clear()
    assert (vectors(db) == first).all()
    assert not embedded
    vectors(db, [*TEXTS, "Stove"])
    assert embedded == ["Stove"]


def test_without_a_dataset_nothing_is_stored(db: Database, embedded: list[str]) -> None:
    before = list(db.conn.iterdump())
    assert (vectors(db, dataset=None) == vectors(None, dataset=None)).all()
    assert list(db.conn.iterdump()) == before
    assert len(embedded) == 6


def test_stored_vectors_are_used_without_llama_cpp(db: Database, database_of_the_test: Path) -> None:
    vectors(db)
    code = f"""
import sys
from pathlib import Path
from kdtui.workflows.data.text_vectors import TextVectors
from store.database import open_database
of = TextVectors(open_database(Path({str(database_of_the_test)!r})), "outdoor", print)
assert of({TEXTS!r}).shape == (4, {ENCODER_DIMENSIONS})
of.close()
assert not {{"llama_cpp", "openai"}} & set(sys.modules), "they take half a second"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_vectors_are_deleted_with_their_dataset(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "other"))
    vectors(db)
    vectors(db, dataset="other")
    delete_dataset(db, "outdoor")
    [left] = db.execute("SELECT count(*) FROM text_vectors").fetchone()
    assert left == count_text_vectors(db, "other") == 3


def test_vectors_of_another_encoder_are_never_used(db: Database, embedded: list[str]) -> None:
    first = vectors(db)
    db.execute("UPDATE encoders SET sha256 = 'another'")
    db.conn.commit()
    embedded.clear()
    assert (vectors(db) == first).all()
    assert embedded == TEXTS[:3]
    assert count_text_vectors(db, "outdoor") == 6


@pytest.mark.parametrize(
    "damage", [b"", bytes(10), "text", *(np.full(ENCODER_DIMENSIONS, bad, "<f2").tobytes() for bad in (np.nan, np.inf))]
)
def test_damaged_vectors_are_computed_again(db: Database, embedded: list[str], damage: Any) -> None:
    first = vectors(db)
    db.execute("UPDATE text_vectors SET vector = ?", [damage])
    db.conn.commit()
    embedded.clear()
    assert (vectors(db) == first).all()
    assert embedded == TEXTS[:3]
    embedded.clear()
    vectors(db)
    assert not embedded, "it is mended"


def test_a_locked_store_does_not_block_the_caller(
    db: Database, database_of_the_test: Path, embedded: list[str]
) -> None:
    with TextVectors(db, "outdoor", refuse) as of:
        with closing(open_database(database_of_the_test)) as other, other.atomic():
            assert of(TEXTS) is not None
        assert count_text_vectors(db, "outdoor") == 0
    assert count_text_vectors(db, "outdoor") == 3, "they are kept when nobody is in the way any more"
    assert len(embedded) == 3


def test_a_read_only_store_does_not_prevent_answers(db: Database, embedded: list[str]) -> None:
    db.execute("PRAGMA query_only = ON")
    assert vectors(db).shape == (4, ENCODER_DIMENSIONS)
    assert len(embedded) == 3


def test_a_reader_in_a_transaction_gets_vectors_and_keeps_its_view(db: Database) -> None:
    with TextVectors(db, "outdoor", refuse) as of:
        with db.snapshot():
            assert of(TEXTS) is not None
        assert count_text_vectors(db, "outdoor") == 0
    assert count_text_vectors(db, "outdoor") == 3


def test_an_interruption_loses_no_finished_batch(
    db: Database, embedded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"tent number {number}" for number in range(600)]
    embed = LocalEmbedder.embed

    def interrupted(self: LocalEmbedder, part: Sequence[str]) -> Vectors:
        if len(embedded) >= 512:
            raise KeyboardInterrupt
        return embed(self, part)

    with monkeypatch.context() as patch:
        patch.setattr(LocalEmbedder, "embed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vectors(db, texts)
    assert count_text_vectors(db, "outdoor") == 512
    embedded.clear()
    assert vectors(db, texts).shape == (600, ENCODER_DIMENSIONS)
    assert len(embedded) == 600 - 512


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_without_the_encoder_there_is_one_warning_and_stored_vectors_are_used(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    sentences: list[str] = []
    kept = vectors(db)
    if how == "damaged":
        (tmp_path / "minilm.gguf").write_bytes(shipped_encoder().read_bytes()[:100_000])
    monkeypatch.setattr("models.embedded.SHIPPED_FOLDER", tmp_path)
    with TextVectors(db, "outdoor", sentences.append) as of:
        assert of(["new"]) is None
        assert of(["new", "newer"]) is None
        found = of(TEXTS)
    assert found is not None
    assert (found == kept).all()
    [sentence] = sentences
    assert f"without what their titles mean: {tmp_path / 'minilm.gguf'}" in sentence
    assert how in sentence


ODD = ["", " \n\t ", "日本語のタイトル", "تخت", "a\x00b", "\x1b[31mred\x07", "\ud800 lone", "w" * 3000, "word " * 2000]


@pytest.mark.parametrize("text", ODD, ids=lambda text: ascii(text)[:20])
def test_any_text_is_stored_and_found_again(db: Database, embedded: list[str], text: str) -> None:
    first = vectors(db, [text])
    embedded.clear()
    assert (vectors(db, [text]) == first).all()
    assert np.isfinite(first).all()
    assert not embedded


def test_an_empty_text_has_no_vector(db: Database) -> None:
    assert vectors(db, []).shape == (0, ENCODER_DIMENSIONS)


def test_control_characters_and_blanks_do_not_change_a_vector(db: Database, embedded: list[str]) -> None:
    one, other = vectors(db, ["red tent", " \x1b[1mred\n\ttent\x00"])
    assert (one == other).all()
    assert embedded == ["red tent"]


def test_many_texts_are_looked_up_together(db: Database) -> None:
    blob = np.eye(1, ENCODER_DIMENSIONS, dtype="<f2").tobytes()
    hashes = [number.to_bytes(16, "big") for number in range(2_500)]
    save_text_vectors(db, "outdoor", ENCODER_SHA256, dict.fromkeys(hashes, blob))
    assert len(kept_text_vectors(db, "outdoor", ENCODER_SHA256, [*hashes, b"x" * 16])) == 2_500


def test_memory_is_limited(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtui.workflows.data.text_vectors._REMEMBERED", 10)
    with TextVectors(db, "outdoor", refuse) as of:
        for first in range(0, 30, 6):
            assert of([f"tent {number}" for number in range(first, first + 6)]) is not None
        assert len(of._known) == 10
