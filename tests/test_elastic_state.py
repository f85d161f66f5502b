"""Elastic Reset where learners and workers are processes of their own: tests 8, 9 and 10 of the battery, Tune, PBT."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from elastic_fixture import MODULE, built, cartpole, equal, learner_of, module_state
from population_fixture import Watched, told
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

from rllib_ext.elastic_reset import ElasticResetPPOConfig
from rllib_ext.functional.elastic import snapshot
from rllib_ext.runtime.run_folder import read_jsonl


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
    """Tune's own scheduler, two trials: after the exploit the worse one goes on from the donor's stores and counters,
    under the learning rate and the weight of the penalty that were mutated, from its very next update on.

    What the donor gave is read from its checkpoint's file, not through what restores it.
    """
    mutations = {"lr": lambda: 0.004, "kl_beta": lambda: 0.25}
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration", metric="score", mode="max", perturbation_interval=3, quantile_fraction=0.5,
        resample_probability=1.0, hyperparam_mutations=mutations, synch=True,
    )  # fmt: skip
    config = cartpole(reset_every=2, ema_decay=0.5, kl_beta=0.1)
    tuner = tune.Tuner(
        Watched,
        param_space=config.to_dict() | {"seed": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=str(tmp_path), stop={"training_iteration": 4}, verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    rows = {result.path: read_jsonl(Path(result.path) / "result.json") for result in results}
    (worse,) = (path for path, found in rows.items() if found[0]["score"] == 1)
    (donor,) = rows.keys() - {worse}
    last = rows[worse][-1]
    assert (last["score"], last["taken"]["lr"], last["taken"]["beta"]) == (2, [0.004], 0.25)
    (file,) = Path(donor).glob("checkpoint_000000/learner_group/learner/state.pkl")
    state = pickle.loads(file.read_bytes())
    assert state["optimizer"][f"{MODULE}_default_optimizer"]["state"]["param_groups"][0]["lr"] == 0.01
    given = told(state["elastic_reset"][MODULE])
    assert given.pop("beta") == 0.1 and given["counts"]["resets"] == 1
    assert {name: last["taken"][name] for name in given} == given
    assert given["init"] != given["ema"] != last["taken"]["online"]
    assert (last["er"]["num_resets"], last["er"]["ticks_since_reset"]) == (1, 2)
    assert last["learners"][MODULE]["default_optimizer_learning_rate"] == 0.004


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
