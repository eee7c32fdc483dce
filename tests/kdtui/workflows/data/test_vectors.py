"""Session vectors: computed by a local model or an endpoint, and used to find the nearest sessions."""

import tracemalloc
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import xllamacpp

from kdtui.distill.session_vectors import embed_sessions
from kdtui.errors import KdtuiError
from kdtui.workflows.data.embed import Embedded, embed_dataset, open_embedder
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.data.text_vectors import TextVectors
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.student.nearest import nearest_for
from models.embedded import embedded_student
from models.endpoint.chat_server import Endpoint
from models.endpoint.embedding import RemoteEmbedder
from models.errors import ModelError
from models.llama.embedding import LocalEmbedder
from store.knowledge import sessions_of_piece
from store.records import Item, RunSettings, Session
from store.sessions import get_session, iter_sessions
from store.sqlite import Database
from store.text_vectors import count_text_vectors
from store.vectors import session_ids, session_vector, training_vectors, vector_models
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.tiny import make_model


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A model that embeds the demo data in a second."""
    return str(make_model(tmp_path / "tiny.gguf"))


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def count(db: Database) -> int:
    return len(list(iter_sessions(db, "outdoor")))


def trained_on(db: Database, model: str) -> tuple[list[str], Any]:
    """Return the ids of the training sessions, and their vectors."""
    parts = list(training_vectors(db, "outdoor", model))
    return session_ids(db, [row for rows, _ in parts for row in rows]), np.concatenate([each for _, each in parts])


def embeddings(fake: Fake, change: Callable[[list[Any]], Any] = lambda rows: rows) -> None:
    """Answer as a good server does: a vector of four numbers that depends on the text."""
    rows = [[1.0, len(text) % 7, len(text) % 5, len(text) % 3] for text in fake.body["input"]]
    data = [{"object": "embedding", "index": number, "embedding": row} for number, row in enumerate(rows)]
    fake.send({"object": "list", "model": "m", "data": change(data), "usage": {"prompt_tokens": 1, "total_tokens": 1}})


def test_the_command_gives_every_session_a_vector_of_length_one(kdtui: Kdtui, db: Database, tiny: str) -> None:
    result = kdtui("data", "embed", "--with", tiny)
    assert result.code == 0
    assert f"{count(db)} sessions of dataset outdoor have a vector" in result.err
    assert vector_models(db, "outdoor") == {tiny: count(db)}
    ids, vectors = trained_on(db, tiny)
    assert ids == [session.id for session in iter_sessions(db, "outdoor", split="train")]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_an_interrupted_run_resumes(db: Database, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtui.workflows.data.embed._AT_ONCE", 10)
    with closing(cast("Generator[Embedded]", embed_dataset(db, "outdoor", tiny))) as run:
        next(run)
        next(run)
    assert [event.done for event in embed_dataset(db, "outdoor", tiny)] == [
        *range(10, count(db), 10),
        count(db),
    ]
    assert [event.done for event in embed_dataset(db, "outdoor", tiny)] == [count(db)]
    assert next(iter(embed_dataset(db, "outdoor", tiny, anew=True))).done == 0


def test_the_nearest_sessions_have_the_greatest_centred_cosine(db: Database, tiny: str) -> None:
    list(embed_dataset(db, "outdoor", tiny))
    near = nearest_for(db, "outdoor", RunSettings("smollm2", near=tiny))
    ids, vectors = trained_on(db, tiny)
    for session in [*iter_sessions(db, "outdoor", split="test"), get_session(db, "outdoor", ids[3])]:
        vector = session_vector(db, "outdoor", session.id, tiny)
        assert vector is not None
        centred, target = vectors - vectors.mean(axis=0), vector - vectors.mean(axis=0)
        cosine = centred @ target / np.linalg.norm(centred, axis=1) / np.linalg.norm(target)
        expected = [ids[number] for number in np.argsort(-cosine) if ids[number] != session.id]
        assert near(session, 3) == expected[:3]


def test_the_nearest_of_many_sessions_are_found_in_limited_memory(
    db: Database, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(embed_dataset(db, "outdoor", tiny))
    monkeypatch.setattr("store.vectors._AT_ONCE", 500)
    monkeypatch.setattr("kdtui.workflows.student.nearest._AT_ONCE", 500)
    asked = next(iter(iter_sessions(db, "outdoor", split="test")))
    own = session_vector(db, "outdoor", asked.id, tiny)
    assert own is not None
    many, chance = 20_000, np.random.default_rng(0)
    assert db.conn is not None
    [dataset] = db.execute("SELECT id FROM datasets WHERE name = 'outdoor'").fetchone()
    [first] = db.execute("SELECT max(id) + 1 FROM sessions").fetchone()
    db.conn.executemany(
        "INSERT INTO sessions (id, dataset_id, session, split) VALUES (?, ?, ?, 'train')",
        [(first + number, dataset, f"more {number}") for number in range(many)],
    )
    db.conn.executemany(
        "INSERT INTO session_vectors (session_id, model, vector) VALUES (?, ?, ?)",
        (
            (first + number, tiny, (own if number in (17, 19_017) else chance.normal(size=own.size)).astype("<f4"))
            for number in range(many)
        ),
    )
    db.conn.commit()
    monkeypatch.setattr("kdtui.workflows.student.nearest.is_outdated", lambda *_: False)
    tracemalloc.start()
    try:
        near = nearest_for(db, "outdoor", RunSettings("smollm2", near=tiny))
        assert near(asked, 2) == ["more 17", "more 19017"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < many * own.nbytes / 2


def test_a_pasted_session_is_embedded_even_if_its_id_exists(db: Database, tiny: str) -> None:
    list(embed_dataset(db, "outdoor", tiny))
    near = nearest_for(db, "outdoor", RunSettings("smollm2", near=tiny))
    one, other = list(iter_sessions(db, "outdoor", split="train"))[:2]
    pasted = Session("never stored", tuple(Item(f"new {number}", *_of(item)) for number, item in enumerate(one.items)))
    assert near(pasted, 1) == [one.id]
    assert near(Session(other.id, pasted.items), 1) == [one.id]


def _of(item: Item) -> tuple[str | None, tuple[tuple[str, ...], ...]]:
    return item.title, item.categories


def test_thoughts_of_the_nearest_sessions_by_vectors_are_shown(kdtui: Kdtui, db: Database, tiny: str) -> None:
    list(distill_annotations(db, "outdoor", ["thought"]))
    assert kdtui("data", "embed", "--with", tiny).code == 0
    near = nearest_for(db, "outdoor", RunSettings("smollm2", near=tiny))
    session = next(iter_sessions(db, "outdoor", split="test"))
    [row] = kdtui("knowledge", "for", session.id, "--knowledge", "thought", "--near", tiny, "--json").rows
    [thought] = row["knowledge"]
    assert sessions_of_piece(db, thought) == near(session, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["knowledge", "for", "o34", "--near", "smollm2"], "kdtui data embed --dataset outdoor --with smollm2"),
        (["generate", "o34", "--student", "smollm2", "--near", "smollm2"], "name the formats with --knowledge"),
        (["data", "embed", "--with", "nothing"], "there is no student 'nothing'"),
        (["data", "embed", "--with", "none.gguf"], "none.gguf: No such file or directory"),
        (["data", "embed", "--with", "patterns"], "makes no vectors"),
        (["data", "embed", "--with", "http://me:secret@host/v1#m"], "put the key into OPENAI_API_KEY"),
        (["data", "embed", "--with", "http://127.0.0.1:9/v1#m"], "http://127.0.0.1:9/v1 cannot be reached"),
        (["data", "embed", "--with", "smollm2", "--dataset", "none"], "there is no dataset 'none'"),
    ],
)
def test_an_impossible_request_is_reported(
    kdtui: Kdtui, db: Database, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(distill_annotations(db, "outdoor", ["rule", "thought"]))
    monkeypatch.setattr("models.endpoint.embedding._RETRIES", 0)
    knowledge = ["--knowledge", "thought"] if arguments[0] == "knowledge" else []
    result = kdtui(*arguments, *knowledge)
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err
    assert "secret" not in result.err


def test_a_file_that_is_not_a_model_is_reported(kdtui: Kdtui, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    result = kdtui("data", "embed", "--with", broken)
    assert result.code == 1
    assert f"{broken}: this model cannot be read" in result.err.splitlines()[-1]


def test_an_endpoint_embeds_each_product_once(serve: Serve, kdtui: Kdtui, db: Database) -> None:
    url, fake = serve(lambda fake, _: embeddings(fake))
    assert kdtui("data", "embed", "--with", f"{url}#m").code == 0
    assert vector_models(db, "outdoor") == {f"{url}#m": count(db)}
    for asked in fake.asked:
        assert len(set(asked["input"])) == len(asked["input"])


FAULTS: dict[str, Callable[[Fake, int], None]] = {
    "texts, and returned": lambda fake, _: embeddings(fake, lambda rows: rows[1:]),
    "of equal length": lambda fake, _: embeddings(fake, lambda rows: [{**rows[0], "embedding": [1.0]}, *rows[1:]]),
    "something other than vectors": lambda fake, _: embeddings(
        fake, lambda rows: [{**each, "embedding": []} for each in rows]
    ),
    "other than vectors of": lambda fake, _: embeddings(
        fake, lambda rows: [{**row, "embedding": "ab"} for row in rows]
    ),
    "unknown format": lambda fake, _: fake.send({"vectors": []}),
    "usable answer": lambda fake, _: fake.send(b"<html>"),
    "refuses the key": lambda fake, _: fake.send({"error": {"message": "no"}}, 401),
    "has no model 'm'": lambda fake, _: fake.send({"error": {"message": "no"}}, 404),
    "status 500": lambda fake, _: fake.send({"error": {"message": "no"}}, 500),
    "cannot be reached": lambda fake, _: fake.drop(),
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_faulty_endpoint_is_reported_and_nothing_is_stored(
    serve: Serve, kdtui: Kdtui, db: Database, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.endpoint.embedding._RETRIES", 0)
    url, _ = serve(FAULTS[message])
    result = kdtui("data", "embed", "--with", f"{url}#m")
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert message in result.err
    assert vector_models(db, "outdoor") == {}


def test_vectors_from_before_an_endpoint_failed_are_kept(
    serve: Serve, kdtui: Kdtui, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.endpoint.embedding._RETRIES", 0)
    monkeypatch.setattr("kdtui.workflows.data.embed._AT_ONCE", 10)

    def once(fake: Fake, number: int) -> None:
        if number == 0:
            embeddings(fake)
        else:
            fake.send({"error": {"message": "no"}}, 503)

    url, _ = serve(once)
    assert kdtui("data", "embed", "--with", f"{url}#m").code == 1
    assert vector_models(db, "outdoor") == {f"{url}#m": 10}


def test_vectors_of_different_lengths_are_not_compared(serve: Serve, db: Database) -> None:
    url, _ = serve(lambda fake, _: embeddings(fake))
    list(embed_dataset(db, "outdoor", f"{url}#m"))
    longer, _ = serve(lambda fake, _: embeddings(fake, lambda rows: [{**r, "embedding": [1.0] * 9} for r in rows]))
    db.execute("UPDATE session_vectors SET model = ?", [f"{longer}#m"])
    db.conn.commit()
    near = nearest_for(db, "outdoor", RunSettings("smollm2", near=f"{longer}#m"))
    with pytest.raises(ModelError, match="another length"):
        near(Session("new", (Item("1", "tent"), Item("2", "stove"))), 1)


@pytest.fixture
def embedding_server() -> Iterator[str]:
    """A real llama-server that embeds with the embedded student."""
    params = xllamacpp.CommonParams()
    params.model.path = str(embedded_student())
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.n_parallel = 2
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


def test_a_real_server_and_the_local_model_give_equal_vectors(embedding_server: str) -> None:
    session = Session("s", (Item("1", "Canon camera"), Item("2", "lens for Canon"), Item("3", "a tent for two")))
    with RemoteEmbedder(Endpoint(embedding_server)) as remote, LocalEmbedder(embedded_student()) as local:
        there, here = embed_sessions(remote, [session]), embed_sessions(local, [session])
    assert there.shape == here.shape
    assert float((there * here).sum()) > 0.99


def test_an_empty_text_has_no_vector(db: Database, tiny: str) -> None:
    with open_embedder(db, tiny) as embedder:
        assert embedder.embed([]).shape[0] == 0
        assert embedder.embed([""]).shape[0] == 1


def test_without_a_model_the_shipped_encoder_is_used_and_text_vectors_are_stored(kdtui: Kdtui, db: Database) -> None:
    result = kdtui("data", "embed")
    assert result.code == 0
    assert (
        f"{count(db)} sessions of dataset outdoor have a vector of minilm; {count_text_vectors(db, 'outdoor')} titles"
        in result.err
    )
    assert vector_models(db, "outdoor") == {"minilm": count(db)}
    session = next(iter_sessions(db, "outdoor", split="train"))
    texts = [item.title or "" for item in session.items] + [item.categories[0][-1] for item in session.items]
    before = count_text_vectors(db, "outdoor")
    with TextVectors(db, "outdoor", pytest.fail) as of:
        mean = of.required(texts).mean(axis=0)
    assert count_text_vectors(db, "outdoor") == before > 0
    vector = session_vector(db, "outdoor", session.id, "minilm")
    assert vector is not None
    assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-4)


def test_the_shipped_encoder_finds_the_nearest_sessions_of_a_typed_one(db: Database) -> None:
    list(embed_dataset(db, "outdoor", "minilm"))
    near = nearest_for(db, "outdoor", RunSettings("smollm2", near="minilm"))
    one = next(iter_sessions(db, "outdoor", split="train"))
    pasted = Session("never stored", tuple(Item(f"new {number}", *_of(item)) for number, item in enumerate(one.items)))
    assert near(pasted, 1) == [one.id]


def test_text_vectors_are_computed_again_with_session_vectors(kdtui: Kdtui, db: Database) -> None:
    list(embed_dataset(db, "outdoor", "minilm"))
    before = count_text_vectors(db, "outdoor")
    db.execute("UPDATE text_vectors SET vector = zeroblob(768)")
    db.conn.commit()
    assert kdtui("data", "embed", "--anew").code == 0
    assert count_text_vectors(db, "outdoor") == before
    [zeros] = db.execute("SELECT count(*) FROM text_vectors WHERE vector = zeroblob(768)").fetchone()
    assert zeros == 0


def test_vectors_of_another_encoder_version_are_computed_again(db: Database) -> None:
    list(embed_dataset(db, "outdoor", "minilm"))
    before = count_text_vectors(db, "outdoor")
    db.execute("UPDATE encoders SET sha256 = 'of another version'")
    db.conn.commit()
    with pytest.raises(KdtuiError, match="kdtui data embed --dataset outdoor --with minilm"):
        nearest_for(db, "outdoor", RunSettings("smollm2", near="minilm"))
    assert next(iter(embed_dataset(db, "outdoor", "minilm"))).done == 0
    list(embed_dataset(db, "outdoor", "minilm"))
    assert count_text_vectors(db, "outdoor") == before
    assert nearest_for(db, "outdoor", RunSettings("smollm2", near="minilm"))(get_session(db, "outdoor", "o34"), 1)


def test_a_damaged_encoder_is_reported(kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "minilm.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("models.embedded.SHIPPED_FOLDER", tmp_path)
    result = kdtui("data", "embed")
    assert (result.code, len(result.err.splitlines())) == (1, 1)
    assert "the sentence encoder is damaged; install kdtui again" in result.err
