"""What a training was worth: its answers to the validation sessions against those of what it began from, and against
the floors.

The trainer leaves both answers with the adapter. They are scored here, session by session: lists and pairs by pair F1,
intents by the token F1 of those written for the true bundles, so that nothing but the intents differs.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from kdtui.bundling import floors
from kdtui.bundling.intent_metrics import token_f1
from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.distill.category_intent import category_intent
from kdtui.distill.training_set import bundles_to_name
from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.job_state import JobRow, base_of
from kdtui.workflows.model_names import PATTERNS
from kdtui.workflows.runs.floors import answers_of
from kdtui.workflows.runs.intent_cosine import IntentCosine
from kdtui.workflows.runs.intent_floors import CATEGORY, NEAREST, nearest_intents
from kdtui.workflows.student.open import open_student
from models.embedded import SHIPPED
from models.errors import ModelError
from models.sft.job_files import ADAPTER, ANSWERS
from store.default_adapters import default_adapters, set_default_adapter
from store.errors import NotFound, StoreError
from store.jobs import get_job, remember_outcome
from store.records import RunSettings, Session
from store.sessions import get_session
from store.sqlite import Database

Verdict: TypeAlias = Literal["helped", "made it worse", "no difference", "too few sessions"]

MEASURES = {"pair_f1": "pair F1", "intent_f1": "token F1 of intents"}
"""What the measures are called."""

WIDE = 30
"""Sessions below which an interval is so wide that it is said."""

_LEAST = 6
"""Sessions: of fewer, all may agree by chance once in twenty times."""

_THRESHOLDS = tuple(number / 50 for number in range(5, 48))
"""Probabilities from which on two products count as a pair."""

Values: TypeAlias = list[float]
"""Of a measure, one for each session."""

_LEVEL = 0.05
"""Of claims."""


class Against(msgspec.Struct, frozen=True):
    """The adapter compared with something else, over the same sessions.

    Attributes:
        name: of the other.
        value: the mean of the other over the sessions.
        difference: of the means, the adapter less the other.
        low, high: its 95 % interval over the sessions; None where there are too few.
        p: of a test that flips the signs of the differences of sessions.
    """

    name: str
    value: float
    difference: float
    low: float | None
    high: float | None
    p: float

    @property
    def is_better(self) -> bool:
        """Whether the adapter is better than chance explains."""
        return self.low is not None and self.low > 0 and self.p <= _LEVEL

    @property
    def is_worse(self) -> bool:
        """Whether the adapter is worse than chance explains."""
        return self.high is not None and self.high < 0 and self.p <= _LEVEL

    @property
    def in_words(self) -> str:
        """The numbers."""
        if self.low is None or self.high is None:
            return f"{self.difference:+.3f}"
        return f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


class Outcome(msgspec.Struct, frozen=True):
    """What a training was worth.

    Attributes:
        measure: a key of `MEASURES`.
        sessions: validation sessions that were answered.
        value: the mean of the adapter over them, 0..1.
        source: against what it began from: an adapter, or the base alone.
        floors: against these, the best first.
        of_datasets: the difference to the source in each dataset.
        default_for: datasets that it has become the default of.
        kept_default: what stays the default of its other datasets, by dataset.
    """

    measure: str
    sessions: int
    value: float
    source: Against
    floors: tuple[Against, ...]
    of_datasets: dict[str, float]
    default_for: tuple[str, ...] = ()
    kept_default: dict[str, str] = {}

    @property
    def verdict(self) -> Verdict:
        """Whether the training helped, as far as these sessions can show."""
        if self.source.is_better:
            return "helped"
        if self.source.is_worse:
            return "made it worse"
        return "no difference" if self.sessions >= _LEAST else "too few sessions"

    @property
    def in_words(self) -> list[str]:
        """The same as sentences."""
        measure, source = MEASURES[self.measure], self.source
        on = counted(self.sessions, "validation session")
        numbers = f"{measure} {self.value:.3f}, {source.name} {source.value:.3f}: {source.in_words}"
        wide = "; the interval is wide with so few" if 1 < self.sessions < WIDE else ""
        match self.verdict:
            case "helped":
                first = f"the training helped on {on}: {numbers}{wide}"
            case "made it worse":
                first = f"the training made it worse on {on}: {numbers}{wide}"
            case "no difference":
                first = f"no difference that {on} can show: {numbers}{wide}"
            case _:
                first = f"{on} cannot show whether the training helped, and {_LEAST} or more can: {numbers}"
        lines = [first]
        if self.floors:
            best = self.floors[0]
            than = "above" if best.is_better else "below" if best.is_worse else "not clearly above or below"
            lines.append(f"it is {than} the best floor ({best.name}, {best.value:.3f}): {best.in_words}")
        if self.default_for:
            names = ", ".join(self.default_for)
            lines.append(f"it became the default adapter of {names}")
        lines += [f"{kept} stays the default of {dataset}" for dataset, kept in self.kept_default.items()]
        return lines


def known_outcome(row: JobRow) -> Outcome | None:
    """What a training was worth, if that was found out before."""
    if row.job.outcome is None:
        return None
    try:
        return msgspec.json.decode(row.job.outcome, type=Outcome)
    except msgspec.MsgspecError:
        # Another version, or somebody, has written it.
        return None


def conclude(db: Database, row: JobRow) -> Outcome | None:
    """Find out what a training was worth that is done, and keep that. Where it helped, its adapter becomes the default
    of the datasets that it helped on.

    Returns:
        None where it is not done, its adapter is not here, or it had nothing to be validated on.

    Raises:
        NotFound: the training was deleted meanwhile.
    """
    if (known := known_outcome(row)) is not None:
        return known
    answers = row.job.folder / ADAPTER / ANSWERS
    if row.status.state != "done" or not answers.is_file():
        return None
    judged = _judged(db, row, answers)
    if not judged:
        return None
    outcome = _compared(db, row, judged)
    better, kept = _defaults(db, row, judged, outcome)
    outcome = msgspec.structs.replace(outcome, default_for=tuple(better), kept_default=kept)
    if remember_outcome(db, row.job.name, msgspec.json.encode(outcome).decode()):
        for dataset in better:
            set_default_adapter(db, dataset, row.job.name)
        return outcome
    return known_outcome(JobRow(get_job(db, row.job.name), row.status))


@dataclass(frozen=True, slots=True)
class _Judged:
    """A validation session, with the measure of both answers."""

    dataset: str
    session: Session
    before: float
    after: float


def _judged(db: Database, row: JobRow, answers: Path) -> list[_Judged]:
    """The sessions that are here still, as they were answered; those of a dataset together."""
    found: list[tuple[str, Session, dict[str, Any], dict[str, Any]]] = []
    datasets = row.job.settings.datasets
    for line in _lines(answers):
        dataset = line.get("dataset") or (datasets[0] if len(datasets) == 1 else "")
        try:
            found.append((dataset, get_session(db, dataset, line["session"]), line["before"], line["after"]))
        except NotFound:
            # It was deleted, or imported anew as another one.
            continue
    order = list(dict.fromkeys(dataset for dataset, *_ in found))
    found.sort(key=lambda each: order.index(each[0]))
    if row.job.settings.form == "intents":
        return [
            _Judged(dataset, session, old, new)
            for dataset, session, before, after in found
            if (old := _intent_f1(session, before)) is not None and (new := _intent_f1(session, after)) is not None
        ]
    sessions = [session for _, session, _, _ in found]
    befores = _pair_f1(sessions, [before for _, _, before, _ in found])
    afters = _pair_f1(sessions, [after for _, _, _, after in found])
    return [
        _Judged(dataset, session, one, other)
        for (dataset, session, _, _), one, other in zip(found, befores, afters, strict=True)
        if isfinite(one) and isfinite(other)
    ]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """What the trainer has left; what is no answer is left out, for files are edited and cut."""
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if not isinstance(line, dict) or not isinstance(line.get("session"), str):
            continue
        if isinstance(line.get("before"), dict) and isinstance(line.get("after"), dict):
            yield line


def _intent_f1(session: Session, answer: Mapping[str, Any]) -> float | None:
    """The mean over the true bundles of a session; None where there are other answers than bundles."""
    bundles = bundles_to_name(session)
    written = answer.get("written")
    if not isinstance(written, list) or not bundles or len(written) != len(bundles):
        return None
    return _mean_f1(
        session, {frozenset(each.positions): str(text) for each, text in zip(bundles, written, strict=True)}
    )


def _mean_f1(session: Session, intents: Mapping[frozenset[int], str]) -> float:
    """Of intents for bundles, the mean token F1 to the intent of people that each comes closest to."""
    total = 0.0
    for positions, text in intents.items():
        wanted = [each.intent for each in session.bundles if frozenset(each.positions) == positions]
        total += max(token_f1(intent, text) for intent in wanted)
    return total / len(intents)


def _pair_f1(sessions: Sequence[Session], answers: Sequence[Mapping[str, Any]]) -> Values:
    """Of each session; nan where its answer is none.

    Pairs count from a threshold on, and that of a session is the one that is best for all others: chosen for itself, it
    would flatter.
    """
    truths = [true_bundles(session) for session in sessions]
    values: Values = []
    for truth, answer in zip(truths, answers, strict=True):
        listed = answer.get("bundles")
        values.append(
            pair_f1(truth, [frozenset(each) for each in listed]) if isinstance(listed, list) else float("nan")
        )
    asked = [at for at, answer in enumerate(answers) if isinstance(answer.get("pairs"), list)]
    if asked:
        # Imported here: a tenth of a second.
        import numpy as np

        least = np.log(np.array(_THRESHOLDS) / (1 - np.array(_THRESHOLDS)))
        table = np.array(
            [
                [
                    pair_f1(truths[at], [frozenset((a, b)) for a, b, score in answers[at]["pairs"] if score >= bound])
                    for bound in least.tolist()
                ]
                for at in asked
            ]
        )
        others = table.sum(axis=0) - table
        for row, at in enumerate(asked):
            values[at] = float(table[row, int(others[row].argmax())])
    return values


def _compared(db: Database, row: JobRow, judged: Sequence[_Judged]) -> Outcome:
    measure = "intent_f1" if row.job.settings.form == "intents" else "pair_f1"
    after = [each.after for each in judged]
    before = {_source_name(row): [each.before for each in judged]}
    others = before | _floors(db, row, judged)
    source, *rest = _against(after, others)
    datasets = {each.dataset: 0.0 for each in judged}
    for name in datasets:
        gains = [each.after - each.before for each in judged if each.dataset == name]
        datasets[name] = sum(gains) / len(gains)
    floors_by_value = sorted(rest, key=lambda each: -each.value)
    return Outcome(measure, len(judged), sum(after) / len(after), source, tuple(floors_by_value), datasets)


def _source_name(row: JobRow) -> str:
    """What the training began from."""
    began_from = row.job.settings.began_from
    if began_from is not None:
        return began_from
    try:
        base = base_of(row.job)
    except ModelError:
        base = None
    return "the untrained base" if base is None else f"{Path(base).name} untrained"


def _against(after: Values, others: Mapping[str, Values]) -> list[Against]:
    # Imported here: scipy takes a third of a second.
    from kdtui.statistics.estimates import CellPair, compare_cells
    from kdtui.statistics.sessions import Cell

    found = []
    for name, values in others.items():
        # Each is a question of its own.
        [each] = compare_cells([CellPair(name, "the adapter", "difference", Cell.of(values), Cell.of(after))])
        low, high = (each.low, each.high) if isfinite(each.low) and isfinite(each.high) else (None, None)
        found.append(Against(name, sum(values) / len(values), each.difference, low, high, each.p))
    return found


def _floors(db: Database, row: JobRow, judged: Sequence[_Judged]) -> dict[str, Values]:
    """The same measure of what needs no language model; one that is not there for all sessions is left out."""
    found: dict[str, Values] = {}
    for dataset in dict.fromkeys(each.dataset for each in judged):
        sessions = [each.session for each in judged if each.dataset == dataset]
        of = _intent_floors if row.job.settings.form == "intents" else _pair_floors
        for name, values in of(db, dataset, sessions).items():
            found.setdefault(name, []).extend(values)
    return {name: values for name, values in found.items() if len(values) == len(judged)}


def _pair_floors(db: Database, dataset: str, sessions: Sequence[Session]) -> dict[str, Values]:
    found: dict[str, Values] = {name: [] for name in floors.NAMES}
    for session in sessions:
        for name, bundles in zip(floors.NAMES, floors.floors_of(session), strict=True):
            found[name].append(pair_f1(true_bundles(session), bundles))
    if (learned := _pattern_student(db, dataset, sessions)) is not None:
        found[PATTERNS] = learned
    return found


def _pattern_student(db: Database, dataset: str, sessions: Sequence[Session]) -> Values | None:
    try:
        with open_student(db, dataset, RunSettings(PATTERNS)) as student:
            answers = {session.id: bundles or () for session, bundles in answers_of(student, sessions)}
    except (KdtuiError, ModelError):
        return None
    return [
        pair_f1(true_bundles(session), [frozenset(each.positions) for each in answers[session.id]])
        for session in sessions
    ]


def _intent_floors(db: Database, dataset: str, sessions: Sequence[Session]) -> dict[str, Values]:
    namers: dict[str, Callable[[Sequence[Any]], list[str]]] = {
        CATEGORY: lambda bundles: [category_intent(items) for items in bundles]
    }
    with IntentCosine(db, dataset, len(sessions)) as cosine:
        try:
            if (nearest := nearest_intents(db, dataset, cosine)) is not None:
                namers[NEAREST] = nearest.of
        except StoreError:
            # The dataset was deleted meanwhile.
            pass
        found: dict[str, Values] = {}
        for name, of in namers.items():
            found[name] = []
            for session in sessions:
                places = list(dict.fromkeys(frozenset(each.positions) for each in bundles_to_name(session)))
                items = [[session.items[at - 1] for at in sorted(each)] for each in places]
                found[name].append(_mean_f1(session, dict(zip(places, of(items), strict=True))))
    return found


def _defaults(
    db: Database, row: JobRow, judged: Sequence[_Judged], outcome: Outcome
) -> tuple[list[str], dict[str, str]]:
    """The datasets that the adapter is to be the default of, and what stays the default of the others."""
    there = default_adapters(db)
    better, kept = [], {}
    for dataset, gain in outcome.of_datasets.items():
        present = there.get(dataset, SHIPPED)
        rival = _against_present(db, row, present, judged, outcome)
        if rival is not None and rival.is_better and gain >= 0:
            better.append(dataset)
        else:
            kept[dataset] = present
    return better, kept


def _against_present(
    db: Database, row: JobRow, present: str, judged: Sequence[_Judged], outcome: Outcome
) -> Against | None:
    """The adapter against what is the default now, over the same sessions; None where that is not known."""
    settings = row.job.settings
    if present == (settings.began_from or ""):
        return outcome.source
    if present == SHIPPED:
        # Its bundles are those of the pattern student; its intents are measured by trainings that begin from it.
        named = [each for each in outcome.floors if each.name == PATTERNS]
        return named[0] if settings.form != "intents" and named else None
    try:
        other = get_job(db, present)
    except NotFound:
        return None
    answers = other.folder / ADAPTER / ANSWERS
    if (other.settings.form == "intents") != (settings.form == "intents") or not answers.is_file():
        return None
    values = {(each.dataset, each.session.id): each.after for each in _judged(db, JobRow(other, row.status), answers)}
    if any((each.dataset, each.session.id) not in values for each in judged):
        return None
    wanted = [values[each.dataset, each.session.id] for each in judged]
    return _against([each.after for each in judged], {present: wanted})[0]
