"""Which training sessions are nearest, by the words that they share or by their vectors, and what is known of them."""

from array import array
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, partial
from tempfile import TemporaryFile
from weakref import finalize

import numpy as np

from kdtui.distill.retrieval import Nearest, NearestOfAll, Retriever
from kdtui.errors import KdtuiError
from kdtui.workflows.data.embed import SessionEmbedder, is_outdated, session_embedder
from models.errors import ModelError
from models.unit_vectors import scaled_to_one
from store.nearest_sessions import nearest_sessions, nearest_sessions_of
from store.records import RunSettings, Session
from store.samples import sample_datasets
from store.sessions import get_session
from store.sqlite import Database
from store.vectors import Vectors, session_ids, session_vector, training_vectors, vector_models

_AT_ONCE = 8192
"""Vectors that are centred together: 13 MB of those of the sentence encoder."""


def nearest_for(db: Database, dataset: str, settings: RunSettings) -> Nearest:
    """What finds the nearest training sessions with these settings.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: its training sessions have no vectors of the model that the settings name.
    """
    if settings.near is None:
        return partial(nearest_sessions, db, dataset)
    return _ByVectors(db, dataset, settings.near)


def make_retriever(db: Database, dataset: str, settings: RunSettings, count: Callable[[str], int]) -> Retriever:
    """What finds the knowledge for sessions of a dataset with these settings.

    Args:
        count: tokens of a text.

    Raises:
        NotFound: there is no such dataset, or no such sample.
        KdtuiError: there is no knowledge of a format, or the training sessions lack vectors.
    """
    nearest = nearest_for(db, dataset, settings)
    of_all = _nearest_of_all(db, dataset, settings) if settings.domains == "all" else None
    return Retriever(db, dataset, settings, nearest, count, of_all)


def _nearest_of_all(db: Database, dataset: str, settings: RunSettings) -> NearestOfAll:
    """What finds the nearest training sessions in all datasets that a sample has knowledge of."""
    assert settings.sample is not None
    sources = sample_datasets(db, settings.sample)
    if settings.near is None:
        return partial(nearest_sessions_of, db, dataset, sources)
    finders = {source: _ByVectors(db, source, settings.near) for source in sources}

    def find(session: Session, limit: int) -> list[tuple[str, str]]:
        found = [
            (near, source, id)
            for source, finder in finders.items()
            for near, id in finder.scored(session, limit, without=session.id if source == dataset else None)
        ]
        found.sort(key=lambda each: -each[0])
        return [(source, id) for _, source, id in found[:limit]]

    return find


class _ByVectors:
    """By the cosine of vectors, measured from the mean of the training sessions."""

    def __init__(self, db: Database, dataset: str, model: str) -> None:
        self._db = db
        self._dataset = dataset
        self._model = model
        self._rows = array("q")
        if is_outdated(db, dataset, model) or (found := self._read()) is None:
            known = ", ".join(vector_models(db, dataset)) or "none"
            raise KdtuiError(
                f"dataset {dataset!r} has no vectors of {model!r} (it has: {known}); make them with: "
                f"kdtui data embed --dataset {dataset} --with {model}"
            )
        # Those of a language model all point the same way; how they differ from the mean tells them apart.
        self._vectors, self._mean = found
        for first in range(0, len(self._rows), _AT_ONCE):
            part = self._vectors[first : first + _AT_ONCE]
            part[:] = scaled_to_one(part - self._mean)

    def _read(self) -> tuple[Vectors, Vectors] | None:
        """The vectors, (sessions, dimensions), and their mean; None where there are none.

        They are in a file that is gone when this is: the system holds in memory what there is room for.
        """
        # Closed by what is mapped, which outlives it.
        with TemporaryFile() as file:
            total, dimensions = np.zeros(1, np.float64), 0
            for rows, vectors in training_vectors(self._db, self._dataset, self._model):
                self._rows.extend(rows)
                dimensions = vectors.shape[1]
                total = total + vectors.sum(axis=0, dtype=np.float64)
                file.write(np.ascontiguousarray(vectors, np.float32).data)
            if not dimensions:
                return None
            file.flush()
            mapped = np.memmap(file, np.float32, "r+", shape=(len(self._rows), dimensions))
        return np.asarray(mapped), (total / len(self._rows)).astype(np.float32)

    def __call__(self, session: Session, limit: int) -> list[str]:
        """The ids of the nearest training sessions, the nearest first; the session itself is never one of them.

        Raises:
            ModelError: the session is not stored, and the embedding model fails.
        """
        return [id for _, id in self.scored(session, limit, without=session.id)]

    def scored(self, session: Session, limit: int, *, without: str | None) -> list[tuple[float, str]]:
        """The same with their cosines.

        Args:
            without: the id of a training session that is left out; None for none.

        Raises:
            ModelError: as when it is called.
        """
        vector = self._vector(session)
        if vector.shape != self._mean.shape:
            raise ModelError(
                f"{self._model!r} makes vectors of another length than those that are stored; make them again with: "
                f"kdtui data embed --dataset {self._dataset} --with {self._model} --anew"
            )
        near = self._vectors @ scaled_to_one(vector - self._mean)
        best = (-near).argsort(kind="stable")[: limit + 1]
        ids = session_ids(self._db, [self._rows[number] for number in best])
        found = [(float(near[number]), id) for number, id in zip(best, ids, strict=True)]
        return [each for each in found if each[1] != without][:limit]

    def _vector(self, session: Session) -> Vectors:
        stored = session_vector(self._db, self._dataset, session.id, self._model)
        # A session that somebody pastes may bear the id of another.
        if stored is not None and get_session(self._db, self._dataset, session.id).items == session.items:
            return stored
        vector: Vectors = self._embed([session])[0]
        return vector

    @cached_property
    def _embed(self) -> SessionEmbedder:
        """Loaded for the first session that is not stored, and freed with this."""
        stack = ExitStack()
        finalize(self, stack.close)
        return stack.enter_context(session_embedder(self._db, self._dataset, self._model))
