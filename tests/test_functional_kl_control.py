"""KL controllers against their formulas (test 12 of the battery)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.kl_control import CONTROLLERS, next_beta, rl4lms, trl


@settings(deadline=None)
@given(beta=st.floats(1e-6, 10), kl=st.floats(-100, 1e4), target=st.floats(1e-3, 100))
def test_12_rl4lms_moves_beta_by_at_most_two_percent_towards_the_target(beta, kl, target) -> None:
    after = rl4lms(beta, kl, target=target)
    assert abs(after / beta - 1) <= 0.02 + 1e-12
    assert (after > beta) == (kl > target) or math.isclose(kl, target, rel_tol=1e-6)


@settings(deadline=None)
@given(kl=st.floats(-100, 1e4), samples=st.integers(1, 5000))
def test_12_trl_multiplies_by_the_clipped_error_times_the_share_of_the_horizon(kl, samples) -> None:
    factor = 1 + min(0.2, max(-0.2, kl / 6.0 - 1)) * samples / 10_000
    assert trl(0.2, kl, target=6.0, samples=samples, horizon=10_000) == pytest.approx(0.2 * factor)


def test_12_worked_examples() -> None:
    assert rl4lms(0.1, 0.55, target=0.5) == pytest.approx(0.1 * 1.01)
    assert rl4lms(0.1, 5.0, target=0.5) == pytest.approx(0.1 * 1.02)
    assert trl(0.2, 6.6, target=6.0, samples=256, horizon=10_000) == pytest.approx(0.2 * (1 + 0.1 * 0.0256))
    assert trl(0.2, 0.0, target=6.0, samples=256, horizon=10_000) == pytest.approx(0.2 * (1 - 0.2 * 0.0256))


@pytest.mark.parametrize("rule", CONTROLLERS)
def test_beta_stays_at_the_target_without_one_and_where_nothing_was_measured(rule: str) -> None:
    more = {"samples": 64, "horizon": 1e4}
    assert next_beta(rule, 0.3, 2.0, target=2.0, **more) == 0.3
    assert next_beta(rule, 0.3, 9.0, target=None, **more) == 0.3
    assert next_beta(rule, 0.3, math.nan, target=2.0, **more) == 0.3
    assert (next_beta(rule, 0.3, 9.0, target=2.0, **more) == 0.3) == (rule == "fixed")


def test_unknown_rules_and_targets_are_named() -> None:
    with pytest.raises(ValueError, match="rule is 'adaptive'; choose one of fixed, trl, rl4lms"):
        next_beta("adaptive", 0.1, 1.0, target=1.0, samples=1, horizon=1.0)
    with pytest.raises(ValueError, match="target is 0"):
        rl4lms(0.1, 1.0, target=0)
