"""Vectors for the sessions of a dataset, so that the nearest ones can be found by what their words mean."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from kdtui.distill.session_vectors import embed_sessions, mean_text_vectors
from kdtui.errors import KdtuiError
from kdtui.workflows.data.text_vectors import TextVectors
from kdtui.workflows.model_names import PATTERNS, check_address, is_endpoint, located_model
from models.embedded import ENCODER, ENCODER_SHA256
from models.endpoint.chat_server import Endpoint
from models.endpoint.embedding import RemoteEmbedder
from models.llama.embedding import Embedder, LocalEmbedder, shipped_embedder
from models.unit_vectors import Vectors
from store.records import Session
from store.sessions import get_session
from store.sqlite import Database
from store.text_vectors import delete_text_vectors, has_text_vectors
from store.vectors import delete_vectors, save_vectors, sessions_without_vector, vector_models

SessionEmbedder: TypeAlias = Callable[[Sequence[Session]], Vectors]
"""Makes the vectors of sessions, (sessions, dimensions), each of length one."""

_AT_ONCE = 64
"""Sessions whose vectors are made, and stored, together."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """So many sessions of the dataset have a vector by now."""

    done: int
    total: int


@contextmanager
def open_embedder(db: Database, model: str) -> Iterator[Embedder]:
    """The embedding model of that name: minilm, smollm2, one that kdtui model ls shows, a GGUF file, or URL#MODEL.

    Raises:
        KdtuiError: there is no such model.
        ModelError: it cannot be loaded or reached.
    """
    if model == PATTERNS:
        raise KdtuiError("the pattern student is no language model, and makes no vectors")
    if is_endpoint(model):
        check_address(model)
        url, _, name = model.partition("#")
        with RemoteEmbedder(Endpoint(url, name or None)) as remote:
            yield remote
        return
    with shipped_embedder() if model == ENCODER else LocalEmbedder(located_model(db, model)) as local:
        yield local


@contextmanager
def session_embedder(db: Database, dataset: str, model: str, *, wait: bool = False) -> Iterator[SessionEmbedder]:
    """What makes the vectors of sessions by that model.

    Those of the shipped encoder are means of vectors of texts, which the store keeps for whoever compares products.

    Args:
        wait: for other writers, to keep the vectors of texts.

    Raises:
        KdtuiError: there is no such model.
        ModelError: it cannot be loaded or reached.
    """
    if model == ENCODER:
        with TextVectors(db, dataset, lambda _: None, wait=wait) as texts:
            yield partial(mean_text_vectors, texts.required)
        return
    with open_embedder(db, model) as embedder:
        yield partial(embed_sessions, embedder)


def is_outdated(db: Database, dataset: str, model: str) -> bool:
    """Whether the vectors of sessions that are kept under this name are those of the encoder of another version.

    Raises:
        NotFound: there is no such dataset.
    """
    # Those of sessions are means of those of texts, which are kept before them.
    return model == ENCODER and not has_text_vectors(db, dataset, ENCODER_SHA256)


def embed_dataset(db: Database, dataset: str, model: str, *, anew: bool = False) -> Iterator[Embedded]:
    """Make the vectors of all sessions that have none yet; each batch is stored when it is done.

    Those that the shipped encoder made in another version of the program are made again.

    Args:
        anew: make those again that there are.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: there is no such model.
        ModelError: it fails.
    """
    with session_embedder(db, dataset, model, wait=True) as embed:
        if anew or is_outdated(db, dataset, model):
            delete_vectors(db, dataset, model)
            if model == ENCODER:
                delete_text_vectors(db, dataset)
        missing = sessions_without_vector(db, dataset, model)
        done = vector_models(db, dataset).get(model, 0)
        total = done + len(missing)
        yield Embedded(done, total)
        for first in range(0, len(missing), _AT_ONCE):
            part = missing[first : first + _AT_ONCE]
            sessions = [get_session(db, dataset, session) for session in part]
            save_vectors(db, dataset, model, zip(part, embed(sessions), strict=True))
            done += len(part)
            yield Embedded(done, total)
