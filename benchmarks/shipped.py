"""What the shipped student is worth: the numbers of its card, and the files beside it.

DATA is a folder with `electronic` and `clothing` in the BundleRec layout. The adapter was trained by

    kdtui sft launch --name both --dataset electronic --dataset clothing --knowledge pattern --precision bfloat16

and everything that was chosen was chosen on the validation sessions:

    python -m benchmarks.shipped DATA --adapter JOBS/both/adapter --rank 16 --rank 8 --rank 4  # compares ranks
    python -m benchmarks.shipped DATA --adapter JOBS/both/adapter --rank 8 --write  # makes the files
    python -m benchmarks.shipped DATA --write  # calibrates them anew
    python -m benchmarks.shipped DATA  # checks them
    python -m benchmarks.shipped DATA --test  # the test splits
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
from platformdirs import user_cache_path

from kdtui.bundling.metrics import Scores, score
from kdtui.bundling.truth import true_bundles
from kdtui.workflows.calibrate import PairScores, judge_pairs, judge_scores
from kdtui.workflows.evaluate import score_floors
from kdtui.workflows.import_dataset import import_dataset
from kdtui.workflows.mine_patterns import mine_patterns
from kdtui.workflows.students import open_model, open_student
from kdtui.workflows.training_set import open_vocabulary, validation_examples
from models.adapter_rank import reduce_rank
from models.adapters import BASE_CONFIG, CONFIG, MANIFEST, WEIGHTS, convert
from models.answers import Answered
from models.calibration import Calibration, CarriedCalibrations
from models.clustering import Matrix, likely_bundles
from models.embedded import SHIPPED, SHIPPED_FOLDER, embedded_student
from models.fast_base import fast_embedded_student
from models.json_files import read_object
from models.provenance import CALIBRATIONS, about_base
from models.strategies import make_strategy
from models.strategies.base import told
from models.strategies.pairs import Pairs
from store.database import open_database
from store.datasets import iter_sessions
from store.records import RunSettings, Session, TrainingSettings
from store.sqlite import Database

_DATASETS = ("electronic", "clothing")

_LEAST_CONFIDENCE = 0.5
"""What is more likely wrong than right is not said by a student that knows no session of the dataset."""

_Scores: TypeAlias = dict[tuple[str, str], PairScores]
"""By dataset and session."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--adapter", type=Path, default=SHIPPED_FOLDER, help="a folder of PEFT")
    parser.add_argument("--rank", type=int, action="append", help="reduce it to this rank; may be repeated")
    parser.add_argument("--write", action="store_true", help="make the shipped files of it")
    parser.add_argument("--test", action="store_true", help="score the shipped files on the test splits")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        db = open_database(folder / "kdtui.db")
        for dataset in _DATASETS:
            list(import_dataset(db, given.data / dataset, dataset))
            mine_patterns(db, dataset)
        if given.test:
            return _test(db)
        sessions = {dataset: _pairs_of(db, dataset) for dataset in _DATASETS}
        for rank in given.rank or [None]:
            adapter = given.adapter
            if rank is not None:
                adapter = folder / f"rank-{rank}"
                kept = reduce_rank(given.adapter, adapter, rank)
                for beside in (MANIFEST, BASE_CONFIG):
                    (adapter / beside).write_bytes((given.adapter / beside).read_bytes())
                print(f"rank {rank}: {kept:.1%} of the squared norm is kept")
            # Made anew of the other file in any case: that they belong together is a part of what is checked.
            file = folder / f"rank-{rank}.gguf"
            convert(adapter, adapter, file)
            carried, asked, scores = _calibrated(db, file, sessions)
            if not given.write:
                _agreement(db, adapter, asked, scores)
        if given.write:
            _write(adapter, carried)
    return None


def _pairs_of(db: Database, dataset: str) -> list[Session]:
    return [each for each in iter_sessions(db, dataset, split="valid") if len(each.items) > 1]


def _calibrated(
    db: Database, file: Path, sessions: dict[str, list[Session]]
) -> tuple[CarriedCalibrations, Calibration, _Scores]:
    """Calibrate on the validation sessions of both datasets, and print what that gives.

    Returns:
        the calibrations to ship, that of evidence and answers together, and the scores with evidence.
    """
    base = str(fast_embedded_student(user_cache_path("kdtui") / "models"))
    scores: dict[bool, dict[str, list[PairScores]]] = {}
    for has_evidence in (True, False):
        knowledge = ("pattern",) if has_evidence else ()
        settings = RunSettings(base, knowledge, adapters=((str(file), 1.0),))
        scores[has_evidence] = {dataset: _scores(db, dataset, settings, sessions[dataset]) for dataset in _DATASETS}
    judged = {}
    for what, has_evidence, with_scores in (
        ("evidence and answers", True, True),
        ("evidence alone", True, False),
        ("answers alone", False, True),
    ):
        found_scores = scores[has_evidence]
        every = [each for dataset in _DATASETS for each in found_scores[dataset]]
        judged[what] = judge_scores(every, with_scores=with_scores)
        first = 0
        for dataset in _DATASETS:
            count = len(sessions[dataset])
            found = [[frozenset(bundle) for _, bundle in each] for each in judged[what].found[first : first + count]]
            result = score([true_bundles(session) for session in sessions[dataset]], found)
            _print(
                f"validation, {dataset}, {what}", result, f"   pair AUC of answers {_auc(found_scores[dataset]):.3f}"
            )
            first += count
        print(f"calibration error {judged[what].error:.3f}; {judged[what].calibration}", flush=True)
    chosen = judge_pairs([each for dataset in _DATASETS for each in scores[True][dataset]]).calibration
    assert chosen.pairs is not None
    print(f"answers are {'' if chosen.pairs.needs_scores else 'not '}worth asking for where there is evidence")
    carried = CarriedCalibrations(
        chosen, replace(judged["answers alone"].calibration, least_confidence=_LEAST_CONFIDENCE)
    )
    by_session = {
        (dataset, session.id): each
        for dataset in _DATASETS
        for session, each in zip(sessions[dataset], scores[True][dataset], strict=True)
    }
    return carried, judged["evidence and answers"].calibration, by_session


def _scores(db: Database, dataset: str, settings: RunSettings, sessions: Sequence[Session]) -> list[PairScores]:
    """What the quantized student says of the pairs of each session, before calibration."""
    found: dict[str, PairScores] = {}
    with open_model(db, dataset, settings) as opened:
        strategy = make_strategy("pairs")
        assert isinstance(strategy, Pairs)
        tasks = {session.id: opened.task(session) for session in sessions}
        for judged in opened.student.judge_pairs(tasks.values(), strategy):
            key, matrix = cast("tuple[Session, Matrix]", judged)
            found[key.id] = PairScores(true_bundles(key), matrix, told(tasks[key.id]))
    return [found[session.id] for session in sessions]


def _auc(sessions: Sequence[PairScores]) -> float:
    from sklearn.metrics import roc_auc_score

    truth: list[bool] = []
    values: list[float] = []
    for session in sessions:
        for a, b in zip(*np.triu_indices(len(session.scores), 1), strict=True):
            truth.append(any({a + 1, b + 1} <= bundle for bundle in session.truth))
            values.append(session.scores[a, b])
    return float(roc_auc_score(truth, values))


def _agreement(
    db: Database,
    adapter: Path,
    calibration: Calibration,
    quantized: _Scores,
) -> None:
    """On how many validation sessions the student makes the same bundles in full precision and quantized."""
    import torch
    from peft import PeftModel

    from models.chat import ChatTokenizer
    from models.sft.base import load_base
    from models.sft.evaluation import judge
    from models.sft.examples import read_example
    from models.sft.objective import Objective

    base = load_base(str(embedded_student()))
    model = PeftModel.from_pretrained(base.model, adapter).float().eval()
    chat = ChatTokenizer(base.vocabulary)
    full: _Scores = {}
    for dataset in _DATASETS:
        settings = TrainingSettings((dataset,), knowledge=("pattern",))
        lines = validation_examples(db, settings)
        examples = [read_example(line, chat, base.vocabulary, "validation") for line in lines]
        for each in judge(Objective(model), examples, base.vocabulary, 2048, torch.device("cpu")):
            key = (dataset, each.example.session)
            scores = np.zeros_like(quantized[key].scores)
            for (a, b), value in each.scores.items():
                scores[a - 1, b - 1] = scores[b - 1, a - 1] = value
            full[key] = PairScores(quantized[key].truth, scores, quantized[key].evidence)
    assert calibration.pairs is not None
    same = [_bundles(full[key], calibration) == _bundles(quantized[key], calibration) for key in quantized]
    print(f"the same bundles in full precision on {sum(same)} of {len(same)} validation sessions ({np.mean(same):.1%})")


def _bundles(session: PairScores, calibration: Calibration) -> set[tuple[int, ...]]:
    assert calibration.pairs is not None
    found = likely_bundles(session.probabilities(calibration.pairs), calibration.pairs.threshold)
    return {bundle for _, bundle in found}


def _write(adapter: Path, carried: CarriedCalibrations) -> None:
    """Make the shipped files; the card beside them is written by hand."""
    SHIPPED_FOLDER.mkdir(exist_ok=True)
    # Where the base was on the machine that trained, nobody else needs to know.
    base = embedded_student().name
    config = read_object(adapter / CONFIG) | {"base_model_name_or_path": base}
    with open_vocabulary(str(embedded_student())) as vocabulary:
        about = about_base(vocabulary, embedded_student())
    manifest = {**read_object(adapter / MANIFEST), **about, "name": SHIPPED, "base": base}
    manifest[CALIBRATIONS] = asdict(carried)
    base_config = {name: value for name, value in read_object(adapter / BASE_CONFIG).items() if name != "_name_or_path"}
    for name, content in ((CONFIG, config), (MANIFEST, manifest), (BASE_CONFIG, base_config)):
        (SHIPPED_FOLDER / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (SHIPPED_FOLDER / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes())
    convert(SHIPPED_FOLDER, SHIPPED_FOLDER, SHIPPED_FOLDER / f"{SHIPPED}.gguf")


def _test(db: Database) -> None:
    """As a user has it, beside the floors."""
    settings = RunSettings(SHIPPED)
    for dataset in _DATASETS:
        sessions = list(iter_sessions(db, dataset, split="test"))
        for row in score_floors(db, dataset, sessions):
            _print(f"test, {dataset}, {row.name}", row.scores)
        _print(f"test, {dataset}, shipped", _answered(db, dataset, settings, sessions))


def _answered(db: Database, dataset: str, settings: RunSettings, sessions: Sequence[Session]) -> Scores:
    with open_student(db, dataset, settings) as student:
        answers = {
            cast("Session", event.key).id: [frozenset(bundle.positions) for bundle in event.bundles]
            for event in student.answer(sessions)
            if isinstance(event, Answered)
        }
    return score([true_bundles(each) for each in sessions], [answers.get(each.id) for each in sessions])


def _print(name: str, scores: Scores, more: str = "") -> None:
    print(
        f"{name:<50} n {scores.n:3}  P {scores.precision:.3f}  R {scores.recall:.3f}  coverage {scores.coverage:.3f}  "
        f"strict P {scores.strict_precision:.3f}  strict R {scores.strict_recall:.3f}  pair F1 {scores.pair_f1:.3f}  "
        f"exact {scores.exact:.3f}{more}",
        flush=True,
    )


if __name__ == "__main__":
    main()
