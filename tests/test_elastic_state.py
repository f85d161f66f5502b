"""Elastic Reset where learners and workers are processes of their own: tests 8, 9 and 10 of the battery, Tune, PBT."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from elastic_fixture import MODULE, built, cartpole, equal, learner_of, module_state
from ray import tune

from rllib_ext.elastic_reset import ElasticResetPPO, ElasticResetPPOConfig
from rllib_ext.functional.elastic import snapshot


@pytest.mark.fault("B8")
def test_08_a_checkpoint_in_the_middle_of_a_cycle_has_the_same_next_resets(ray_session, tmp_path) -> None:
    """Everything that decides the resets comes back: their iterations, their targets, the weight of the penalty.

    RLlib does not save its environments' and samplers' random states, so what is learnt from is fixed here.
    """
    settings = {
        "reset_every": 3,
        "ema_decay": 0.5,
        "kl_beta": 0.1,
        "kl_controller": "trl",
        "kl_beta_target": 9.0,
    }

    def moved(learner, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in learner.module[MODULE].unwrapped().parameters():
                parameter.add_(torch.randn(parameter.shape, generator=draw))
        learner.end_iteration(0)

    def next_resets(algorithm) -> list[dict[str, torch.Tensor]]:
        found = []
        for iteration in range(8, 14):
            moved(learner_of(algorithm), iteration)
            if algorithm.reset_if_due():
                found.append(snapshot(learner_of(algorithm).weights_of(MODULE)))
        return found

    with built(cartpole(**settings)) as algorithm:
        for _ in range(4):
            algorithm.train()
        algorithm.save_to_path(str(tmp_path))
        beta, first = learner_of(algorithm).penalties[MODULE].beta, learner_of(algorithm).elastic[MODULE].init
        expected = next_resets(algorithm)
    with built(cartpole(**settings).debugging(seed=77)) as resumed:
        resumed.restore_from_path(str(tmp_path))
        learner = learner_of(resumed)
        assert equal(learner.elastic[MODULE].init, first) and learner.penalties[MODULE].beta == beta != 0.1
        assert learner.elastic[MODULE].resets == 1
        found = next_resets(resumed)
    assert len(expected) == len(found) == 2
    assert all(equal(left, right) for left, right in zip(expected, found, strict=True))


def test_08_an_older_state_takes_weights_and_average_back_together(ray_session) -> None:
    """RLlib keeps newer weights when an older state is set; the average must not be parted from them."""
    with built(cartpole(reset_every=None, ema_decay=0.5)) as algorithm:
        learner = learner_of(algorithm)
        algorithm.train()
        old = learner.get_state()
        weights, average = module_state(learner), snapshot(learner.elastic[MODULE].ema)
        algorithm.train()
        learner.set_state(old)
        assert equal(module_state(learner), weights)
        assert equal(learner.elastic[MODULE].ema, average)


def test_09_workers_sample_with_the_reset_weights_at_once(ray_session) -> None:
    with built(cartpole(workers=1, reset_every=1, ema_decay=0.5, variant="reset_to_init")) as algorithm:
        learner = learner_of(algorithm)
        first = snapshot(learner.weights_of(MODULE))
        algorithm.train()
        serving = _worker_weights(algorithm)
        assert not all(torch.equal(torch.as_tensor(serving[n]), first[n]) for n in first)
        assert algorithm.reset_if_due()
        algorithm.push_weights()
        (episodes,) = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: (runner.sample(num_timesteps=8), runner._weights_seq_no),
            local_env_runner=False,
            timeout_seconds=60,
        )
        serving = _worker_weights(algorithm)
        assert all(torch.equal(torch.as_tensor(serving[n]), first[n]) for n in first)
        assert episodes[1] == learner._weights_seq_no


def _worker_weights(algorithm):
    (state,) = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.get_state(components="rl_module"), local_env_runner=False, timeout_seconds=60
    )
    return {name: np.array(value) for name, value in state["rl_module"].items()}


def test_10_two_learners_keep_one_average(ray_session) -> None:
    """Averages, initial weights, resets and the penalty's weight agree to the bit on both, and with the policy's."""
    settings = {"reset_every": 2, "ema_decay": 0.7, "ema_unit": "grad_steps"}
    settings |= {"kl_beta": 0.1, "kl_controller": "trl", "kl_beta_target": 9.0}
    with built(cartpole(learners=2, **settings)) as algorithm:
        results = [algorithm.train() for _ in range(3)]
        left, right = algorithm.on_learners(
            lambda learner, **_: (learner.elastic_state()[MODULE], learner.weights_of(MODULE))
        )
    assert [result["er"]["num_resets"] for result in results] == [0, 0, 1]
    assert equal(left[0]["ema"], right[0]["ema"]) and equal(left[0]["init"], right[0]["init"])
    assert equal(left[1], right[1])
    assert left[0]["counts"] == right[0]["counts"]
    assert left[0]["beta"] == right[0]["beta"] != 0.1
    assert not equal(left[0]["ema"], left[0]["init"])


@pytest.mark.slow
def test_population_based_training_copies_average_initial_weights_and_counters(ray_session, tmp_path) -> None:
    """After an exploit a trial goes on from the other's stores, under a period that was mutated.

    The exploit is done by hand, the way Tune does it: a new trainable of the mutated configuration restores the
    donor's checkpoint.
    """
    donor = ElasticResetPPO(config=cartpole(reset_every=4, ema_decay=0.5))
    for _ in range(3):
        donor.train()
    donor.save_checkpoint(str(tmp_path))
    given = donor.learner_group._learner.elastic_state()[MODULE]
    donor.stop()
    trial = ElasticResetPPO(config=cartpole(reset_every=2, ema_decay=0.9).debugging(seed=11))
    trial.load_checkpoint(str(tmp_path))
    learner = trial.learner_group._learner
    taken = learner.elastic_state()[MODULE]
    assert equal(taken["ema"], given["ema"]) and equal(taken["init"], given["init"])
    assert taken["counts"] == given["counts"]
    assert not learner.elastic[MODULE].due
    assert trial.train()["er"]["reset_due"] == 1
    trial.stop()


@pytest.mark.slow
def test_the_registered_name_trains_and_resets_in_tune(ray_session, tmp_path) -> None:
    import rllib_ext

    rllib_ext.register()
    space = cartpole(reset_every=2, ema_decay=0.5).to_dict() | {"seed": tune.grid_search([1])}
    tuner = tune.Tuner(
        "ElasticResetPPO",
        param_space=space,
        run_config=tune.RunConfig(storage_path=str(tmp_path), stop={"training_iteration": 3}, verbose=0),
    )
    (result,) = tuner.fit()
    assert result.error is None
    assert result.metrics["er"]["num_resets"] == 1


def test_the_config_of_the_readme_trains_and_resets(ray_session) -> None:
    """``ElasticResetPPOConfig().environment("CartPole-v1")``, sized for a test."""
    config = ElasticResetPPOConfig().environment("CartPole-v1").training(reset_every=1)
    config.env_runners(num_env_runners=0).training(train_batch_size_per_learner=128, num_epochs=1)
    with built(config) as algorithm:
        results = [algorithm.train() for _ in range(2)]
    assert results[1]["er"]["num_resets"] == 1
    assert results[1]["learners"][MODULE]["er"]["num_resets"] == 1
