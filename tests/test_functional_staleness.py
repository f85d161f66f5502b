"""Ages, admission and the ideal timeline: the arithmetic, and a simulated run that has to agree with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.staleness import (
    age,
    furthest_round,
    learning_ages,
    maximum_age,
    may_submit,
    minimum_staleness,
    one_step_staleness,
    summary,
    summary_of_histogram,
    timeline_ideal,
)

EXACT = settings(derandomize=True, deadline=None, max_examples=200, database=None)
UPDATES = st.integers(1, 9)
SECONDS = st.floats(0.0, 1e3)


def test_ages_of_a_round_one_ahead():
    assert learning_ages(2, version=4, updates_per_round=4) == (4, 5, 6, 7)
    assert maximum_age(2, version=4, updates_per_round=4) == 7 == one_step_staleness(4)
    assert learning_ages(2, version=8, updates_per_round=4) == (0, 1, 2, 3)
    assert maximum_age(2, version=8, updates_per_round=4) == 3 == minimum_staleness(4)


def test_one_update_per_round_is_on_policy_when_synchronous_and_one_late_when_not():
    assert minimum_staleness(1) == 0 and one_step_staleness(1) == 1
    assert may_submit(5, version=5, updates_per_round=1, max_staleness=0)
    assert not may_submit(5, version=4, updates_per_round=1, max_staleness=0)
    assert may_submit(5, version=4, updates_per_round=1, max_staleness=1)


def test_a_sample_made_anew_within_its_round_meets_only_the_updates_to_come():
    assert learning_ages(2, version=10, updates_per_round=4) == (0, 1)
    assert maximum_age(2, version=10, updates_per_round=4) == 1


def test_a_bound_below_the_minimum_admits_no_round():
    assert not may_submit(3, version=12, updates_per_round=4, max_staleness=2)
    assert furthest_round(12, updates_per_round=4, max_staleness=2) is None


@EXACT
@given(st.integers(0, 60), UPDATES, st.integers(0, 30))
def test_furthest_round_is_the_last_that_may_be_submitted(version, updates, bound):
    current = version // updates  # the round that this version is in
    admitted = [r for r in range(current, current + 40) if may_submit(r, version, updates, bound)]
    assert furthest_round(version, updates, bound) == (admitted[-1] if admitted else None)
    assert admitted == list(range(current, current + len(admitted)))  # no gaps: oldest first never blocks


@EXACT
@given(st.integers(0, 20), UPDATES, st.integers(0, 20))
def test_maximum_age_is_the_largest_learning_age(round_index, updates, version):
    if version > round_index * updates + updates - 1:
        with pytest.raises(ValueError, match="never behind"):
            maximum_age(round_index, version, updates)
        return
    ages = learning_ages(round_index, version, updates)
    assert max(ages) == maximum_age(round_index, version, updates)
    assert min(ages) >= 0


@pytest.mark.fault("D4")
@EXACT
@given(UPDATES, st.integers(0, 25), st.integers(1, 12))
def test_a_run_under_admission_control_never_learns_from_older_samples(updates, bound, rounds):
    """Generate as far ahead as admission allows, learn round by round, and look at every age there was."""
    version, submitted, stamps, ages, furthest = 0, 0, {}, [], 0
    for learnt in range(rounds):
        while may_submit(submitted, version, updates, bound):
            stamps[submitted] = version
            submitted += 1
        if learnt not in stamps:
            assert bound < minimum_staleness(updates)
            return
        furthest = max(furthest, submitted - 1 - learnt)
        for _ in range(updates):
            ages.append(age(version, stamps[learnt]))
            version += 1
    assert bound >= minimum_staleness(updates)
    assert max(ages) <= bound
    assert (furthest >= 1) == (
        bound >= one_step_staleness(updates)
    )  # ahead only if the bound has room for it


def test_lag_of_synchronous_and_one_step_asynchronous_training():
    for bound, expected in ((0, [0, 0, 0, 0]), (1, [0, 1, 1, 1])):
        stamps, submitted = {}, 0
        for version in range(4):
            while may_submit(submitted, version, 1, bound):
                stamps[submitted] = version
                submitted += 1
        assert [version - stamps[version] for version in range(4)] == expected


@pytest.mark.fault("D4")
@pytest.mark.parametrize(("learner", "sample"), [(3, 4), (0, 1), (3, -1)])
def test_a_stamp_from_the_future_is_an_error(learner, sample):
    with pytest.raises(ValueError, match="stamps"):
        age(learner, sample)


def test_rounds_without_updates_are_refused():
    for call in (
        lambda: minimum_staleness(0),
        lambda: one_step_staleness(0),
        lambda: maximum_age(-1, 0, 1),
        lambda: furthest_round(0, 0, 5),
        lambda: learning_ages(0, 0, 0),
    ):
        with pytest.raises(ValueError, match="at least one update"):
            call()


# ----- summaries


def test_summary_of_a_few_ages():
    ages = summary([1, 0, 1, 3])
    assert (ages.count, ages.mean, ages.p95, ages.maximum) == (4, 1.25, 3, 3)
    assert ages.histogram == {0: 1, 1: 2, 3: 1} and list(ages.histogram) == [0, 1, 3]


def test_percentile_is_the_nearest_rank():
    assert summary([0] * 19 + [7]).p95 == 0  # the 19th of 20
    assert summary([0] * 18 + [7]).p95 == 7  # the greatest of fewer than 20
    assert summary([0] * 94 + [7] * 6).p95 == 7
    assert summary([0] * 95 + [7] * 5).p95 == 0


def test_no_ages_are_counted_as_none():
    nothing = summary([])
    assert (nothing.count, nothing.mean, nothing.p95, nothing.maximum, nothing.histogram) == (
        0,
        0.0,
        0,
        0,
        {},
    )
    assert summary_of_histogram({3: 0}) == nothing


def test_summary_refuses_negative_ages():
    with pytest.raises(ValueError, match="version stamps"):
        summary([0, -1])


@EXACT
@given(st.lists(st.integers(0, 20), min_size=1, max_size=80), st.lists(st.integers(0, 20), max_size=20))
def test_summary_agrees_with_numpy_and_merges_by_histogram(first, second):
    ages = summary(first)
    assert ages.mean == pytest.approx(np.mean(first))
    assert ages.maximum == max(first)
    assert ages.p95 == np.percentile(first, 95, method="inverted_cdf")
    other = summary(second).histogram
    merged = {
        value: ages.histogram.get(value, 0) + other.get(value, 0) for value in {*ages.histogram, *other}
    }
    assert summary_of_histogram(merged) == summary(first + second)


# ----- timeline


def test_timeline_closed_form():
    ideal = timeline_ideal(0.1, 0.01, 0.02, 0.03)
    assert ideal.sync_s == pytest.approx(0.16) and ideal.async_s == pytest.approx(0.11)
    assert ideal.ratio == pytest.approx(16 / 11) and ideal.idle_share == pytest.approx(6 / 11)
    assert ideal.bound == "generation"
    assert timeline_ideal(1, 0, 2, 2).bound == "training"
    balanced = timeline_ideal(2, 1, 1, 2)
    assert (balanced.ratio, balanced.idle_share, balanced.bound) == (2.0, 0.0, "balanced")
    nothing = timeline_ideal(0, 0, 0, 0)
    assert (nothing.ratio, nothing.idle_share) == (1.0, 0.0)


@EXACT
@given(SECONDS, SECONDS, SECONDS, SECONDS)
def test_overlap_gains_between_nothing_and_half_the_time(generate, publish, score, update):
    ideal = timeline_ideal(generate, publish, score, update)
    assert 1.0 <= ideal.ratio <= 2.0
    assert ideal.idle_share == pytest.approx(2.0 - ideal.ratio, abs=1e-9) or ideal.sync_s == 0.0


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_timeline_refuses_times_that_are_none(bad):
    with pytest.raises(ValueError, match="finite times"):
        timeline_ideal(0.1, bad, 0.1, 0.1)
