"""What a training was worth, in numbers and in words."""

from typing import Literal, TypeAlias

import msgspec

from kdtui.text import counted
from kdtui.workflows.job_state import Training

Verdict: TypeAlias = Literal["helped", "made it worse", "no difference", "too few sessions"]


MEASURES = {"pair_f1": "pair F1", "intent_f1": "token F1 of intents", "loss": "validation loss"}
"""Names of the measures for users."""


WIDE = 30
"""Below this number of sessions, the message says that the interval is wide."""


_LEAST = 6
"""Minimum number of sessions: with fewer, the chance that all of them agree is above one in twenty."""


_LEVEL = 0.05
"""Significance level of claims."""


class MeasuredAgainst(msgspec.Struct, frozen=True):
    """The adapter compared with something else over the same sessions.

    Attributes:
        name: of the other.
        value: the mean of the other over the sessions.
        difference: the mean of the adapter minus that of the other.
        low, high: 95 % confidence interval of the difference over the sessions; None with too few sessions.
        p: of a test that flips the signs of the differences of sessions.
        is_loss: whether smaller values are better.
    """

    name: str
    value: float
    difference: float
    low: float | None
    high: float | None
    p: float
    is_loss: bool = False

    @property
    def is_better(self) -> bool:
        """Whether the adapter is better than chance explains."""
        return self._is_below if self.is_loss else self._is_above

    @property
    def is_worse(self) -> bool:
        """Whether the adapter is worse than chance explains."""
        return self._is_above if self.is_loss else self._is_below

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than chance explains."""
        return self._is_above or self._is_below

    @property
    def _is_above(self) -> bool:
        return self.low is not None and self.low > 0 and self.p <= _LEVEL

    @property
    def _is_below(self) -> bool:
        return self.high is not None and self.high < 0 and self.p <= _LEVEL

    @property
    def in_words(self) -> str:
        """The difference and its interval."""
        if self.low is None or self.high is None:
            return f"{self.difference:+.3f}"
        return f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


class Outcome(msgspec.Struct, frozen=True):
    """What a training was worth.

    Attributes:
        measure: of the answers, a key of `MEASURES`.
        sessions: validation sessions that were answered.
        value: the mean of the adapter over them, 0..1.
        source: compared with what the training began from: an adapter, or the base without one.
        floors: compared with the floors, the best floor first.
        of_datasets: the difference to the source in each dataset.
        default_for: datasets that the adapter became the default of.
        kept_default: the unchanged default of its other datasets, by dataset.
        loss: the loss of the true answers in nats per token, compared with that of the adapter that the training began
            from. It varies far less between sessions than the measure of the answers, so a few sessions can show a
            difference. None if the source was trained for answers of another form, with other knowledge, or not at all:
            such a loss falls with the form of an answer, before a training has taught anything about bundles. None also
            for answers about pairs, whose loss is mostly that of the intents.
    """

    measure: str
    sessions: int
    value: float
    source: MeasuredAgainst
    floors: tuple[MeasuredAgainst, ...]
    of_datasets: dict[str, float]
    default_for: tuple[str, ...] = ()
    kept_default: dict[str, str] = {}
    loss: MeasuredAgainst | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the training helped, as far as these sessions can show.

        The measure of the answers decides. Where it shows no difference, the loss decides.
        """
        if self.deciding.is_better:
            return "helped"
        if self.deciding.is_worse:
            return "made it worse"
        return "no difference" if self.sessions >= _LEAST else "too few sessions"

    @property
    def deciding(self) -> MeasuredAgainst:
        """The comparison with the source that the verdict is from."""
        return self.loss if self.loss is not None and self.loss.is_clear and not self.source.is_clear else self.source

    @property
    def in_words(self) -> list[str]:
        """The outcome in sentences."""
        sessions = counted(self.sessions, "validation session")
        first, *second = self._comparisons
        match self.verdict:
            case "helped":
                lines = [f"the training helped on {sessions}: {first}"]
            case "made it worse":
                lines = [f"the training made it worse on {sessions}: {first}"]
            case "no difference":
                lines = [f"no difference that {sessions} can show: {first}"]
            case _:
                lines = [f"{sessions} cannot show whether the training helped, and {_LEAST} or more can: {first}"]
        lines += second
        if self.floors:
            best = self.floors[0]
            than = "above" if best.is_better else "below" if best.is_worse else "not clearly above or below"
            lines.append(f"it is {than} the best floor ({best.name}, {best.value:.3f}): {best.in_words}")
        if self.default_for:
            names = ", ".join(self.default_for)
            lines.append(f"it became the default adapter of {names}")
        lines += [f"{kept} stays the default of {dataset}" for dataset, kept in self.kept_default.items()]
        return lines

    @property
    def _comparisons(self) -> list[str]:
        """The comparisons with the source, the deciding one first."""
        source, loss = self.source, self.loss
        wide = "; the interval is wide with so few" if 1 < self.sessions < WIDE else ""
        answers = (
            f"{MEASURES[self.measure]} {self.value:.3f}, {source.name} {source.value:.3f}: {source.in_words}{wide}"
        )
        if loss is None:
            return [answers]
        after = loss.value + loss.difference
        losses = f"{MEASURES['loss']} {after:.3f}, {loss.name} {loss.value:.3f}: {loss.in_words}"
        if self.deciding is loss:
            return [losses, f"they show no difference of the answers: {answers}"]
        return [answers, losses]


def outcome_problem(error: Exception) -> str:
    """Say that it cannot be computed what a training was worth, and why."""
    return f"whether the training helped cannot be computed: {error}"


def known_outcome(training: Training) -> Outcome | None:
    """Return the stored outcome of a training; None if there is none."""
    if training.job.outcome is None:
        return None
    try:
        return msgspec.json.decode(training.job.outcome, type=Outcome)
    except msgspec.MsgspecError:
        # Another version wrote it, or somebody edited it.
        return None
