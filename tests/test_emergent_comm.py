"""EmergentComm as an RLlib algorithm: runs, checkpoints, refusals, and what the circle's agents learn (C.5 21, 23)."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import rllib_ext
from rllib_ext import EmergentCommConfig
from rllib_ext.emergent_comm.config import AGENTS
from rllib_ext.emergent_comm.persistence import OWN
from rllib_ext.errors import BadConfig, NonFinite
from rllib_ext.runtime import rllib_state
from tuned_configs._emergent_settings import BIASES, EPOCHS, LAST, best

CIRCLE = {
    "sender_lr": 4.989e-3,
    "receiver_lr": 3.39e-3,
    "sender_hidden": 38,
    "receiver_hidden": 56,
    "sender_entropy_coeff": 0.697,
}  # fmt: skip  (B.3, bias 0)


@pytest.fixture(autouse=True)
def registered() -> None:
    rllib_ext.register()


def config_of(env: str, env_config: dict[str, Any] | None = None, **settings: Any) -> EmergentCommConfig:
    config = EmergentCommConfig().environment(env, env_config=env_config or {})
    return config.training(**settings).debugging(seed=0)


def test_23_with_one_interest_they_come_to_understand_each_other(ray_session: ModuleType) -> None:
    """Bias 0: the sum is at most 45 within 10 epochs of 250 updates, and (21) shuffled messages are worth nothing."""
    algorithm = config_of("SenderReceiver", {"bias": 0.0}, **CIRCLE).build_algo()
    try:
        for _ in range(10):
            found = algorithm.train()["protocol"]
    finally:
        algorithm.stop()
    assert found["loss_sum"] <= 45 and found["communication"] == 1.0
    assert found["shuffled_receiver_loss"] == pytest.approx(90.0, abs=2.0)
    assert found["sender_loss"] == pytest.approx(found["receiver_loss"], abs=1e-3)
    assert 1.5 < found["mutual_information"] < 7


def test_23_with_opposed_interests_the_sum_is_constant(ray_session: ModuleType) -> None:
    algorithm = config_of("SenderReceiver", {"bias": 180.0}, updates_per_iteration=50).build_algo()
    try:
        found = algorithm.train()
    finally:
        algorithm.stop()
    assert found["protocol"]["loss_sum"] == pytest.approx(180.0, abs=0.5)
    assert found["num_env_steps_sampled_lifetime"] == 2 * 50 * 64 == 2 * found["games_lifetime"]
    assert found["env_runners"]["episode_return_mean"] == pytest.approx(-2.0, abs=1e-2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_23_the_curve_of_cooperation_rises_with_the_bias(ray_session: ModuleType) -> None:
    """Published settings of each bias, one seed: the sum at 90 degrees lies in [115, 150], and the curve never falls by
    more than 8 degrees from one bias to the next (E.2).
    """
    sums = {}
    for bias in BIASES:
        settings, game = best("discrete", bias)
        algorithm = config_of("SenderReceiver", game, **settings).build_algo()
        try:
            curve = [algorithm.train()["protocol"]["loss_sum"] for _ in range(EPOCHS)]
        finally:
            algorithm.stop()
        sums[bias] = sum(curve[-LAST:]) / LAST
    assert sums[0] <= 45 and 115 <= sums[90] <= 150 and sums[180] == pytest.approx(180.0, abs=0.5), sums
    values = list(sums.values())
    assert all(later > earlier - 8 for earlier, later in itertools.pairwise(values)), sums


@pytest.mark.parametrize(
    ("env", "env_config", "settings"),
    [
        ("SenderReceiver", {"bias": 60.0}, {"updates_per_iteration": 20, "lola": "both", "switch_after": 1}),
        ("SenderReceiver", {"bias": 60.0, "channel": "continuous"}, {"updates_per_iteration": 20}),
        (
            "Negotiation",
            {"channels": "both", "speech": "masked"},
            {"updates_per_iteration": 3, "encoder": "mlp"},
        ),
    ],
)
def test_a_run_that_is_gone_on_with_is_the_run_that_never_stopped(
    ray_session: ModuleType, tmp_path: Path, env: str, env_config: dict[str, Any], settings: dict[str, Any]
) -> None:
    config = config_of(env, env_config, **settings)
    whole, gone_on = config.build_algo(), config.copy().build_algo()
    try:
        whole.train()
        rllib_state.save(whole, tmp_path, OWN)
        after = whole.train()
        rllib_state.restore(gone_on, tmp_path, OWN)
        again = gone_on.train()
        assert again["training_iteration"] == 2 and again["num_updates_lifetime"] == 2 * config.updates
        assert again["protocol"] == after["protocol"]
        for one, other in zip(_weights(whole), _weights(gone_on), strict=True):
            assert torch.equal(one, other)
    finally:
        whole.stop()
        gone_on.stop()


def _weights(algorithm: Any) -> list[torch.Tensor]:
    modules = algorithm.on_learners(lambda learner, **_: learner.module)[0]
    return [value for name in sorted(modules.keys()) for value in modules[name].state_dict().values()]


@pytest.mark.parametrize("env", AGENTS)
def test_modules_are_made_in_one_order_so_that_a_seed_gives_the_same_weights_in_every_process(env: str) -> None:
    """The order of a set of names differs between processes (PYTHONHASHSEED)."""
    config = config_of(env)
    config.validate()
    assert not isinstance(config.policies, set) and tuple(config.policies) == AGENTS[env]


def test_a_bias_that_is_switched_and_what_drifts(ray_session: ModuleType) -> None:
    """Without rates nothing drifts, and the switched bias alone moves the receiver's loss; with rates both move."""
    still = config_of("SenderReceiver", {"bias": 180.0}, sender_lr=0.0, receiver_lr=0.0, updates_per_iteration=2,
                      switch_after=1, switch_bias=0.0).build_algo()  # fmt: skip
    moving = config_of("SenderReceiver", {"bias": 0.0}, **CIRCLE, updates_per_iteration=100).build_algo()
    try:
        before, after = (dict(still.train()["protocol"]) for _ in range(2))
        drifted = [dict(moving.train()["protocol"]) for _ in range(2)]
    finally:
        still.stop()
        moving.stop()
    assert before["drift"] == after["drift"] == after["drift_initial"] == 0.0
    assert before["sender_loss"] == after["sender_loss"] == after["receiver_loss"] != before["receiver_loss"]
    assert drifted[0]["drift"] == drifted[0]["drift_initial"] > 0.01  # bits
    assert drifted[1]["drift_initial"] > drifted[1]["drift"] > 0.0


@pytest.mark.parametrize("env", ["SenderReceiver", "Negotiation"])
def test_both_play_in_rllib_s_evaluation(ray_session: ModuleType, env: str) -> None:
    config = config_of(env, updates_per_iteration=2, encoder="mlp")
    config.evaluation(evaluation_interval=1, evaluation_duration=4)
    algorithm = config.build_algo()
    try:
        found = algorithm.train()["evaluation"]["env_runners"]
    finally:
        algorithm.stop()
    assert found["num_episodes"] == 4 and len(found["agent_episode_returns_mean"]) == 2


def test_ppo_for_both(ray_session: ModuleType) -> None:
    config = config_of("SenderReceiver", {"bias": 30.0}, mode="ppo", train_batch_size_per_learner=256, minibatch_size=128,
                       num_epochs=1)  # fmt: skip
    algorithm = config.build_algo()
    try:
        found = algorithm.train()
        steps = algorithm.on_learners(lambda learner, **_: learner.gradient_steps)[0]
    finally:
        algorithm.stop()
    assert set(found["learners"]) >= {"sender_0", "receiver_0"} and steps >= 2


@pytest.mark.parametrize(
    ("env", "env_config", "settings", "words"),
    [
        ("Beacon", {}, {}, "EmergentComm plays SenderReceiver, Negotiation, not 'Beacon'"),
        ("SenderReceiver", {"channel": "continuous"}, {"lola": "sender"}, "lola is 'sender'"),
        ("Negotiation", {}, {"lola": "sender"}, "lola is 'sender'"),
        ("SenderReceiver", {}, {"mode": "ppo", "lola": "both"}, "lola is 'both'"),
        ("Negotiation", {}, {"switch_after": 2}, "switch_after is 2"),
        ("SenderReceiver", {}, {"switch_bias": 200.0}, r"switch_bias is 200\.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(env: str, env_config: dict, settings: dict, words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        config_of(env, env_config, **settings).validate()


def test_a_rate_that_breaks_the_objective_ends_the_run(ray_session: ModuleType) -> None:
    algorithm = config_of("SenderReceiver", updates_per_iteration=50).build_algo()
    try:
        algorithm.on_learners(_break)
        with pytest.raises(NonFinite, match=r"lower sender_lr, receiver_lr"):
            algorithm.train()
    finally:
        algorithm.stop()


def _break(learner: Any, **_: Any) -> None:
    with torch.no_grad():
        next(learner.receiver.parameters()).fill_(float("nan"))
