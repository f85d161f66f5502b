"""Advantages over stretches with many lives in them, against the definition of each life by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.trajectories import gae_over_time


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**20), steps=st.integers(1, 9), discount=st.floats(0, 1), decay=st.floats(0, 1))
def test_equals_the_sum_over_each_life(seed: int, steps: int, discount: float, decay: float) -> None:
    draw = np.random.default_rng(seed)
    rewards, values, following = draw.normal(size=(3, steps, 2)).astype(np.float32)
    ended = draw.random((steps, 2)) < 0.3
    found = gae_over_time(rewards, values, following, ended, discount=discount, trace_decay=decay)
    for row in range(2):
        for t in range(steps):
            total, weight = 0.0, 1.0
            for k in range(t, steps):
                total += weight * (rewards[k, row] + discount * following[k, row] - values[k, row])
                if ended[k, row]:
                    break
                weight *= discount * decay
            assert found[t, row] == pytest.approx(total, abs=1e-4)


def test_a_terminal_life_without_discount_returns_the_rewards_to_go() -> None:
    rewards = np.ones((4, 1), np.float32)
    ended = np.array([[False], [True], [False], [True]])
    zeros = np.zeros_like(rewards)
    found = gae_over_time(rewards, zeros, zeros, ended, discount=1.0, trace_decay=1.0)
    assert found[:, 0].tolist() == [2.0, 1.0, 2.0, 1.0]
