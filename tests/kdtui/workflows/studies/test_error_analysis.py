"""Where a cell fails: errors by type, and pair F1 by properties of the sessions."""

from math import isnan
from pathlib import Path

import pytest

from kdtui.bundling.bundle_errors import find_errors, missed_bundles
from kdtui.bundling.floors import group_by_category
from kdtui.bundling.metrics import Bundles
from kdtui.bundling.truth import true_bundles
from kdtui.exchange.bundlerec import read_directory
from kdtui.statistics.sessions import Resampling
from kdtui.workflows.studies.error_analysis import SessionGroup, analyse_errors, count_errors
from store.records import Bundle, Item, Session

FEW = Resampling(200)
TRUTH = [frozenset({1, 2}), frozenset({3, 4, 5})]


def session(name: str, size: int, *bundles: tuple[int, ...], known: int | None = None) -> Session:
    categories = (("Outdoor", "Tents"),)
    items = (Item(f"{name}-{at}", "Tent", categories if known is None or at < known else ()) for at in range(size))
    return Session(name, tuple(items), tuple(Bundle(each) for each in bundles), "test")


def sets(*bundles: tuple[int, ...]) -> Bundles:
    return [frozenset(each) for each in bundles]


@pytest.mark.parametrize(
    ("predicted", "types", "extra", "lacking"),
    [
        ({1, 2}, ("correct",), set(), set()),
        ({6, 7}, ("invalid",), set(), set()),
        ({1, 2, 6}, ("irrelevant",), {6}, set()),
        ({3, 4}, ("missing",), set(), {5}),
        ({3, 4, 6}, ("irrelevant", "missing"), {6}, {5}),
        ({1}, ("single",), set(), set()),
        (set(), ("single",), set(), set()),
    ],
)
def test_a_bundle_has_a_type_of_error(
    predicted: set[int], types: tuple[str, ...], extra: set[int], lacking: set[int]
) -> None:
    judged = find_errors(TRUTH, frozenset(predicted))
    assert judged.types == types
    assert (set(judged.extra), set(judged.lacking)) == (extra, lacking)


def test_without_true_bundles_every_bundle_is_invalid() -> None:
    assert find_errors([], frozenset({1, 2})).types == ("invalid",)


def test_a_true_bundle_is_found_if_one_of_its_products_is() -> None:
    assert missed_bundles(TRUTH, sets((5, 6))) == [0]
    assert missed_bundles(TRUTH, []) == [0, 1]


def test_errors_are_counted_over_sessions_and_seeds() -> None:
    one, other = session("a", 6, (1, 2), (3, 4, 5)), session("b", 4, (1, 2))
    found = count_errors(
        [one, other],
        [
            {"a": sets((1, 2), (3, 4, 6), (1,)), "b": None, "elsewhere": sets((1, 2))},
            {"a": [], "b": sets((3, 4))},
            {"b": sets((1, 2))},
        ],
    )
    assert (found.answers, found.failed, found.silent) == (5, 1, 1)
    assert (found.predicted, found.true, found.not_found) == (5, 7, 4)
    assert found.types == {"correct": 2, "irrelevant": 1, "missing": 1, "single": 1, "invalid": 1}
    assert found.share("correct") == pytest.approx(0.4)
    assert found.share_not_found == pytest.approx(4 / 7)


def test_without_answers_there_are_no_shares() -> None:
    found = count_errors([session("a", 3, (1, 2))], [{}])
    assert isnan(found.share("correct"))
    assert isnan(found.share_not_found)


def by_name(groups: list[SessionGroup]) -> dict[str, SessionGroup]:
    return {f"{group.respect} {group.label}": group for group in groups}


def test_a_cell_fails_in_long_sessions_with_overlapping_bundles_and_without_categories() -> None:
    short = [session(f"s{at}", 3, (1, 2)) for at in range(4)]
    long = [session(f"l{at}", 9, (1, 2), (2, 3), known=at) for at in range(3)]
    answers: dict[str, Bundles | None] = {each.id: sets((1, 2)) for each in short}
    answers |= {"l0": sets((8, 9)), "l1": None, "l2": sets((1, 2), (2, 3))}
    groups = by_name(analyse_errors([*short, *long], [answers], FEW))
    assert list(groups) == [
        "all sessions",
        "products 3",
        "products 9",
        "true bundles none overlap",
        "true bundles some overlap",
        "categories of all products",
        "categories of some products",
        "categories of no product",
    ]
    assert groups["products 3"].pair_f1.mean == 1
    assert groups["products 9"].pair_f1.mean == pytest.approx(1 / 3)
    assert groups["true bundles some overlap"].pair_f1.sessions == 3
    assert groups["categories of no product"].errors.share("invalid") == 1
    assert groups["all sessions"].pair_f1.mean == pytest.approx(5 / 7)
    assert groups["categories of some products"].errors.failed == 1


def test_lengths_are_ranges_of_the_existing_ones() -> None:
    sessions = [session(f"s{size}", size, (1, 2)) for size in range(2, 12)]
    answers = {each.id: sets((1, 2)) for each in sessions}
    labels = [group.label for group in analyse_errors(sessions, [answers], FEW) if group.respect == "products"]
    assert labels == ["2–4", "5–9", "10–11"]


def test_sessions_that_are_all_alike_form_no_groups() -> None:
    sessions = [session(f"s{at}", 3, (1, 2)) for at in range(4)]
    [everything] = analyse_errors(sessions, [{each.id: sets((1, 2)) for each in sessions}], FEW)
    assert everything.respect == "all"


@pytest.mark.filterwarnings("error")
def test_groups_without_an_answer_are_left_out() -> None:
    sessions = [session("a", 3, (1, 2)), session("b", 9, (1, 2))]
    groups = by_name(analyse_errors(sessions, [{"a": sets((1, 2))}], FEW))
    assert list(groups) == ["all sessions", "products 3"]
    assert (
        analyse_errors(sessions, [{}], FEW) == analyse_errors(sessions, [], FEW) == analyse_errors([], [{}], FEW) == []
    )


def test_groups_of_real_sessions_contain_every_session_once(real_dataset: Path) -> None:
    sessions = [each for each in read_directory(real_dataset)[0] if each.split == "valid" and each.bundles]
    answers = {each.id: [bundle for bundle in group_by_category(each, 2) if len(bundle) > 1] for each in sessions}
    whole, *groups = analyse_errors(sessions, [answers, answers], FEW)
    for respect in {group.respect for group in groups}:
        parts = [group for group in groups if group.respect == respect]
        assert sum(group.pair_f1.sessions for group in parts) == len(sessions)
        assert sum(group.errors.predicted for group in parts) == whole.errors.predicted
    assert whole.errors.true == 2 * sum(len(true_bundles(each)) for each in sessions)
    assert {"products", "true bundles"} <= {group.respect for group in groups}
