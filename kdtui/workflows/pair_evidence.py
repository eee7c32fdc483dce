"""The pattern student of a dataset: learned once, and kept in the store until its sessions change."""

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from kdtui.bundling.truth import ENOUGH, ENOUGH_VALID, teaches_pairs
from store.datasets import some_sessions
from store.pattern_students import keep_pattern_student, kept_pattern_student
from store.records import Session
from store.sqlite import Database

if TYPE_CHECKING:
    from kdtui.distill.pattern_student import PatternStudent
    from models.clustering import Matrix

_VERSION = 2
"""To be raised when the same sessions teach something else than before."""


def pattern_student(db: Database, dataset: str) -> "PatternStudent":
    """The student that learned from the training and validation sessions of a dataset, no more than it needs.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: the training sessions have no pair that is bundled, or none that is not.
    """
    return _learned(db, dataset, *_learned_from(db, dataset))


def pair_evidence(db: Database, dataset: str) -> "Callable[[Session], Matrix] | None":
    """What tells how likely the pairs of a session are, (products, products); None where nothing can be learned.

    Raises:
        NotFound: there is no such dataset.
    """
    train, valid = _learned_from(db, dataset)
    return _learned(db, dataset, train, valid).pair_probabilities if teaches_pairs(train) else None


def _learned(db: Database, dataset: str, train: list[Session], valid: list[Session]) -> "PatternStudent":
    # Imported here: numpy takes a tenth of a second.
    from kdtui.distill.pattern_student import PatternStudent

    fingerprint = sha256(msgspec.json.encode((_VERSION, train, valid))).hexdigest()
    if (kept := kept_pattern_student(db, dataset, fingerprint)) is not None:
        try:
            return PatternStudent.from_json(kept)
        except ValueError:
            # Damaged, or of another version: it is learned again, and replaced.
            pass
    student = PatternStudent.fit(train, valid)
    keep_pattern_student(db, dataset, fingerprint, student.to_json().decode())
    return student


def _learned_from(db: Database, dataset: str) -> tuple[list[Session], list[Session]]:
    return (
        list(some_sessions(db, dataset, "train", ENOUGH)),
        list(some_sessions(db, dataset, "valid", ENOUGH_VALID)),
    )
