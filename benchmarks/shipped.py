"""Quality of the bundles of the shipped student: the numbers of its card, and the training of its pair model.

DATA is a folder with `electronic` and `clothing` in the BundleRec layout. All choices were made by
cross-validation on the training sessions:

    python -m benchmarks.shipped DATA --write  # trains the pair model on the training sessions of both
    python -m benchmarks.shipped DATA          # scores on the validation sessions
    python -m benchmarks.shipped DATA --test   # on the test sessions

Intents are measured by `benchmarks.intents`. Each line is printed when it is measured, with the 95 % interval of a
bootstrap over sessions. The titles are read first, which takes some minutes.
"""

import argparse
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import json

from kdtui.bundling.metrics import Scores, score
from kdtui.bundling.truth import true_bundles
from kdtui.distill.pair_features import TextReader, read_text_vectors
from kdtui.distill.pair_model import PairModel, read_pair_model
from kdtui.distill.pair_training import train_pair_model
from kdtui.distill.pattern_student import NOTHING_LEARNED, PatternStudent, pair_labels, without_categories
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.data.text_vectors import TextVectors
from models.embedded import shipped_pair_model
from models.pairs.calibration import expected_calibration_error
from store.database import open_database
from store.records import Session, Split
from store.sessions import iter_sessions
from store.sqlite import Database

_DATASETS = ("electronic", "clothing")

_FEW = 20
"""Number of own training sessions of a new user."""

_DRAWS = 5
"""Number of draws of these sessions."""

_RESAMPLES = 2000

_METRICS = ("pair_f1", "strict_precision", "strict_recall", "set_precision", "set_recall", "gjs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true", help="train the pair model and write its file")
    parser.add_argument("--test", action="store_true", help="score on the test sessions")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = open_database(Path(folder) / "kdtui.db")
        for dataset in _DATASETS:
            list(import_dataset(db, given.data / dataset, dataset))
        train = {dataset: _sessions(db, dataset, "train") for dataset in _DATASETS}
        with TextVectors(None, None, print) as reader:
            if given.write:
                model = _trained(train, reader)
                shipped_pair_model().write_bytes(json.format(json.encode(model), indent=1) + b"\n")
            else:
                _score(db, train, "test" if given.test else "valid", reader)


def _sessions(db: Database, dataset: str, split: Split) -> list[Session]:
    return [each for each in iter_sessions(db, dataset, split=split) if each.bundles and len(each.items) > 1]


def _trained(train: dict[str, list[Session]], reader: TextReader) -> PairModel:
    vectors = read_text_vectors([session for sessions in train.values() for session in sessions], reader)
    assert vectors is not None
    return train_pair_model(train, vectors)


def _score(db: Database, train: dict[str, list[Session]], split: Split, reader: TextReader) -> None:
    shipped = read_pair_model(shipped_pair_model())
    for dataset in _DATASETS:
        [other] = [each for each in _DATASETS if each != dataset]
        sessions = _sessions(db, dataset, split)
        own = train[dataset]
        by_other = _trained({other: train[other]}, reader)
        few = [random.Random(draw).sample(own, _FEW) for draw in range(_DRAWS)]
        titles = [without_categories(session) for session in sessions]
        for name, model, lessons, asked in (
            ("shipped", shipped, [own], sessions),
            ("trained only on the other", by_other, [[]], sessions),
            (f"the same, {_FEW} own sessions", by_other, few, sessions),
            ("the same, all own sessions", by_other, [own], sessions),
            ("trained only on the other, titles only", by_other, [[]], titles),
            ("shipped, no own sessions", shipped, [[]], sessions),
            ("shipped, no own sessions, titles only", shipped, [[]], titles),
        ):
            students = [
                PatternStudent.learn(model, lesson, reader)
                if lesson
                else PatternStudent(model, NOTHING_LEARNED, reader)
                for lesson in lessons
            ]
            _report(f"{split}, {dataset}: {name}", [_Answers(student, asked) for student in students])
        student = PatternStudent.learn(shipped, own, None)
        _report(f"{split}, {dataset}: shipped, without its encoder", [_Answers(student, sessions)])


class _Answers:
    """The bundles of a student for some sessions, with their scores."""

    def __init__(self, student: PatternStudent, sessions: Sequence[Session]) -> None:
        self.truth = [true_bundles(session) for session in sessions]
        written = [list(student.write_bundles(session)) for session in sessions]
        self.bundles = [[frozenset(bundle.positions) for bundle in each] for each in written]
        self.confidences = [[bundle.confidence for bundle in each] for each in written]
        self.labels = [pair_labels(session) for session in sessions]
        matrices = [student.pair_probabilities(session) for session in sessions]
        self.pairs = [matrix[np.triu_indices(len(matrix), 1)] for matrix in matrices]

    def scores(self, chosen: Sequence[int]) -> Scores:
        return score([self.truth[number] for number in chosen], [self.bundles[number] for number in chosen])


def _report(name: str, draws: Sequence[_Answers]) -> None:
    """Print the mean over the draws with its interval over sessions; a session has its values of all draws."""
    from sklearn.metrics import roc_auc_score

    count = len(draws[0].truth)
    every = [answers.scores(range(count)) for answers in draws]
    chance = np.random.default_rng(0)
    resampled = [
        [_means(answers.scores(chosen)) for answers in draws]
        for chosen in chance.integers(0, count, (_RESAMPLES // len(draws), count))
    ]
    low, high = np.percentile(np.array(resampled).mean(axis=1), [2.5, 97.5], axis=0)
    means = np.array([_means(each) for each in every]).mean(axis=0)
    auc = np.mean([roc_auc_score(np.concatenate(each.labels), np.concatenate(each.pairs)) for each in draws])
    error = np.mean([_error(each) for each in draws])
    noise = np.concatenate([_noise(each, chance) for each in draws])
    values = "  ".join(
        f"{metric} {mean:.3f} [{one:.3f}, {other:.3f}]"
        for metric, mean, one, other in zip(_METRICS, means, low, high, strict=True)
    )
    print(
        f"{name}, {count} sessions: AUC {auc:.3f}  {values}  calibration error {error:.3f} "
        f"(of a perfect one {noise.mean():.3f}, in 95 % up to {np.percentile(noise, 95):.3f})",
        flush=True,
    )


def _means(scores: Scores) -> list[float]:
    return [getattr(scores, metric) for metric in _METRICS]


def _error(answers: _Answers) -> float:
    right = [
        any(bundle <= true for true in truth)
        for truth, bundles in zip(answers.truth, answers.bundles, strict=True)
        for bundle in bundles
    ]
    return expected_calibration_error([value for each in answers.confidences for value in each], right)


def _noise(answers: _Answers, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Simulate the calibration error of perfect confidences: each bundle is right with exactly its probability.

    So few bundles cannot distinguish such an error from a perfect calibration.
    """
    confidences = [value for each in answers.confidences for value in each]
    right = chance.random((_RESAMPLES, len(confidences))) < confidences
    return np.array([expected_calibration_error(confidences, list(each)) for each in right])


if __name__ == "__main__":
    main()
