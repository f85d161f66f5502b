"""The arithmetic of timelines against closed forms and against counting cells."""

from __future__ import annotations

from pathlib import Path

import pytest
import run_folder_fixture as fx
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.analysis.intervals import Interval, idle_share, lane_use, middle_rounds, union_s
from rllib_ext.analysis.run_data import load_run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return fx.write_run(tmp_path / "run")


def test_idle_shares_are_one_minus_the_union_of_overlapping_work(run_folder: Path) -> None:
    """Worker 1 scores half inside its generation: lengths would add up to more than it was busy."""
    uses = {use.who: use for use in lane_use(load_run(run_folder).timeline)}
    assert list(uses) == ["worker 1", "worker 2", "learner"]
    for who, busy in fx.BUSY_S.items():
        assert uses[who].busy_s == busy
        assert uses[who].idle_share == 1 - busy / fx.WINDOW_S
        assert sum(uses[who].by_role.values()) == busy
    assert uses["worker 1"].by_role["score"] == fx.ROUNDS * fx.SCORE_ALONE
    workers = fx.BUSY_S["worker 1"] + fx.BUSY_S["worker 2"]
    assert idle_share(uses.values(), "generator") == pytest.approx(1 - workers / (2 * fx.WINDOW_S), abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20))))
def test_union_equals_counting_unit_cells(spans: list[tuple[int, int]]) -> None:
    cells = {cell for start, length in spans for cell in range(start, start + length)}
    assert union_s((start, start + length) for start, length in spans) == len(cells)


def test_time_between_crash_and_resume_is_nobodys_idle_time() -> None:
    first = [Interval("generate", "worker 1", 0, 8), Interval("learn", "learner", 0, 10)]
    night = 30_000.0
    again = [
        Interval("generate", "worker 1", night, night + 10),
        Interval("learn", "learner", night, night + 5),
    ]
    uses = {use.who: use for use in lane_use(first + again, resumed_at=[night - 1])}
    assert uses["worker 1"].idle_share == pytest.approx(1 - 18 / 20)
    assert uses["learner"].idle_share == pytest.approx(1 - 15 / 20)


def test_lanes_sort_by_number_and_the_learner_comes_last() -> None:
    names = ["learner", "worker 10", "worker 2"]
    roles = {"learner": "learn"}
    items = [Interval(roles.get(name, "generate"), name, 0, 1) for name in names]
    assert [use.who for use in lane_use(items)] == ["worker 2", "worker 10", "learner"]


def test_the_window_of_the_timeline_is_the_middle_of_the_run(run_folder: Path) -> None:
    chosen, (start, end) = middle_rounds(load_run(run_folder).timeline, 10)
    assert chosen == list(range(7, 17))
    assert start == fx.T0 + 7 * fx.PERIOD
    assert end == fx.T0 + 17 * fx.PERIOD + fx.LEARN
