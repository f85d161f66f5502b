"""The curriculum: workers are told the epoch of training, replaced and restored ones too; evaluations are at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comm_fixture import kill_worker_and_train_on, small
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_ext.contrastive_comm.curriculum import Curriculum
from rllib_ext.contrastive_comm.persistence import OWN
from rllib_ext.errors import BadConfig
from rllib_ext.runtime import rllib_state

ROAD = {"curriculum": [1, 3], "add_rate_min": 0.1, "add_rate_max": 0.3, "max_steps": 10}


def traffic(**settings: Any) -> Any:
    """64 steps an iteration, and 64 an epoch: epoch 1 from the second iteration on."""
    return small("TrafficJunction", ROAD, **{"epoch_steps": 64, "num_epochs": 1, **settings})


def rates(group: Any, *, local: bool = True) -> list[float]:
    return group.foreach_env_runner(
        lambda worker: worker.env.add_rate(), local_env_runner=local, timeout_seconds=60.0
    )


def test_the_rate_rises_with_the_steps_and_evaluations_are_at_the_end_of_it(
    ray_session: Any, tmp_path: Path
) -> None:
    algorithm = traffic().evaluation(evaluation_interval=100, evaluation_duration=8).build_algo()
    restored = traffic().build_algo()
    try:
        seen = []
        for iteration in range(4):
            seen += rates(algorithm.env_runner_group)
            result = algorithm.train()
            assert result["curriculum_epoch"] == iteration + 1
        assert seen == pytest.approx([0.1, 0.1, 0.2, 0.3])
        assert rates(algorithm.eval_env_runner_group) == pytest.approx([0.3])
        # The rate of an episode is that at its beginning: those of the last round are the newest ones'.
        assert (
            set(algorithm.env_runner.env.rate_B) <= {0.1, 0.2, 0.3}
            and max(algorithm.env_runner.env.rate_B) > 0.1
        )
        rllib_state.save(algorithm, tmp_path, OWN)
        assert rates(restored.env_runner_group) == pytest.approx([0.1])
        rllib_state.restore(restored, tmp_path, OWN)
        assert rates(restored.env_runner_group) == pytest.approx([0.3])
    finally:
        algorithm.stop()
        restored.stop()


@pytest.mark.slow
def test_a_worker_that_was_replaced_is_told_again(ray_session: Any) -> None:
    config = traffic().env_runners(num_env_runners=1, num_envs_per_env_runner=8, num_cpus_per_env_runner=0.5)
    config.fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=1.0)
    algorithm = config.build_algo()
    try:
        for _ in range(3):
            algorithm.train()
        assert rates(algorithm.env_runner_group, local=False) == pytest.approx([0.3])
        kill_worker_and_train_on(algorithm)
        assert rates(algorithm.env_runner_group, local=False) == pytest.approx([0.3])
    finally:
        algorithm.stop()


def test_environments_without_one_are_left_alone(ray_session: Any) -> None:
    algorithm = small("Beacon").build_algo()
    try:
        assert "curriculum_epoch" not in algorithm.train()
    finally:
        algorithm.stop()


def test_callbacks_of_ones_own_stand_beside_it_or_are_refused() -> None:
    class Mine(RLlibCallback):
        pass

    traffic().callbacks([Curriculum, Mine]).validate()
    small("TrafficJunction").callbacks(Mine).validate()
    with pytest.raises(BadConfig, match=r"curriculum=\[1, 3\].*Curriculum"):
        traffic().callbacks(Mine).validate()
    with pytest.raises(BadConfig, match="epoch_steps"):
        traffic(epoch_steps=0).validate()
