"""Vectors for the sessions of a dataset, so that the nearest ones can be found by what their words mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kdtui.distill.session_vectors import vectors_of
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import PATTERNS, check_address, is_endpoint, located_model
from models.chat_server import Endpoint
from models.embedding import Embedder, LocalEmbedder, RemoteEmbedder
from store.datasets import get_session
from store.sqlite import Database
from store.vectors import delete_vectors, save_vectors, sessions_without_vector, vector_models

_AT_ONCE = 64
"""Sessions whose vectors are made, and stored, together."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """So many sessions of the dataset have a vector by now."""

    done: int
    total: int


@contextmanager
def open_embedder(db: Database, model: str) -> Iterator[Embedder]:
    """The embedding model of that name: smollm2, one that kdtui model ls shows, a GGUF file, or URL#MODEL.

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
    with LocalEmbedder(located_model(db, model)) as local:
        yield local


def embed_dataset(db: Database, dataset: str, model: str, *, anew: bool = False) -> Iterator[Embedded]:
    """Make the vectors of all sessions that have none yet; each batch is stored when it is done.

    Args:
        anew: make those again that there are.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: there is no such model.
        ModelError: it fails.
    """
    with open_embedder(db, model) as embedder:
        if anew:
            delete_vectors(db, dataset, model)
        missing = sessions_without_vector(db, dataset, model)
        done = vector_models(db, dataset).get(model, 0)
        total = done + len(missing)
        yield Embedded(done, total)
        for first in range(0, len(missing), _AT_ONCE):
            part = missing[first : first + _AT_ONCE]
            sessions = [get_session(db, dataset, session) for session in part]
            save_vectors(db, dataset, model, zip(part, vectors_of(embedder, sessions), strict=True))
            done += len(part)
            yield Embedded(done, total)
