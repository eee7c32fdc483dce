"""Floors: on sessions made by hand, and on the real test splits, whose numbers are known."""

from pathlib import Path

import pytest

from kdtui.bundling.floors import by_category, whole_session
from kdtui.bundling.truth import minimal_bundles
from kdtui.workflows.evaluate import score_floors, split_to_score
from kdtui.workflows.import_dataset import import_dataset
from store.records import Bundle, Item, Session
from store.sqlite import Database

SESSION = Session(
    "s",
    (
        Item("a", "A", (("Home", "Kitchen", "Knives"),)),
        Item("b", "B", (("Home", "Kitchen", "Boards"), ("Home", "Garden"))),
        Item("c", "C", ()),
        Item("d", "D", (("Home", "Garden"),)),
        Item("e", "E", (("Home", "Garden"),)),
    ),
)


def test_the_whole_session_is_one_bundle() -> None:
    assert whole_session(SESSION) == [frozenset({1, 2, 3, 4, 5})]


@pytest.mark.parametrize(
    ("level", "expected"), [(1, [{1, 2, 4, 5}]), (2, [{1, 2}, {4, 5}]), (3, [{4, 5}])], ids=["wide", "middle", "narrow"]
)
def test_items_are_grouped_by_their_first_category(level: int, expected: list[set[int]]) -> None:
    assert by_category(SESSION, level) == expected


def test_only_minimal_bundles_are_true() -> None:
    small, twice, large, other = (
        Bundle((1, 2), "first"),
        Bundle((1, 2), "again"),
        Bundle((1, 2, 3), "larger"),
        Bundle((3, 4), "other"),
    )
    assert minimal_bundles([large, small, twice, other]) == (small, other)


# n, precision, recall, coverage, strict precision, strict recall, pair F1, exact: measured once, with AICL's code.
KNOWN = {
    "electronic": {
        "whole session": (180, 0.261, 0.261, 1.0, 0.261, 0.261, 0.519, 0.261),
        "category 1": (180, 0.358, 0.361, 0.995, 0.358, 0.361, 0.628, 0.356),
        "category 2": (169, 0.539, 0.551, 0.918, 0.506, 0.506, 0.620, 0.367),
        "category 3": (134, 0.659, 0.718, 0.793, 0.491, 0.481, 0.429, 0.200),
        "category 4": (95, 0.847, 0.766, 0.765, 0.447, 0.379, 0.274, 0.133),
        "truth": (180, 1, 1, 1, 1, 1, 1, 1),
    },
    "clothing": {
        "whole session": (180, 0.206, 0.206, 1.0, 0.206, 0.206, 0.492, 0.206),
        "category 1": (178, 0.430, 0.437, 0.972, 0.425, 0.427, 0.684, 0.400),
        "category 2": (178, 0.430, 0.437, 0.969, 0.425, 0.427, 0.682, 0.394),
        "category 3": (159, 0.573, 0.583, 0.864, 0.506, 0.485, 0.556, 0.283),
        "category 4": (151, 0.685, 0.688, 0.841, 0.575, 0.531, 0.552, 0.272),
        "truth": (180, 1, 1, 1, 1, 1, 1, 1),
    },
}

# Pair F1 of a learned floor that was measured beside them; ours may be better, and no more than .02 worse.
LEARNED = {"electronic": 0.681, "clothing": 0.736}


def test_real_datasets_have_their_known_floors(db: Database, real_dataset: Path) -> None:
    name = real_dataset.name
    list(import_dataset(db, real_dataset, name))
    rows = {row.name: row.scores for row in score_floors(db, name, split_to_score(db, name, "test", None))}
    for floor, known in KNOWN[name].items():
        scores = rows[floor]
        found = (
            scores.n,
            scores.precision,
            scores.recall,
            scores.coverage,
            scores.strict_precision,
            scores.strict_recall,
            scores.pair_f1,
            scores.exact,
        )
        assert found == pytest.approx(known, abs=0.0005), floor
    assert rows["patterns"].pair_f1 > LEARNED[name] - 0.02
    assert list(rows)[-1] == "truth"
