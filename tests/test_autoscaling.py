"""Nodes that come and go on this machine, under a sweep and under one asynchronous run: autoscaler v2, real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import autoscaling

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.fault("A10", tries=1)
def test_waiting_trials_bring_nodes_and_let_them_go(tmp_path: Path) -> None:
    found = autoscaling.drive("sweep", tmp_path)
    assert found["nodes"][0] == 1 and max(found["nodes"]) == 4 and found["nodes"][-1] == 1
    assert found["finished"] == 3 and found["errors"] == 0
    assert found["left_running"] == []


@pytest.mark.fault("A10", tries=1)
def test_one_run_gains_and_loses_workers_and_loses_nothing(tmp_path: Path) -> None:
    found = autoscaling.drive("run", tmp_path)
    assert found["workers"][0] == 1 and max(found["workers"]) == 3
    assert found["killed"] and found["refilled"] and found["events"]["worker_died"] >= 1
    assert found["trained_twice"] == 0 and found["missing"] == 0
    assert found["nodes"][-1] == 1 and found["left_running"] == []
