"""SGIRainbow as an RLlib algorithm: exact counts, resuming to the bit, evaluation, Tune, workers of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sgi_fixture import pretrained_folder, small

import rllib_ext
from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.functional.rainbow import annealed_discount, annealed_steps
from rllib_ext.runtime import rllib_state
from rllib_ext.sgi.rainbow import schedules
from rllib_ext.sgi.rainbow.persistence import OWN


@pytest.fixture(autouse=True)
def registered(ray_session: Any) -> None:
    rllib_ext.register()


def weights(algorithm: Any) -> dict[str, torch.Tensor]:
    module = algorithm.learner_group._learner.module["default_policy"].unwrapped()
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(left: Any, right: Any) -> bool:
    ours, theirs = weights(left), weights(right)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def same_replay(left: Any, right: Any) -> bool:
    ours, theirs = left.buffers[0].state(), right.buffers[0].state()
    arrays = all(np.array_equal(array, theirs[0][name]) for name, array in ours[0].items())
    return arrays and ours[1] == theirs[1]


@pytest.mark.parametrize(("each", "copies"), [(1, 1), (3, 2)])
def test_updates_are_exactly_so_many_a_step(each: int, copies: int) -> None:
    algorithm = small(updates_per_step=each, copies=copies).build_algo()
    algorithm.train()
    result = algorithm.train()
    assert (algorithm.steps, algorithm.updates) == (80, each * (80 - 30))
    assert algorithm.on_learners(lambda learner, **_: learner.gradient_steps) == [each * 50]
    learned = result["learners"]["default_policy"]
    assert {"c51_loss", "spr_loss", "priority_mean", "gradient_norm"} <= set(learned)
    assert 0 < learned["spr_loss"] < 4 and learned["c51_loss"] > 0
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 80
    values = algorithm.buffers[0].tree.values()
    assert len({round(float(value), 6) for value in values[values > 0]}) > 3  # priorities came back
    algorithm.stop()


@pytest.mark.parametrize("way", ["package", "rllib"])
def test_a_resumed_run_is_the_run_to_the_bit(way: str, tmp_path: Any) -> None:
    config = small("Atari100k/Breakout", copies=2, target_tau=0.5, reset_every=25)
    straight = config.copy(copy_frozen=False).build_algo()
    for _ in range(2):
        straight.train()
    if way == "package":
        rllib_state.save(straight, tmp_path / "kept", OWN)
    else:
        straight.save_to_path(str(tmp_path / "kept"))
    resumed = config.copy(copy_frozen=False).build_algo()
    if way == "package":
        rllib_state.restore(resumed, tmp_path / "kept", OWN)
    else:
        resumed.restore_from_path(str(tmp_path / "kept"))
    assert resumed.iteration == 2 and same(straight, resumed) and same_replay(straight, resumed)
    for algorithm in (straight, resumed):
        algorithm.train()
    assert straight.updates == resumed.updates == 90
    assert same_replay(straight, resumed)
    assert same(straight, resumed)
    straight.stop(), resumed.stop()


def test_without_its_replay_a_run_goes_on_with_an_empty_one(tmp_path: Any) -> None:
    config = small(checkpoint_replay=False)
    first, second = config.copy(copy_frozen=False).build_algo(), config.copy(copy_frozen=False).build_algo()
    first.train()
    path = rllib_state.save(first, tmp_path, OWN)
    assert not (path / "replay.safetensors").exists()
    rllib_state.restore(second, tmp_path, OWN)
    second.train()
    assert (second.steps, second.updates, len(second.buffers[0])) == (80, 50, 40)
    first.stop(), second.stop()


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Any) -> None:
    first = small().build_algo()
    rllib_state.save(first, tmp_path, OWN)
    other = small(replay_capacity=300).build_algo()
    with pytest.raises(CheckpointCorrupt, match="replay has length=400"):
        rllib_state.restore(other, tmp_path, OWN)
    first.stop(), other.stop()


def test_an_evaluation_plays_every_copy_once_from_its_start(tmp_path: Any) -> None:
    folder, _ = pretrained_folder(tmp_path / "p", encoder="M", actions=18)
    config = small("Atari100k/Boxing", encoder=None, hidden=None).from_pretrained(folder)
    config = config.environment(env_config={"max_frames": 400})
    config.evaluation(evaluation_interval=1, evaluation_duration=3).training(steps_per_iteration=10)
    algorithm = config.build_algo()
    found = algorithm.train()["evaluation"]["env_runners"]
    assert found["num_episodes"] == 3 and found["episode_len_mean"] == pytest.approx(100, abs=8)
    algorithm.stop()


def test_workers_of_their_own_fill_a_buffer_each_and_get_the_weights() -> None:
    config = small(copies=2, rollout_steps=5, steps_per_iteration=40, learning_starts=60)
    algorithm = config.env_runners(num_env_runners=1, num_cpus_per_env_runner=1).build_algo()
    for _ in range(2):
        algorithm.train()
    assert (algorithm.steps, algorithm.updates, len(algorithm.buffers)) == (80, 20, 1)
    (there,) = algorithm.env_runner_group.foreach_env_runner(
        lambda worker: worker.policy.state_dict(), local_env_runner=False, timeout_seconds=60
    )
    ours = weights(algorithm)
    assert there and all(torch.equal(tensor, ours[name]) for name, tensor in there.items())
    algorithm.stop()


@pytest.mark.slow
def test_tune_knows_it_by_name(tmp_path: Any) -> None:
    from ray import tune

    space = {**small().to_dict(), "env": "Atari100k/Pong", "n_step": tune.grid_search([2, 4])}
    results = tune.Tuner(
        "SGIRainbow", param_space=space, run_config=tune.RunConfig(
            stop={"training_iteration": 1}, storage_path=str(tmp_path), verbose=0, name="t",
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True)),
    ).fit()  # fmt: skip
    assert results.num_errors == 0
    assert {result.config["n_step"] for result in results} == {2, 4}
    assert all(result.metrics["num_env_steps_sampled_lifetime"] == 40 for result in results)


# ----- schedules


def test_horizons_anneal_after_every_reset() -> None:
    config = small(
        n_step=10, n_step_last=3, gamma=0.97, gamma_last=0.997, anneal_updates=100, reset_every=1000
    )
    assert schedules.horizon(config, 0) == (10, 0.97)
    steps, gamma = schedules.horizon(config, 100)
    assert steps == 3 and gamma == pytest.approx(0.997)
    assert schedules.horizon(config, 999) == schedules.horizon(config, 100)
    assert schedules.horizon(config, 1000) == (10, 0.97)
    steps, gamma = schedules.horizon(config, 50)
    assert steps == round(30**0.5) and gamma == pytest.approx(1 - (0.03 * 0.003) ** 0.5)
    assert annealed_steps(5, 5, 0.7) == 5 and annealed_discount(1.0, 1.0, 0.5) == 1.0


def test_importance_and_updates_due() -> None:
    config = small(updates_per_step=2, learning_starts=10, importance_steps=100)
    assert [schedules.updates_due(config, steps) for steps in (0, 10, 11, 20)] == [0, 0, 2, 20]
    assert [schedules.importance(config, steps) for steps in (0, 50, 100, 999)] == pytest.approx(
        [0.4, 0.7, 1, 1]
    )
