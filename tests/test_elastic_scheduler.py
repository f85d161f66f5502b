"""Schedulers around resets: ASHA stops a saw-toothed trial that it would keep when it is told of resets."""

from __future__ import annotations

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, PopulationBasedTraining, TrialScheduler

from rllib_ext.elastic_reset.scheduler import ResetAware, recovering


class Trial:
    """What ASHA asks of a trial."""

    def __init__(self, name: str) -> None:
        self.trial_id = name
        self.config: dict = {}


def asha():
    scheduler = AsyncHyperBandScheduler(
        time_attr="training_iteration",
        metric="reward",
        mode="max",
        grace_period=4,
        reduction_factor=2,
        max_t=100,
    )
    return scheduler


def judged(scheduler) -> str:
    """Five steady trials at reward 1, and a saw-tooth at 2 whose reset falls on the rung."""
    for number in range(5):
        trial = Trial(f"steady {number}")
        scheduler.on_trial_add(None, trial)
        for at in (3, 4):
            scheduler.on_trial_result(
                None, trial, {"training_iteration": at, "reward": 1.0, "er": {"recovering": 0.0}}
            )
    saw = Trial("saw")
    scheduler.on_trial_add(None, saw)
    decisions = []
    for at, reward, after in ((3, 2.0, 0.0), (4, 0.2, 1.0), (5, 2.1, 0.0)):
        result = {"training_iteration": at, "reward": reward, "er": {"recovering": after}}
        decisions.append(scheduler.on_trial_result(None, saw, result))
        if decisions[-1] != TrialScheduler.CONTINUE:
            break
    return decisions[-1]


def test_asha_alone_stops_the_better_trial_and_keeps_it_when_told() -> None:
    assert judged(asha()) == TrialScheduler.STOP
    assert judged(ResetAware(asha())) == TrialScheduler.CONTINUE


def test_everything_else_is_the_inner_schedulers(tmp_path) -> None:
    inner = asha()
    outer = ResetAware(inner)
    assert outer.metric == inner.metric
    assert "ResetAware" in outer.debug_string()
    outer.save(str(tmp_path / "state"))
    outer.restore(str(tmp_path / "state"))
    assert not ResetAware(
        PopulationBasedTraining(hyperparam_mutations={"lr": [1.0]})
    ).supports_buffered_results


@pytest.mark.parametrize(
    ("result", "expected"),
    [({"er": {"recovering": 1.0}}, True), ({"er/recovering": 1.0}, True),
     ({"er": {"recovering": 0.0}}, False), ({}, False)],
)  # fmt: skip
def test_the_flag_is_read_nested_and_flat(result: dict, expected: bool) -> None:
    assert recovering(result) is expected
