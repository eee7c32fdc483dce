"""Samples of knowledge: a share of each format of each dataset, drawn by one strategy."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from kdtui.bundling.histogram import Bin, histogram
from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.distill.applicable import estimate_tokens_of
from kdtui.distill.missing_knowledge import explain_missing_knowledge
from kdtui.distill.patterns import Pattern, count_categories
from kdtui.distill.sampling import (
    SampleStrategy,
    by_length,
    farthest_first,
    hardest_first,
    in_random_order,
    longest_first,
    take_from_front,
)
from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.knowledge.distill import training_sessions
from kdtui.workflows.knowledge.sample_summary import BY_HAND
from kdtui.workflows.student.command_options import evaluate_arguments
from store.errors import NotFound
from store.knowledge import (
    count_shares,
    existing_among,
    find_knowledge,
    kept_among,
    known_formats,
    sessions_by_knowledge,
)
from store.predictions import predictions
from store.records import CategoryPath, Format, RunSettings, Session
from store.runs import Run, plain_runs
from store.samples import (
    Draw,
    count_formats,
    count_lengths,
    count_products,
    count_shared,
    count_without_session,
    get_sample,
    pieces_of_sample,
    save_sample,
)
from store.sqlite import Database


def create_sample(
    db: Database,
    name: str,
    datasets: Sequence[str],
    formats: Sequence[Format] | None,
    *,
    strategy: SampleStrategy,
    ratio: float,
    seed: int,
    student: str,
    zero_shot: Mapping[str, Run] | None = None,
    teacher: str | None = None,
    add_to: str | None = None,
    replace: bool = False,
) -> int:
    """Draw a sample from formats of every dataset, store it, and return its number of pieces.

    Args:
        formats: None for all that a dataset has.
        ratio: above 0, at most 1.
        student: whose zero-shot answers say how difficult a session is.
        zero_shot: its run on the training sessions of each dataset; None for the newest one that answers all of them.
        teacher: whose rules and thoughts are drawn; None for those of all teachers. Patterns have no teacher.
        add_to: a sample whose pieces are added.

    Raises:
        NotFound: a dataset or a sample does not exist.
        StoreError: the name is taken.
        KdtuiError: the ratio is invalid, there is no knowledge of a format, or no answers to judge difficulty by.
    """
    if not 0 < ratio <= 1:
        raise KdtuiError(f"a ratio must be above 0 and at most 1, not {ratio:g}")
    draws = list(get_sample(db, add_to).draws) if add_to is not None else []
    chosen = pieces_of_sample(db, add_to) if add_to is not None else []
    for dataset in datasets:
        sessions = training_sessions(db, dataset)
        order = _order(db, dataset, sessions, strategy, seed, student, (zero_shot or {}).get(dataset))
        wanted = known_formats(db, dataset) if formats is None else formats
        if not wanted:
            name_it = f"--dataset {shlex.quote(dataset)}"
            raise KdtuiError(
                f"dataset {dataset!r} has no knowledge to draw from yet; make some with: "
                f"kdtui knowledge mine {name_it}, or kdtui knowledge distill {name_it}"
            )
        for format in wanted:
            candidates = _pieces(db, dataset, sessions, format, None if format == "pattern" else teacher)
            if not candidates:
                raise KdtuiError(explain_missing_knowledge(db, dataset, format, None))
            chosen += take_from_front(order, candidates, ratio)
            draws.append(Draw(dataset, format, strategy, ratio, seed))
    distinct = sorted(set(chosen))
    save_sample(db, name, draws, distinct, replace=replace)
    return len(distinct)


@dataclass(frozen=True, slots=True)
class Picked:
    """A sample that was picked by hand: the number of its pieces, and of rejected pieces that were left out."""

    pieces: int
    left_out: int

    def sentence(self, name: str) -> str:
        """Return the same as a sentence."""
        left_out = ""
        if self.left_out:
            rejected = counted(self.left_out, "rejected piece is", "rejected pieces are")
            left_out = f"; {rejected} left out, since they are never shown to a student (--all includes them)"
        return f"sample {name} has {counted(self.pieces, 'piece')} of knowledge{left_out}"


def pick_sample(
    db: Database,
    name: str,
    pieces: Sequence[int],
    *,
    add_to: str | None = None,
    rejected: bool = False,
    replace: bool = False,
) -> Picked:
    """Store a sample of exactly these pieces. Unknown numbers are left out.

    Args:
        add_to: a sample whose pieces are added.
        rejected: include rejected pieces.

    Raises:
        NotFound: none of the pieces exists, or the other sample does not.
        StoreError: the name is taken.
        KdtuiError: all of them are rejected, and `rejected` is not set.
    """
    draws = list(get_sample(db, add_to).draws) if add_to is not None else []
    already_in = pieces_of_sample(db, add_to) if add_to is not None else []
    existing_pieces = existing_among(db, pieces)
    if not existing_pieces:
        raise NotFound("there is no knowledge of these numbers; kdtui knowledge ls shows the numbers")
    wanted = existing_pieces if rejected else kept_among(db, existing_pieces)
    if not wanted:
        raise KdtuiError(
            f"all of it is rejected ({counted(len(existing_pieces), 'piece')}), and rejected pieces are never shown to "
            "a student; include them with --all"
        )
    draws += [
        Draw(share.dataset, share.format, BY_HAND, share.chosen / share.of, 0) for share in count_shares(db, wanted)
    ]
    save_sample(db, name, draws, sorted({*already_in, *wanted}), replace=replace)
    return Picked(get_sample(db, name).pieces, len(existing_pieces) - len(wanted))


def _order(
    db: Database,
    dataset: str,
    sessions: Sequence[Session],
    strategy: SampleStrategy,
    seed: int,
    student: str,
    zero_shot: Run | None,
) -> list[str]:
    match strategy:
        case "random":
            return in_random_order(sessions, seed)
        case "length":
            return by_length(sessions, seed)
        case "longest":
            return longest_first(sessions, seed)
        case "diversity":
            return farthest_first(sessions, seed)
        case "difficulty":
            command = shlex.join(["kdtui", *evaluate_arguments(dataset, "train", RunSettings(student))])
            run = zero_shot or _zero_shot_run(db, dataset, student)
            return hardest_first(sessions, {} if run is None else _scores(db, run, sessions), command)


def _zero_shot_run(db: Database, dataset: str, student: str) -> Run | None:
    """Return the newest run of a student on all training sessions; without one, the newest on any of them."""
    runs = list(plain_runs(db, dataset, "train", student))
    whole = (run for run in runs if run.settings.limit is None and run.finished_at is not None)
    return next(whole, next(iter(runs), None))


def _scores(db: Database, run: Run, sessions: Sequence[Session]) -> dict[str, float]:
    """Return the pair F1 of the answers of a run, by session."""
    answers = predictions(db, run)
    return {
        session.id: pair_f1(
            true_bundles(session),
            [frozenset(bundle.positions) for bundle in answers[session.id].bundles or ()],
        )
        for session in sessions
        if session.id in answers
    }


def _pieces(
    db: Database, dataset: str, sessions: Sequence[Session], format: Format, teacher: str | None
) -> dict[int, list[str]]:
    """Return the kept pieces of a format, of one teacher or all, with the training sessions that each came from."""
    kept = find_knowledge(db, dataset=dataset, format=format, teacher=teacher)
    if format != "pattern":
        origin = sessions_by_knowledge(db, dataset, format)
        return {piece.id: origin.get(piece.id, []) for piece in kept}
    # A pattern comes from all bundles that it was counted in: too many to store.
    bundles = [
        (number, count_categories([session.items[position - 1] for position in bundle]))
        for number, session in enumerate(sessions)
        for bundle in true_bundles(session)
    ]
    bundles_with: dict[CategoryPath, set[int]] = {}
    for at, (_, counts) in enumerate(bundles):
        for path in counts:
            bundles_with.setdefault(path, set()).add(at)
    sessions_of_piece = {}
    for piece in kept:
        needed = Counter(msgspec.json.decode(piece.content, type=Pattern).categories)
        candidates = set.intersection(*(bundles_with.get(path, set()) for path in needed))
        numbers = {bundles[at][0] for at in candidates if needed <= bundles[at][1]}
        sessions_of_piece[piece.id] = [sessions[number].id for number in sorted(numbers)]
    return sessions_of_piece


@dataclass(frozen=True, slots=True)
class SampleShape:
    """What is in a sample.

    Attributes:
        formats: pieces of each format.
        lengths: pieces by the length of their statements, in tokens, roughly.
        products: the training sessions that the pieces come from, by the number of their products.
        without_session: pieces that name no session that they come from.
    """

    formats: dict[str, int]
    lengths: list[Bin]
    products: list[Bin]
    without_session: int


def sample_shape(db: Database, name: str) -> SampleShape:
    """Describe what is in a sample.

    Raises:
        NotFound: there is no sample of that name.
    """
    tokens: Counter[int] = Counter()
    for characters, count in count_lengths(db, name).items():
        tokens[estimate_tokens_of(characters)] += count
    return SampleShape(
        count_formats(db, name),
        histogram(tokens),
        histogram(count_products(db, name)),
        count_without_session(db, name),
    )


@dataclass(frozen=True, slots=True)
class Overlap:
    """The number of pieces that two samples share, and the number that each has."""

    common: int
    first: int
    second: int

    @property
    def jaccard(self) -> float:
        """The shared pieces, divided by the pieces that either sample has."""
        together = self.first + self.second - self.common
        return self.common / together if together else 0.0


def count_overlap(db: Database, one: str, other: str) -> Overlap:
    """Count the pieces that two samples share.

    Raises:
        NotFound: one of them does not exist.
    """
    return Overlap(count_shared(db, one, other), get_sample(db, one).pieces, get_sample(db, other).pieces)
