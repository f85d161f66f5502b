"""Elastic Reset on RLlib's PPO, one learner in the test's own process: tests 2, 3, 6, 7, 11 and 12 of the battery."""

from __future__ import annotations

import pytest
import torch
from elastic_fixture import MODULE, built, cartpole, equal, learner_of, module_state
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns

from rllib_ext.elastic_reset import ElasticResetPPOConfig
from rllib_ext.elastic_reset.reference_kl import ReferenceKLPenalty, reference_logps
from rllib_ext.errors import BadConfig, RllibExtError
from rllib_ext.functional.elastic import assign_, snapshot


def trained(config, iterations: int) -> dict[str, torch.Tensor]:
    with built(config) as algorithm:
        for _ in range(iterations):
            algorithm.train()
        return module_state(learner_of(algorithm))


@pytest.fixture(scope="module")
def base(ray_session):
    """Weights after three iterations of RLlib's own PPO."""
    return trained(cartpole(PPOConfig), 3)


def test_02_without_resets_the_trajectory_is_that_of_the_base_algorithm(base) -> None:
    assert equal(trained(cartpole(reset_every=None, ema_unit="grad_steps"), 3), base)


def test_a_reset_leaves_that_trajectory(base) -> None:
    """The same comparison, where it must fail: the check above can tell the two apart."""
    assert not equal(trained(cartpole(reset_every=2, ema_decay=0.5), 3), base)


def test_03_04_06_a_reset_puts_back_the_policy_and_nothing_else(ray_session) -> None:
    with built(cartpole(reset_every=2, ema_decay=0.5, kl_beta=0.01)) as algorithm:
        learner = learner_of(algorithm)
        elastic, first = learner.elastic[MODULE], module_state(learner)
        seen = []
        for _ in range(2):
            algorithm.train()
            seen.append(snapshot(learner.weights_of(MODULE)))
        named = {name: first[name] for name in elastic.init}
        average = {n: 0.25 * named[n] + 0.25 * seen[0][n] + 0.5 * seen[1][n] for n in named}
        torch.testing.assert_close(elastic.ema, average)
        before, kept = module_state(learner), snapshot(elastic.ema)
        moments = learner.get_optimizer(MODULE).state_dict()
        exact = {
            k: v.clone()
            for p, s in moments["state"].items()
            for k, v in ((f"{p}.{n}", t) for n, t in s.items())
        }
        beta = learner.penalties[MODULE].beta
        assert algorithm.reset_if_due() and not algorithm.reset_if_due()
        after = module_state(learner)
        assert equal(snapshot(learner.weights_of(MODULE)), kept)
        assert equal(elastic.ema, named) and equal(elastic.init, named)
        critic = [name for name in after if name not in named]
        assert critic and all("critic" in name or name.startswith("vf.") for name in critic)
        assert all(torch.equal(after[name], before[name]) for name in critic)
        moments = learner.get_optimizer(MODULE).state_dict()
        again = {
            k: v for p, s in moments["state"].items() for k, v in ((f"{p}.{n}", t) for n, t in s.items())
        }
        assert equal(again, exact) and exact
        assert learner.penalties[MODULE].beta == beta


def test_06_switches_reset_optimizer_and_critic(ray_session) -> None:
    with built(cartpole(reset_every=1, reset_optimizer=True, reset_critic=True)) as algorithm:
        learner = learner_of(algorithm)
        first = module_state(learner)
        algorithm.train()
        moved = module_state(learner)
        algorithm.reset_if_due()
        after = module_state(learner)
        critic = [name for name in after if name not in learner.elastic[MODULE].init]
        assert all(torch.equal(after[name], first[name]) for name in critic)
        assert not all(torch.equal(moved[name], first[name]) for name in critic)
        assert not learner.get_optimizer(MODULE).state
        algorithm.train()  # the optimizer starts anew


def test_07_only_parameters_that_the_filter_finds_take_part(ray_session) -> None:
    with built(cartpole(reset_every=1, param_filter="^pi", variant="reset_to_init")) as algorithm:
        learner = learner_of(algorithm)
        first = module_state(learner)
        algorithm.train()
        moved = module_state(learner)
        algorithm.reset_if_due()
        after = module_state(learner)
        for name in after:
            assert torch.equal(after[name], first[name] if name.startswith("pi") else moved[name])


def some_columns(learner, module) -> dict:
    observations = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    actions = torch.tensor([0, 1, 1, 0, 1, 0])
    logits = module.forward_train({Columns.OBS: observations})[Columns.ACTION_DIST_INPUTS].detach()
    logps = torch.log_softmax(logits, -1).gather(1, actions[:, None])[:, 0]
    mask = torch.tensor([True, True, False, True, True, False])
    return {
        Columns.OBS: observations, Columns.ACTIONS: actions, Columns.ACTION_LOGP: logps,
        Columns.REWARDS: torch.ones(6), Columns.LOSS_MASK: mask,
    }  # fmt: skip


class _Episode:
    module_id = None


@pytest.mark.parametrize("anchor", ["init", "ema"])
def test_11_the_penalty_is_measured_from_its_anchor(ray_session, monkeypatch, anchor) -> None:
    """After reset_to_ema online and average are one: no penalty from it. From init it is the KL to the first weights."""
    settings = {
        "variant": "reset_to_ema",
        "ema_decay": 0.5,
        "reset_every": 2,
        "kl_beta": 0.3,
        "kl_anchor": anchor,
    }
    with built(cartpole(**settings)) as algorithm:
        learner = learner_of(algorithm)
        module = learner.module[MODULE].unwrapped()
        first = snapshot(learner.weights_of(MODULE))
        for _ in range(2):
            algorithm.train()
        algorithm.reset_if_due()
        columns = some_columns(learner, module)
        online = module_state(learner)
        kl = columns[Columns.ACTION_LOGP] - reference_logps(learner, MODULE, module, columns)
        assert equal(module_state(learner), online), "the anchor's weights are taken off again, to the bit"
        piece = ReferenceKLPenalty(learner)
        monkeypatch.setattr(piece, "single_agent_episode_iterator", lambda *_, **__: [_Episode(), _Episode()])
        piece(rl_module=learner.module, batch={MODULE: columns}, episodes=[])
        lost = 1 - columns[Columns.REWARDS]
        if anchor == "ema":
            assert torch.equal(lost, torch.zeros(6))
            return
        assign_(learner.weights_of(MODULE), first)
        expected = columns[Columns.ACTION_LOGP] - some_columns(learner, module)[Columns.ACTION_LOGP]
        torch.testing.assert_close(kl, expected)
        assert kl.abs().max() > 1e-4
        torch.testing.assert_close(lost, torch.where(columns[Columns.LOSS_MASK], 0.3 * expected, 0.0))
        penalty = learner.penalties[MODULE]
        penalty.end_iteration(learner.config)
        assert penalty.measured["kl_episode"] == pytest.approx(2 * penalty.measured["kl_step"])


def test_11_elastic_reset_leaves_both_anchors_equal(ray_session) -> None:
    """Right after a reset the average IS the initial weights, so both anchors give one penalty."""
    with built(cartpole(ema_decay=0.5, reset_every=1, kl_beta=0.3, kl_anchor="ema")) as algorithm:
        learner = learner_of(algorithm)
        module = learner.module[MODULE].unwrapped()
        algorithm.train()
        columns = some_columns(learner, module)
        apart = reference_logps(learner, MODULE, module, columns)
        algorithm.reset_if_due()
        from_ema = reference_logps(learner, MODULE, module, columns)
        learner.config.kl_anchor = "init"
        assert torch.equal(from_ema, reference_logps(learner, MODULE, module, columns))
        assert not torch.equal(from_ema, apart)


def test_12_the_controller_moves_beta_once_an_iteration(ray_session) -> None:
    settings = {"kl_beta": 0.1, "kl_controller": "rl4lms", "kl_beta_target": 5.0, "reset_every": None}
    with built(cartpole(**settings)) as algorithm:
        betas = [algorithm.train()["er"]["kl_beta"] for _ in range(2)]
    assert betas == pytest.approx([0.1 * 0.98, 0.1 * 0.98**2])  # far below the target: 2 % down each


def test_units_are_counted_as_they_pass(ray_session) -> None:
    with built(cartpole(ema_unit="inner_epoch", reset_unit="env_steps", reset_every=100)) as algorithm:
        results = [algorithm.train() for _ in range(3)]
        elastic = learner_of(algorithm).elastic[MODULE]
    assert elastic.counts["iteration"] == 3
    assert elastic.counts["inner_epoch"] == 6
    assert elastic.counts["env_steps"] == results[-1]["num_env_steps_sampled_lifetime"]
    assert elastic.counts["grad_steps"] >= 12
    assert results[1]["er"]["reset_due"] == 1 and results[2]["er"]["num_resets"] == 1
    assert results[1]["er"]["init_weight_fraction"] == pytest.approx(0.995**4)


def test_evaluations_and_exports_use_the_weights_that_are_asked_for(ray_session) -> None:
    config = cartpole(variant="ema_only", ema_decay=0.5, export="ema").evaluation(
        evaluation_interval=None, evaluation_num_env_runners=0, evaluation_duration=1
    )
    with built(config) as algorithm:
        algorithm.train()
        learner = learner_of(algorithm)
        online, served = module_state(learner), {}
        worker = algorithm.env_runner
        original = worker.sample

        def sample(**arguments):
            served.update({n: t.clone() for n, t in worker.module.state_dict().items()})
            return original(**arguments)

        worker.sample = sample
        algorithm.evaluate()
        elastic = learner.elastic[MODULE]
        assert all(torch.equal(served[name], elastic.ema[name]) for name in elastic.ema)
        assert equal(module_state(learner), online)
        assert equal(
            {n: t for n, t in worker.module.state_dict().items() if n in elastic.ema},
            {n: t for n, t in online.items() if n in elastic.ema},
        ), "training goes on with the online weights"
        exported = algorithm.exported_weights()[MODULE]
        assert all(torch.equal(torch.as_tensor(exported[name]), elastic.ema[name]) for name in elastic.ema)
        assert equal(module_state(learner), online)


def test_the_best_weights_before_a_reset_are_kept_for_the_export(ray_session) -> None:
    with built(cartpole(reset_every=1, export="best_pre_reset")) as algorithm:
        learner = learner_of(algorithm)
        kept = []
        for score in (1.0, 5.0, 3.0):
            learner.end_iteration(0)
            with torch.no_grad():
                learner.module[MODULE].unwrapped().pi.net.mlp[0].bias.fill_(score)
            kept.append(snapshot(learner.weights_of(MODULE)))
            learner.reset_if_due(score)
        exported = algorithm.exported_weights()[MODULE]
        assert all(torch.equal(torch.as_tensor(exported[name]), kept[1][name]) for name in kept[1])


def test_wrong_settings_say_what_to_do() -> None:
    with pytest.raises(RllibExtError, match=r"reset_evry.*Did you mean 'reset_every'"):
        ElasticResetPPOConfig().training(reset_evry=3)
    with pytest.raises(BadConfig, match=r"ema_decay is 1\.5; it must be a number in"):
        ElasticResetPPOConfig().training(ema_decay=1.5)
    for settings, message in (
        ({"kl_controller": "trl"}, "set kl_beta_target"),
        ({"variant": "none", "kl_anchor": "ema"}, "variant='none' keeps no average"),
        ({"variant": "reset_to_init", "reset_ema_to": "none"}, "leave reset_ema_to at None"),
        ({"param_filter": "("}, "no regular expression"),
        ({"skip_last_reset_within": 3}, "without a run_length"),
    ):
        with pytest.raises(BadConfig, match=message):
            cartpole(**settings).validate()
    with pytest.raises(BadConfig, match="use ElasticResetAsyncPPO"):
        ElasticResetPPOConfig().environment("TLDR").validate()
    with pytest.raises(RllibExtError, match="'elastic_reset'"):
        ElasticResetPPOConfig().preset("elastic_rest")


def test_no_knob_takes_a_name_that_rllib_has_given_away() -> None:
    assert [name for name in ElasticResetPPOConfig.knobs if hasattr(PPOConfig(), name)] == []


def test_every_preset_is_a_valid_config() -> None:
    from rllib_ext.elastic_reset import PRESETS
    from rllib_ext.elastic_reset.settings import elastic_settings

    variants = {name: elastic_settings(cartpole().preset(name, kl_beta=0.02)).variant for name in PRESETS}
    assert variants["kl_penalty"] == "none" and variants["elastic_reset_both"] == "elastic_reset"
    assert set(variants.values()) == {"none", "ema_only", "reset_to_init", "reset_to_ema", "elastic_reset"}
