"""Partitions of a session by the probabilities of its pairs."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.distill.pair_model import read_pair_model
from models.embedded import shipped_pair_model
from models.pairs.clustering import Matrix
from models.pairs.partitions import CLUSTER_FEATURES, PARTITION_FEATURES, PartitionModel, best_partition, fit_partitions

SHIPPED = read_pair_model(shipped_pair_model()).kinds["categories and titles"].partitions


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    size = draw(st.integers(0, 8))
    matrix = np.zeros((size, size))
    for a, b in combinations(range(size), 2):
        matrix[a, b] = matrix[b, a] = draw(st.floats(0, 1))
    return matrix


def in_groups(*groups: tuple[int, ...], size: int, inside: float = 0.9, outside: float = 0.05) -> Matrix:
    matrix = np.full((size, size), outside)
    for group in groups:
        matrix[np.ix_(group, group)] = inside
    np.fill_diagonal(matrix, 0)
    return matrix


@given(matrices())
def test_bundles_have_at_least_two_products_and_do_not_overlap(matrix: Matrix) -> None:
    found = best_partition(matrix, SHIPPED)
    positions = [position for _, bundle in found for position in bundle]
    assert len(set(positions)) == len(positions)
    assert all(len(bundle) > 1 and list(bundle) == sorted(bundle) for _, bundle in found)
    assert all(0 <= chance <= 1 for chance, _ in found)
    assert [chance for chance, _ in found] == sorted((chance for chance, _ in found), reverse=True)
    assert bool(found) == (len(matrix) > 1)


def test_products_that_clearly_belong_together_are_joined() -> None:
    found = best_partition(in_groups((0, 3), (1, 2, 4), size=6), SHIPPED)
    assert sorted(bundle for _, bundle in found) == [(1, 4), (2, 3, 5)]


def test_the_order_of_products_changes_no_bundle() -> None:
    matrix = in_groups((0, 3), (1, 2, 4), size=6) + 0
    noise = np.random.default_rng(0).uniform(0, 0.1, matrix.shape)
    matrix = np.clip(matrix + noise + noise.T, 0, 1)
    order = np.random.default_rng(1).permutation(6)
    mixed = best_partition(matrix[np.ix_(order, order)], SHIPPED)
    again = sorted(tuple(sorted(int(order[at - 1]) + 1 for at in bundle)) for _, bundle in mixed)
    assert again == sorted(bundle for _, bundle in best_partition(matrix, SHIPPED))


@pytest.mark.parametrize("together", [True, False])
def test_the_model_is_fitted_to_the_given_value(together: bool) -> None:
    """By the probabilities three products can be one bundle or a pair; the value decides."""
    chance = np.random.default_rng(0)
    sessions = []
    for _ in range(60):
        noise = chance.uniform(-0.2, 0.2, (3, 3))
        matrix = np.clip(np.array([[0, 0.8, 0.5], [0.8, 0, 0.5], [0.5, 0.5, 0]]) + (noise + noise.T) / 2, 0.05, 0.95)
        np.fill_diagonal(matrix, 0)
        sessions.append((matrix, [frozenset({1, 2, 3} if chance.random() < 0.5 else {1, 2})]))
    largest = 3 if together else 2

    def value(_: object, bundles: list[frozenset[int]]) -> float:
        return float(all(len(bundle) == largest for bundle in bundles))

    model = fit_partitions(sessions, value)  # type: ignore[arg-type]
    sizes = [len(bundle) for matrix, _ in sessions for _, bundle in best_partition(matrix, model)]
    assert set(sizes) == {largest}


def test_confidences_are_the_shares_of_right_bundles() -> None:
    chance = np.random.default_rng(0)
    sessions = []
    for _ in range(400):
        matrix = np.zeros((3, 3))
        probability = chance.uniform(0.05, 0.95)
        matrix[0, 1] = matrix[1, 0] = probability
        sessions.append((matrix, [frozenset({1, 2})] if chance.random() < probability else [frozenset({2, 3})]))
    model = fit_partitions(sessions, lambda truth, bundles: float(set(truth) == set(bundles)))
    said = []
    for probability in (0.2, 0.5, 0.8):
        matrix = np.zeros((3, 3))
        matrix[0, 1] = matrix[1, 0] = probability
        for confidence, bundle in best_partition(matrix, model):
            if bundle == (1, 2):
                said.append(probability)
                assert confidence == pytest.approx(probability, abs=0.15)
    assert 0.8 in said


def test_a_session_of_hundreds_of_products_has_a_partition() -> None:
    found = best_partition(in_groups(tuple(range(200)), size=400), SHIPPED)
    [(_, bundle)] = found
    assert set(bundle) <= set(range(1, 201))
    assert len(bundle) > 190


def test_a_model_names_all_of_its_features() -> None:
    assert isinstance(SHIPPED, PartitionModel)
    assert tuple(SHIPPED.inside.weights) == tuple(SHIPPED.equal.weights) == CLUSTER_FEATURES
    assert tuple(SHIPPED.value) == PARTITION_FEATURES
