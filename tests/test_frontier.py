"""The frontier's maths against closed forms and brute force."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.analysis.frontier import drift_at, hypervolume, mean_points, non_dominated, paired_difference

POINTS = st.lists(st.tuples(st.integers(-3, 9), st.integers(-3, 9)), max_size=12)


def test_hypervolume_of_a_staircase_is_its_area() -> None:
    reference = (0.0, 4.0)
    assert hypervolume([(1.0, 1.0)], reference) == 3.0
    assert hypervolume([(1.0, 1.0), (2.0, 3.0)], reference) == 4.0  # 1 x 3 and 1 x 1
    assert hypervolume([(1.0, 1.0), (2.0, 3.0), (0.5, 2.0)], reference) == 4.0  # dominated
    assert hypervolume([(-1.0, 1.0), (2.0, 4.0)], reference) == 0.0  # outside, and on the edge
    assert hypervolume([], reference) == 0.0


@settings(deadline=None)
@given(points=POINTS)
def test_hypervolume_counts_the_dominated_unit_squares(points) -> None:
    """With whole coordinates the area is a number of unit squares."""
    squares = sum(any(r >= x + 1 and d <= y for r, d in points) for x in range(0, 9) for y in range(-3, 6))
    assert hypervolume(points, (0, 6)) == squares


@settings(deadline=None)
@given(points=POINTS)
def test_the_non_dominated_set_is_what_its_name_says(points) -> None:
    def beats(one, other) -> bool:
        return one != other and one[0] >= other[0] and one[1] <= other[1]

    expected = sorted({p for p in points if not any(beats(q, p) for q in points)})
    assert non_dominated(points) == expected
    assert hypervolume(points, (0, 6)) == hypervolume(expected, (0, 6))


def test_drift_at_matched_reward_is_interpolated_along_the_sweep() -> None:
    sweep = [(1.0, 90.0), (0.9, 20.0), (0.8, 10.0)]
    assert drift_at(sweep, 0.95) == pytest.approx(55.0)
    assert drift_at(sweep, 0.9) == 20.0
    assert drift_at(sweep, 0.5) is None and drift_at(sweep, 1.01) is None
    assert drift_at([*sweep, (0.95, 12.0)], 0.9) == pytest.approx(
        10 + 2 * 0.1 / 0.15
    )  # passed twice: the least
    assert drift_at([], 0.5) is None


def test_means_and_standard_errors_over_seeds() -> None:
    found = mean_points({"a": [(1.0, 2.0), (3.0, 2.0)], "b": [(5.0, 1.0)]})
    assert (found["a"].reward, found["a"].drift, found["a"].seeds) == (2.0, 2.0, 2)
    assert found["a"].reward_se == pytest.approx(1.0) and found["a"].drift_se == 0.0
    assert math.isnan(found["b"].reward_se)
    assert paired_difference([3.0, 5.0], [1.0, 1.0]) == (3.0, pytest.approx(1.0))
