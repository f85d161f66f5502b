"""ContrastiveComm as RLlib and Tune see it: training, evaluation, workers of their own, checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from comm_fixture import Countdown, kill_worker_and_train_on, small
from ray import tune

import rllib_ext
from rllib_ext.contrastive_comm.knobs import METHODS
from rllib_ext.errors import Stalled


@pytest.mark.parametrize("comm", METHODS)
def test_every_method_trains_and_reports(ray_session: Any, comm: str) -> None:
    algorithm = small(comm=comm).build_algo()
    try:
        for _ in range(3):
            result = algorithm.train()
        learnt = result["learners"]["default_policy"]
        assert all(
            math.isfinite(float(learnt[name]))
            for name in ("policy_loss", "vf_loss", "entropy", "gradient_norm")
        )
        kind = comm.removesuffix("+dial")
        assert ("cacl_loss" in learnt, "aecomm_loss" in learnt) == (kind == "cacl", kind == "aecomm")
        sampled = result["env_runners"]
        assert sampled["num_env_steps_sampled_lifetime"] == 3 * 8 * 8 == algorithm.env_steps()
        assert set(sampled["agent_episode_returns_mean"]) == set(algorithm.env_runner.env.possible_agents)
        assert 0 <= sampled["success_mean"] <= 1 and 1 <= sampled["episode_len_mean"] <= 12
    finally:
        algorithm.stop()


def test_agents_learn_which_action_pays(ray_session: Any) -> None:
    """Each is paid its own action, 0 or 1, for three steps: the best return of two agents is 6."""
    algorithm = small(Countdown, comm="none", lr=0.01).build_algo()
    try:
        for _ in range(25):
            result = algorithm.train()
        assert result["env_runners"]["episode_return_mean"] > 5.0
    finally:
        algorithm.stop()


def test_workers_of_their_own_evaluate_and_one_that_dies_is_replaced(ray_session: Any) -> None:
    config = small().env_runners(num_env_runners=1, num_envs_per_env_runner=8, num_cpus_per_env_runner=0.5)
    config.fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=1.0)
    config.evaluation(evaluation_interval=1, evaluation_duration=9, evaluation_num_env_runners=0)
    algorithm = config.build_algo()
    try:
        result = algorithm.train()
        evaluated = result["evaluation"]["env_runners"]
        assert evaluated["num_episodes"] == 9 and "success_mean" in evaluated
        before = kill_worker_and_train_on(algorithm)
        assert algorithm.env_steps() == before + 64
        mine = algorithm.learner_group._learner.networks.state_dict()
        theirs = algorithm.env_runner_group.foreach_env_runner(
            lambda worker: worker.policy.state_dict(), local_env_runner=False, timeout_seconds=60.0
        )[0]
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    finally:
        algorithm.stop()


@pytest.mark.slow
def test_tune_runs_it_by_name_to_a_number_of_steps(ray_session: Any, tmp_path: Path) -> None:
    rllib_ext.register()
    config = small("Beacon").training(window=tune.grid_search([0, None]))
    tuner = tune.Tuner(
        "ContrastiveComm", param_space=config,
        run_config=tune.RunConfig(
            stop={"env_runners/num_env_steps_sampled_lifetime": 200}, storage_path=str(tmp_path), verbose=0
        ),
    )  # fmt: skip
    results = tuner.fit()
    assert not results.errors and len(results) == 2
    for result in results:
        assert result.metrics["env_runners"]["num_env_steps_sampled_lifetime"] == 256
        assert "success_mean" in result.metrics["env_runners"]


def test_a_checkpoint_of_rllib_s_holds_weights_optimizer_and_steps(ray_session: Any, tmp_path: Path) -> None:
    first, second = small().build_algo(), small().build_algo()
    try:
        for _ in range(2):
            first.train()
        second.restore_from_path(first.save_to_path(str(tmp_path / "kept")))
        states = [algorithm.learner_group._learner.networks.state_dict() for algorithm in (first, second)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert second.env_steps() == first.env_steps() and second.iteration == 2
        moments = [
            a.learner_group._learner.get_optimizer("default_policy").state_dict()["state"]
            for a in (first, second)
        ]
        assert all(torch.equal(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[0])
        played = second.env_runner.policy.state_dict()
        assert all(torch.equal(states[0][name], played[name]) for name in played)
    finally:
        first.stop()
        second.stop()


def test_a_run_whose_workers_stay_silent_ends_as_stalled(ray_session: Any, monkeypatch: Any) -> None:
    algorithm = small().env_runners(sample_timeout_s=0.4).build_algo()
    try:
        algorithm.train()
        group = algorithm.env_runner_group
        answer = group.foreach_env_runner
        monkeypatch.setattr(group, "foreach_env_runner", lambda *args, **kwargs: [])
        assert algorithm.sample_round() == []  # dead ones answer nothing at once, and may be restarted
        monkeypatch.setattr(group, "foreach_env_runner", answer)
        assert len(algorithm.sample_round()) == 1
        monkeypatch.setattr(group, "foreach_env_runner", lambda *args, **kwargs: [])
        with pytest.raises(Stalled, match=r"answered for \d+ s .*sample_timeout_s=0.4"):
            for _ in range(9):
                algorithm.sample_round()
    finally:
        algorithm.stop()
