"""Estimate what a training takes: its tokens and steps, and its time and memory by earlier trainings."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from kdtui.errors import KdtuiError
from kdtui.text import counted, duration, one_line
from kdtui.workflows.training.paces import base_name, known_paces, processes_of
from kdtui.workflows.training.plan import TrainingPlan
from models.sft.examples import Example, batches, read_example
from models.sft.job import ANSWER_PASSES, Job, spread
from models.vocabulary import Vocabulary
from store.hosts import Host, get_host
from store.paces import TrainingPace
from store.sqlite import Database

_MOST = 100
"""Examples of each kind that are counted at most. Larger sets are extrapolated from a sample of this size."""

_LATEST = 5
"""The newest trainings of the same kind that an estimate uses."""


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """What a training would take.

    Attributes:
        sessions: training sessions of each epoch.
        valid: validation sessions.
        tokens, learned: tokens of all epochs, and how many of them have a loss.
        steps: of all epochs.
        too_long: sessions that are skipped in each epoch.
        is_counted: whether the numbers are exact, rather than extrapolated from a random sample of the sessions.
        seconds: until the training is done, without the time in which intents are written at its end; None if unknown.
        memory_bytes: peak memory; None if unknown.
        is_least: whether `memory_bytes` counts only the weights of the base.
        by: what time and memory are estimated from, as the end of a sentence.
    """

    sessions: int
    valid: int
    tokens: int
    learned: int
    steps: int
    too_long: int
    is_counted: bool
    seconds: float | None
    memory_bytes: int | None
    is_least: bool
    by: str


@dataclass(frozen=True, slots=True)
class _Work:
    """The tokenized examples in numbers.

    Attributes:
        passes: times that the validation examples are read: for evaluations, and for the answers at the end.
    """

    tokens: int
    learned: int
    steps: int
    too_long: int
    passes: int
    valid_tokens: int


def estimate_training(
    db: Database, plan: TrainingPlan, *, between: Callable[[], object] = lambda: None
) -> TrainingEstimate:
    """Estimate what a training would take. Nothing is written.

    Args:
        between: called repeatedly during the work; it may raise an error to end it.

    Raises:
        NotFound: there is no such dataset, sample or host.
        KdtuiError: there is nothing to train on, or no such base.
        ModelError: the vocabulary of the base cannot be loaded.
    """
    from kdtui.workflows.training.examples import drawn_examples
    from kdtui.workflows.training.tokens import count_tokens, open_vocabulary

    job = plan.to_job(db)
    host = None if plan.host is None else get_host(db, plan.host)
    with open_vocabulary(job.base) as vocabulary:
        drawn = drawn_examples(db, plan.settings, _MOST, partial(count_tokens, vocabulary))
        between()
        train, valid = (_examples(vocabulary, lines, between) for lines in (drawn.train, drawn.valid))
    work = _work(job, train, valid, drawn.sessions, drawn.valid_sessions, processes_of(host))
    if not work.steps:
        raise KdtuiError(
            f"all {counted(drawn.sessions, 'session')} have more than {job.longest:,} tokens; raise --longest"
        )
    pace = _measured_pace(db, plan, job, host)
    seconds = None if pace is None else pace.seconds(work)
    memory, is_least = (pace.memory, False) if pace is not None else (_weights(job), True)
    return TrainingEstimate(
        drawn.sessions,
        drawn.valid_sessions,
        work.tokens,
        work.learned,
        work.steps,
        work.too_long,
        # Knowledge is worded differently in each epoch.
        len(drawn.train) == drawn.sessions and not plan.settings.knowledge,
        seconds,
        memory,
        is_least,
        _no_measurements(plan, job) if pace is None else pace.by,
    )


def training_estimate_in_words(estimate: TrainingEstimate, plan: TrainingPlan) -> list[str]:
    """Describe an estimate in sentences, the work first."""
    about = "" if estimate.is_counted else "about "
    skipped = f"; {counted(estimate.too_long, 'session')} with too many tokens are skipped" if estimate.too_long else ""
    lines = [
        f"{counted(estimate.sessions, 'session')} an epoch, {estimate.valid:,} to validate on; "
        f"{about}{estimate.tokens:,} tokens in {about}{counted(estimate.steps, 'step')}{skipped}"
    ]
    memory = None if estimate.memory_bytes is None else f"{estimate.memory_bytes / 1e9:,.1f} GB"
    if estimate.seconds is None:
        least = "" if memory is None else f"; its weights alone need {memory}"
        return [*lines, f"time and memory {estimate.by}{least}"]
    lines.append(f"about {duration(estimate.seconds)} and {memory} of memory, {estimate.by}")
    if plan.settings.form == "intents" and plan.answers and estimate.valid:
        # Evaluations, by which this time is estimated, only read.
        lines.append("the time that the intents of the validation sessions take to write at the end is not counted")
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if plan.host is None and estimate.memory_bytes is not None and estimate.memory_bytes > machine_bytes:
        lines.append(
            f"this machine has {machine_bytes / 1e9:,.1f} GB; use less memory with fewer --batch-tokens or with "
            "--recompute"
        )
    return lines


@dataclass(frozen=True, slots=True)
class _MeasuredPace:
    """How fast a training probably is, by earlier trainings."""

    paces: Sequence[TrainingPace]
    memory: int
    by: str

    def seconds(self, work: _Work) -> float:
        speed = median(each.tokens_per_second for each in self.paces)
        start = median(each.start_seconds for each in self.paces)
        judging = [each.valid_seconds for each in self.paces if each.valid_seconds is not None]
        # If none of them validated: reading without learning takes half the time of a step.
        valid = median(judging) if judging else 1 / (2 * speed)
        return start + work.tokens / speed + work.passes * work.valid_tokens * valid


def _measured_pace(db: Database, plan: TrainingPlan, job: Job, host: Host | None) -> _MeasuredPace | None:
    """Choose earlier trainings of this base on this machine or host.

    Trainings with the same settings are used if there are any; otherwise those with the most similar settings.
    """
    known = [each for each in known_paces(db) if each.host == plan.host and each.base == base_name(job)]
    wanted = (plan.settings.form, job.precision, job.recompute, processes_of(host), job.batch_tokens)
    same = [each for each in known if _conditions(each) == wanted][:_LATEST]
    where = "on this machine" if host is None else f"on {host.name}"
    if same:
        names = "a training" if len(same) == 1 else f"{len(same)} trainings"
        by = f"as {names} with the same settings took {where} ({one_line(same[0].device, 60)})"
        return _MeasuredPace(same, max(each.peak_memory_bytes for each in same), by)
    if not known:
        return None

    def unlike(pace: TrainingPace) -> tuple[int, float]:
        others = sum(a != b for a, b in zip(_conditions(pace)[:-1], wanted[:-1], strict=True))
        return others, abs(pace.batch_tokens - job.batch_tokens)

    nearest = min(known, key=unlike)
    like = [each for each in known if _conditions(each) == _conditions(nearest)][:_LATEST]
    form, _, recompute, _, batch_tokens = _conditions(nearest)
    settings = [
        f"form {form}",
        f"{batch_tokens:,} tokens a batch",
        *(["--recompute"] if recompute else []),
    ]
    by = f"roughly, from a training of this base {where} with other settings ({', '.join(settings)})"
    return _MeasuredPace(like, max(each.peak_memory_bytes for each in like), by)


def _no_measurements(plan: TrainingPlan, job: Job) -> str:
    where = "on this machine" if plan.host is None else f"on {plan.host}"
    return f"unknown: no training of {base_name(job)} was measured {where}"


def _conditions(pace: TrainingPace) -> tuple[str, str, bool, int, int]:
    """Return what the speed and memory of a training depend on, with the tokens of a batch last."""
    return pace.form, pace.precision, pace.recompute, pace.processes, pace.batch_tokens


def _examples(
    vocabulary: Vocabulary, lines: Sequence[dict[str, object]], between: Callable[[], object]
) -> list[Example]:
    from models.chat import ChatTokenizer

    chat = ChatTokenizer(vocabulary)
    examples = []
    for line in lines:
        between()
        examples.append(read_example(line, chat, vocabulary, f"session {line['session']}"))
    return examples


def _work(
    job: Job, train: Sequence[Example], valid: Sequence[Example], sessions: int, valid_sessions: int, processes: int
) -> _Work:
    usable = [each for each in _stretched(train, sessions) if each.length <= job.longest]
    judged = [each for each in _stretched(valid, valid_sessions) if each.length <= job.longest]
    steps = -(-len(batches(usable, job.batch_tokens)) // (job.optimizer.accumulate * processes))
    evaluations = len(spread(steps, job.evaluations)) * job.epochs
    return _Work(
        sum(each.length for each in usable) * job.epochs,
        sum(each.learned for each in usable) * job.epochs,
        steps * job.epochs,
        sessions - len(usable),
        evaluations + (ANSWER_PASSES if job.answers else 0) if judged and steps else 0,
        sum(each.length for each in judged),
    )


def _stretched(examples: Sequence[Example], count: int) -> list[Example]:
    """Return `count` examples whose lengths are distributed like those of these examples."""
    ordered = sorted(examples, key=lambda each: each.length)
    return [ordered[number * len(ordered) // count] for number in range(count)]


def _weights(job: Job) -> int | None:
    """Return the bytes that the weights of a base take while it is trained; None if the base is not on this machine."""
    base = Path(job.base)
    if base.suffix == ".gguf":
        from models.llama.quantization import model_info

        # The weights are de-quantized.
        return model_info(base).parameters * (2 if job.precision == "bfloat16" else 4)
    return sum(path.stat().st_size for path in base.glob("*.safetensors")) or None
