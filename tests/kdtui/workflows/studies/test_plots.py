"""Plots of studies: their scales and their labels."""

import re

import pytest

from kdtui.statistics.results import Estimate
from kdtui.workflows.studies.plots import lines_plot


def places_of_numbers(values: list[float]) -> dict[str, float]:
    """Plot a line over these numbers; return the places of the labels below it, from the left."""
    svg = lines_plot({"one": [(value, Estimate(0.5, 0.4, 0.6, 9, 1, 0.0)) for value in values]}, {}, "axis", "metric")
    labels = re.findall(r'<text [^>]*text-anchor: middle[^>]* x="([\d.]+)"[^>]*>([\d,.]+)</text>', svg)
    return {label: float(x) for x, label in labels}


def test_numbers_that_differ_more_than_tenfold_have_a_logarithmic_scale() -> None:
    found = places_of_numbers([20, 200, 2_000])
    assert list(found) == ["20", "200", "2,000"]
    left, middle, right = found.values()
    assert middle - left == pytest.approx(right - middle)


def test_other_numbers_have_a_linear_scale() -> None:
    found = places_of_numbers([0.1, 0.5, 1.0])
    assert found["0.4"] - found["0.2"] == pytest.approx(found["0.8"] - found["0.6"])
    assert places_of_numbers([0.0, 100.0])["0"] < places_of_numbers([0.0, 100.0])["100"]
