"""The learning rate of every update in closed form."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_ext.llm.schedule import learning_rate


def rates(updates: int, **settings: float | str) -> list[float]:
    defaults = {"lr": 1.0, "lr_schedule": "linear", "warmup_updates": 0, "total_updates": updates}
    config = SimpleNamespace(**{**defaults, **settings})
    return [learning_rate(update, config) for update in range(updates)]


def test_four_updates() -> None:
    assert rates(4) == [1.0, 0.75, 0.5, 0.25]
    assert rates(4, lr_schedule="constant") == [1.0] * 4
    assert rates(6, warmup_updates=2) == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert rates(5, warmup_updates=2, lr_schedule="constant") == [0.5, 1.0, 1.0, 1.0, 1.0]


@given(st.integers(1, 300), st.floats(1e-8, 1.0), st.data())
def test_linear_in_closed_form(total: int, lr: float, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(0, total - 1))
    values = rates(total, lr=lr, warmup_updates=warmup)
    for update, value in enumerate(values):
        rising, falling = (update + 1) / max(1, warmup), (total - update) / (total - warmup)
        assert value == pytest.approx(lr * (rising if update < warmup else falling), rel=1e-12)
    assert all(value > 0 for value in values), "the last update still moves"
    assert max(values) == pytest.approx(lr)


def test_stepped_by_round_as_in_the_published_code() -> None:
    """Four rounds of 64 updates run at 75, 50, 25 and 0 percent; at N = 1 the two ways differ by one step."""
    stale = rates(256, lr_schedule="linear_by_round", updates_per_round=64)
    assert [stale[64 * i : 64 * (i + 1)] for i in range(4)] == [[r] * 64 for r in (0.75, 0.5, 0.25, 0.0)]
    assert rates(256, lr_schedule="linear_by_round", updates_per_round=1) == [*rates(256)[1:], 0.0]


def test_after_the_end_nothing_moves() -> None:
    config = SimpleNamespace(lr=0.1, lr_schedule="linear", warmup_updates=0, total_updates=10)
    assert learning_rate(10, config) == learning_rate(1000, config) == 0.0
    config.lr_schedule = "constant"
    assert learning_rate(1000, config) == 0.1


def test_a_warmup_longer_than_the_run_only_rises() -> None:
    values = rates(4, warmup_updates=8)
    assert values == [0.125, 0.25, 0.375, 0.5]
