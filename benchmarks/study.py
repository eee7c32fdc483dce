"""The time to plan a large study, and to report on one.

    python -m benchmarks.study ../shared/data/electronic

The sessions are real ones, drawn at random from the training split. The answers are random bundles, because their
content makes no difference to the time. Nothing is trained.
"""

import resource
import sys
from argparse import ArgumentParser
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.runs.evaluate import split_to_score
from kdtui.workflows.studies.plan import Look, make_plan
from kdtui.workflows.studies.report import write_report
from kdtui.workflows.studies.spec import Question, Spec, checked
from kdtui.workflows.studies.steps import encoded
from store.database import open_database
from store.predictions import PredictedBundle, Prediction, add_predictions
from store.records import RunSettings, Session
from store.runs import finish_run, start_run
from store.sqlite import Database
from store.studies import add_seconds, begin_step, finish_step

_SESSIONS = 180


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = ArgumentParser(description="Planning and reporting of large studies")
    parser.add_argument("data", type=Path, help="a folder in the BundleRec layout")
    parser.add_argument("--cells", type=int, default=1000, help="cells of the report")
    parser.add_argument("--planned", type=int, default=10_000, help="cells to plan")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        db = open_database(Path(folder) / "kdtui.db")
        list(import_dataset(db, options.data, "real"))
        mine_patterns(db, "real")
        began = perf_counter()
        plan = make_plan(db, _spec("large", options.planned))
        print(f"planning {len(plan.cells):,} cells: {perf_counter() - began:.2f} s", flush=True)
        spec = _spec("reported", options.cells)
        _answer(db, spec)
        for name in ("first", "second"):
            began = perf_counter()
            write_report(db, make_plan(db, spec), Path(folder))
            print(
                f"{name} report over {options.cells:,} cells x {_SESSIONS} sessions x 10,000 resamples: "
                f"{perf_counter() - began:.1f} s",
                flush=True,
            )
        db.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    print(f"peak memory {peak:.2f} GB")


def _spec(name: str, cells: int) -> Spec:
    """Return a study with one question and N cells: ranks of adapters, each with and without knowledge."""
    question = Question(
        "How large must an adapter be?",
        "rank",
        1,
        dataset=("real",),
        utilization=("sft", "sft+icl"),
        formats=("pattern",),
        rank=tuple(range(1, cells // 2 + 1)),
    )
    return checked(Spec(name, (question,), split="train", sessions=_SESSIONS), name)


def _answer(db: Database, spec: Spec) -> None:
    """Store an answer of each cell to each session."""
    chance = Random(0)
    sessions = list(split_to_score(db, "real", spec.split, spec.sessions, spec.draw))
    look = Look(db)
    for cell in make_plan(db, spec).cells:
        run = start_run(db, "real", spec.split, "by chance", RunSettings("smollm2", limit=_SESSIONS, seed=spec.draw))
        with db.atomic():
            begin_step(db, cell.key, cell.kind, encoded(cell.step), look.basis(cell.step), str(run.id))
            add_predictions(db, run, [_random_answer(session, chance) for session in sessions])
            add_seconds(db, cell.key, 90.0)
        finish_run(db, run)
        finish_step(db, cell.key, str(run.id))


def _random_answer(session: Session, chance: Random) -> Prediction:
    of = [chance.randrange(3) for _ in session.items]
    parts = [[at for at, part in enumerate(of, 1) if part == wanted] for wanted in range(3)]
    bundles = tuple(
        PredictedBundle(tuple(session.items[at - 1].id for at in part), tuple(part), "shoes for a hike", 0.5)
        for part in parts
        if len(part) > 1
    )
    return Prediction(session.id, bundles, None, 0.5)


if __name__ == "__main__":
    main()
