"""The meaning of comparisons in words: a phrase for each, and one sentence for a question."""

from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from typing import Literal, TypeAlias

from kdtui.statistics.results import Comparison, Estimate
from kdtui.text import counted, one_line, p_value, short_number

Verdict: TypeAlias = Literal["better", "worse", "higher", "lower", "noise", "same", "unknown"]
"""What a comparison says about the other cell; "higher" and "lower" if neither end of a metric is better."""

_SMALL_IS_BETTER = ("seconds", "tokens", "cost")
_NEITHER_IS_BETTER = ("bundles_per_session",)

_IN_WORDS = {
    "pair_f1": "pair F1",
    "strict_precision": "strict precision",
    "strict_recall": "strict recall",
    "exact": "exact sessions",
}

_NOUNS = {
    "formats": ("format", "formats"),
    "domains": ("choice of domains", "choices of domains"),
    "strategy": ("strategy", "strategies"),
}
"""Singular and plural names of the values of an axis; other axes use their own name."""

_LONGEST_LABEL = 60
_MOST_NAMED = 3
"""Cells that a sentence names with their numbers; the rest is counted."""


def verdict_of(comparison: Comparison) -> Verdict:
    """Return the verdict of a comparison. Differences that are not significant after Holm's correction are noise."""
    if comparison.sessions < 2:
        return "unknown"
    if comparison.difference == comparison.low == comparison.high == 0:
        return "same"
    if not comparison.is_claimed:
        return "noise"
    is_higher = comparison.difference > 0
    if comparison.metric in _NEITHER_IS_BETTER:
        return "higher" if is_higher else "lower"
    return "worse" if is_higher == (comparison.metric in _SMALL_IS_BETTER) else "better"


def estimate_in_words(estimate: Estimate) -> str:
    """Format a value with its interval and the spread of its seeds: .722 [.683, .760], ± .012 between 3 seeds."""
    written = value_in_words(estimate.mean, estimate.low, estimate.high)
    if estimate.seeds > 1:
        written += f", ± {short_number(estimate.between_seeds)} between {estimate.seeds} seeds"
    return written


def value_in_words(mean: float, low: float, high: float) -> str:
    """Format a value with its interval: .722 [.683, .760]; without one if its ends are nan."""
    return short_number(mean) + ("" if isnan(low) else f" {_interval(low, high)}")


def comparison_in_words(comparison: Comparison) -> str:
    """Describe a comparison in a few words with its numbers, such as "noise: +.021 [-.014, .055] (p .31)"."""
    verdict = verdict_of(comparison)
    if verdict == "unknown":
        return "one session is too few to compare" if comparison.sessions else "no session has answers of both"
    if verdict == "same":
        return f"the same in all {comparison.sessions:,} sessions"
    return f"{verdict}: {_numbers(comparison)}"


def answer_in_words(comparisons: Sequence[Comparison], labels: Mapping[str, str], axis: str) -> str:
    """Answer a question in one sentence.

    Args:
        comparisons: all that were corrected together.
        labels: of cells, by their names in the comparisons; a cell without a label is called by its name.
        axis: that is compared, an axis of the grid, such as "formats" or "ratio".
    """
    known = [each for each in comparisons if verdict_of(each) != "unknown"]
    if not known:
        return "Nothing can be compared yet: no cell and its baseline have answers to two of the same sessions."
    writer = _Sentence(known, labels, axis)
    missing = len(comparisons) - len(known)
    yet = f"; {counted(missing, 'comparison has', 'comparisons have')} too few sessions yet" if missing else ""
    return f"{writer.basis}, {writer.findings()}{yet}."


def caveat(comparisons: Sequence[Comparison]) -> str:
    """Say in a sentence what intervals and p values leave out; empty if nothing is left out."""
    if all(verdict_of(each) == "unknown" or min(each.seeds) > 1 for each in comparisons):
        return ""
    return "For cells with one seed, the effect of another seed is unknown, and no interval or p value includes it."


class _Sentence:
    def __init__(self, comparisons: Sequence[Comparison], labels: Mapping[str, str], axis: str) -> None:
        self._comparisons = comparisons
        self._labels = labels
        self._metrics = list(dict.fromkeys(each.metric for each in comparisons))
        baselines = list(dict.fromkeys(each.baseline for each in comparisons))
        self._baseline = self._label(baselines[0]) if len(baselines) == 1 else ""
        # With several metrics, a cell is in several comparisons. With several baselines, cells differ in several axes.
        if len(self._metrics) > 1:
            self._noun = "result", "results"
        else:
            self._noun = _NOUNS.get(axis, (axis, f"{axis}s")) if self._baseline else ("cell", "cells")

    @property
    def basis(self) -> str:
        """The numbers of sessions and seeds that the sentence is based on."""
        basis = f"With {_range([each.sessions for each in self._comparisons], 'session')}"
        seeds = [number for each in self._comparisons for number in each.seeds]
        return basis if max(seeds) == 1 else f"{basis} and {_range(seeds, 'seed')}"

    def findings(self) -> str:
        """Say what is better, what is worse, and what is noise."""
        where = f" in {_listed([_in_words(each) for each in self._metrics])}"
        parts: list[str] = []
        for verdict in ("better", "worse", "higher", "lower"):
            claimed = [each for each in self._comparisons if verdict_of(each) == verdict]
            if claimed:
                parts.append(self._claim(claimed, verdict, where))
                where = ""
        rest = [each for each in self._comparisons if verdict_of(each) in ("noise", "same")]
        if rest:
            parts.append(self._no_claim(rest, where, is_all=not parts))
            parts += [limit] if (limit := _missed(rest)) else []
        return "; ".join(parts)

    def _claim(self, claimed: Sequence[Comparison], verdict: str, where: str) -> str:
        by_size = sorted(claimed, key=lambda each: -abs(each.difference))
        if len(self._comparisons) == 1:
            return f"{self._name(by_size[0])} is {verdict} than {self._baseline}{where}: {_numbers(by_size[0])}"
        named = [f"{self._name(each)} {_numbers(each)}" for each in by_size[:_MOST_NAMED]]
        if len(by_size) > _MOST_NAMED:
            named.append(f"{len(by_size) - _MOST_NAMED:,} more")
        verb = "is" if len(claimed) == 1 else "are"
        than = self._baseline or ("its baseline" if len(claimed) == 1 else "their baselines")
        who = f"{len(claimed):,} of {counted(len(self._comparisons), *self._noun)} {verb}"
        return f"{who} {verdict} than {than}{where}: {_listed(named)}"

    def _no_claim(self, rest: Sequence[Comparison], where: str, *, is_all: bool) -> str:
        largest = max(rest, key=lambda each: abs(each.difference))
        if not is_all:
            who = "the other one does" if len(rest) == 1 else f"the other {len(rest):,} do"
            return f"{who} not differ by more than noise"
        alike = all(verdict_of(each) == "same" for each in rest)
        if len(rest) == 1:
            who = f"{self._name(largest)} does not differ from {self._baseline}"
            return f"{who} in any session{where}" if alike else f"{who} by more than noise{where}: {_numbers(largest)}"
        no_one = f"no {self._noun[0]} differs from {self._baseline or 'its baseline'}"
        if alike:
            return f"{no_one} in any session{where}"
        return (
            f"{no_one} by more than noise{where}; the largest difference, {self._name(largest)}, is {_numbers(largest)}"
        )

    def _name(self, comparison: Comparison) -> str:
        label = self._label(comparison.other)
        if len(self._metrics) == 1:
            return label
        return f"{label} in {_in_words(comparison.metric)}"

    def _label(self, name: str) -> str:
        return one_line(self._labels.get(name, name), _LONGEST_LABEL)


def _in_words(metric: str) -> str:
    return _IN_WORDS.get(metric, metric.replace("_", " "))


def _numbers(comparison: Comparison) -> str:
    return (
        f"{short_number(comparison.difference, signed=True)} {_interval(comparison.low, comparison.high)} "
        f"(p {p_value(comparison.adjusted_p)})"
    )


def _interval(low: float, high: float) -> str:
    return f"[{short_number(low)}, {short_number(high)}]"


def _missed(noise: Sequence[Comparison]) -> str:
    """Say which differences would have been missed."""
    effects = [each.smallest_effect for each in noise if isfinite(each.smallest_effect)]
    if not effects:
        too_few = any(verdict_of(each) == "noise" for each in noise)
        return "with so few sessions no difference could have shown" if too_few else ""
    low, high = short_number(min(effects)), short_number(max(effects))
    if low == high:
        return f"a difference below {low} would often have been missed"
    return f"the smallest difference that would usually have shown is between {low} and {high}, depending on the row"


def _range(numbers: Sequence[int], noun: str) -> str:
    low, high = min(numbers), max(numbers)
    return counted(high, noun) if low == high else f"{low:,} to {counted(high, noun)}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([*([", ".join(parts[:-1])] if parts[:-1] else []), parts[-1]])
