"""The pattern student of a dataset: the shipped pair model, adapted to the training sessions.

It learns once. The result is stored until the sessions change.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from kdtui.bundling.truth import MOST_LEARNED_SESSIONS
from kdtui.workflows.student.learning import LearningProgress, Tell
from models.embedded import ENCODER_SHA256, shipped_pair_model
from store.pattern_students import cache_pattern_student, cached_pattern_student
from store.records import Session
from store.sessions import draw_sessions
from store.sqlite import Database

if TYPE_CHECKING:
    from kdtui.distill.pair_features import TextReader
    from kdtui.distill.pair_model import PairModel
    from kdtui.distill.pattern_student import PatternStudent

_VERSION = 3
"""Increase this when the same sessions teach something else than before."""

_AT_ONCE = 256
"""Texts that are read between two reports."""


@contextmanager
def open_pattern_student(db: Database | None, dataset: str | None, tell: Tell) -> "Iterator[PatternStudent]":
    """Open the pattern student of a dataset. Use it from one thread.

    Args:
        db: the store; None if no dataset is named.
        dataset: None for sessions of no dataset, of which nothing is learned.
        tell: gets what takes long, or cannot be done.

    Raises:
        NotFound: there is no such dataset.
        ModelError: the shipped pair model is missing or damaged.
    """
    # Imported here: numpy takes a tenth of a second.
    from kdtui.distill.pair_model import read_pair_model
    from kdtui.distill.pattern_student import NOTHING_LEARNED, PatternStudent
    from kdtui.workflows.data.text_vectors import TextVectors

    model = read_pair_model(shipped_pair_model())
    with TextVectors(db, dataset, tell) as reader:
        if db is None or dataset is None:
            yield PatternStudent(model, NOTHING_LEARNED, reader)
        else:
            train = list(draw_sessions(db, dataset, "train", MOST_LEARNED_SESSIONS))
            yield _learned(db, dataset, model, train, reader, tell)


def _learned(
    db: Database,
    dataset: str,
    model: "PairModel",
    train: list[Session],
    reader: "TextReader",
    tell: Tell,
) -> "PatternStudent":
    from kdtui.distill.pattern_student import PatternStudent, learnable_sessions

    def kept(fingerprint: str) -> "PatternStudent | None":
        if (text := cached_pattern_student(db, dataset, fingerprint)) is not None:
            try:
                return PatternStudent.from_json(text, model, reader)
            except ValueError:
                # Damaged, or of another version: learn again, and replace it.
                pass
        return None

    fingerprint = _fingerprint(model, train, ENCODER_SHA256)
    if (student := kept(fingerprint)) is not None:
        return student
    if not _read(learnable_sessions(train), reader, dataset, tell):
        # Without the titles it is another student, which is stored separately.
        fingerprint = _fingerprint(model, train, None)
        if (student := kept(fingerprint)) is not None:
            return student
    student = PatternStudent.learn(model, train, reader)
    cache_pattern_student(db, dataset, fingerprint, student.to_json().decode())
    return student


def _fingerprint(model: "PairModel", train: list[Session], encoder: str | None) -> str:
    return sha256(msgspec.json.encode((_VERSION, model, train, encoder))).hexdigest()


def _read(sessions: Sequence[Session], reader: "TextReader", dataset: str, tell: Tell) -> bool:
    """Read the texts of sessions and report progress. Return whether they can be read."""
    from kdtui.distill.pair_features import texts_to_read

    texts = list(dict.fromkeys(text for session in sessions for text in texts_to_read(session)))
    for first in range(0, len(texts), _AT_ONCE):
        if len(texts) > _AT_ONCE:
            tell(LearningProgress(dataset, len(sessions), first, len(texts)))
        if reader(texts[first : first + _AT_ONCE]) is None:
            return False
    if len(texts) > _AT_ONCE:
        tell(LearningProgress(dataset, len(sessions), len(texts), len(texts)))
    return True
