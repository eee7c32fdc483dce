"""The statistics of a large study: all metrics of 1,000 cells over 180 sessions, with 10,000 draws.

    python -m benchmarks.statistics [--cells 1000] [--sessions 180] [--resamples 10000] [--questions 1 50]

Twelve metrics have an estimate for each cell: six over every session, five that leave sessions out, and coverage, whose
sessions are weighted by their hits. Four metrics over every session are also compared: all cells with the first one, as
one question and as fifty. Half of the cells are better than the first, so that many p values need many digits. The
output is the seconds of each step, the processor seconds, and the peak memory.
"""

import argparse
from time import perf_counter, process_time

import numpy as np

from benchmarks.measure import peak_memory_mb
from kdtui.statistics.estimates import CellPair, compare_cells, estimate_cells
from kdtui.statistics.sessions import CellValues, Matrix, Resampling

_OVER_EVERY_SESSION = ("pair_f1", "strict_precision", "strict_recall", "exact", "bundles_per_session", "valid")
_COMPARED = _OVER_EVERY_SESSION[:4]
_ANSWERED = ("precision", "recall", "set_precision", "set_recall", "gjs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000)
    parser.add_argument("--sessions", type=int, default=180)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--questions", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = np.random.default_rng(given.seed)
    resampling = Resampling(given.resamples, given.seed)
    shape = given.cells, given.sessions
    answered = (chance.random(shape) < 0.9).astype(np.float64)
    hits = chance.integers(0, 4, shape) * answered
    cells = {name: _cells(_values(chance, shape), np.ones(shape)) for name in _OVER_EVERY_SESSION}
    cells |= {name: _cells(_values(chance, shape), answered) for name in _ANSWERED}
    cells["coverage"] = _cells(_values(chance, shape), hits)
    whole = _now()
    started = _now()
    for values in cells.values():
        estimate_cells(values, resampling)
    _print_times(f"estimates of {len(cells)} metrics", started)
    for questions in given.questions:
        started = _now()
        for part in np.array_split(np.arange(1, given.cells), questions):
            pairs = [CellPair("0", str(at), name, cells[name][0], cells[name][at]) for name in _COMPARED for at in part]
            compare_cells(pairs, resampling)
        _print_times(f"comparisons by {len(_COMPARED)} metrics, {questions} questions", started)
    _print_times("all", whole)
    print(f"peak memory {peak_memory_mb():,.0f} MB")


def _values(chance: np.random.Generator, shape: tuple[int, int]) -> Matrix:
    """Draw values of cells, discrete and with mass at both ends like pair F1; later cells are better."""
    ability = np.linspace(0, 0.3, shape[0])[:, None]
    common = chance.normal(0.5, 0.4, (1, shape[1]))
    raw = common + chance.normal(0, 0.3, shape) + np.where(np.arange(shape[0])[:, None] % 2, ability, 0)
    return np.asarray(np.clip(np.round(raw * 6) / 6, 0, 1))


def _cells(values: Matrix, weights: Matrix) -> list[CellValues]:
    return [CellValues.of(one, weighed) for one, weighed in zip(values, weights, strict=True)]


def _now() -> tuple[float, float]:
    return perf_counter(), process_time()


def _print_times(what: str, started: tuple[float, float]) -> None:
    seconds, computing = (now - then for now, then in zip(_now(), started, strict=True))
    print(f"{what:<50} {seconds:6.2f} s, {computing:6.2f} s of computing", flush=True)


if __name__ == "__main__":
    main()
