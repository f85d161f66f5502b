"""PPO's part of "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031): one test a detail, by its number.

docs/n_plus_ppo.md is the table of them. Rewards, masks and whitening are in test_n_plus_ppo_targets.py, whole runs in
test_engine_ppo.py.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from local_learner import same, slow_logps, update, weights_of
from ppo_fixture import (
    NEW_TOKENS,
    TEMPERATURE,
    answer,
    group,
    groups_for,
    once,
    ppo_learner,
    sampled_by,
    save_models,
)

from envs.text import Sample, Task
from rllib_ext.functional.masking import masked_mean, masked_var
from rllib_ext.llm.algorithm import LLMAlgorithm
from rllib_ext.llm.batch import to_columns
from rllib_ext.llm.conversation import Turn
from rllib_ext.llm.engine import Sampling
from rllib_ext.llm.engine_hf import HFEngine
from rllib_ext.llm.ledger import PromptLedger
from rllib_ext.llm.publishing import to_tensors
from rllib_ext.llm.rewards import RewardModel
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.scoring import settle_missing_eos
from rllib_ext.ppo_llm.config import AsyncPPOConfig
from rllib_ext.ppo_llm.learner import PPOLearner
from rllib_ext.runtime.seeding import SeedTree

BETA = 0.05


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


# ----- models


def test_n_plus_07_dropout_off(models: tuple[str, str], tmp_path: Path) -> None:
    """A model whose config asks for dropout has none in policy, reference and critic, in training mode too."""
    import json
    import shutil

    folders = [
        str(shutil.copytree(folder, tmp_path / name)) for folder, name in zip(models, "pr", strict=True)
    ]
    for folder in folders:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "attention_dropout": 0.5}))
    learner = ppo_learner((folders[0], folders[1]), moved=0.0)
    module = learner.language_module
    for part in (module.model, module.critic, learner.reference):
        assert part.config.attention_dropout == 0.0
        assert all(m.p == 0 for m in part.modules() if isinstance(m, torch.nn.Dropout))
    batch = to_tensors(to_columns(groups_for(learner)), "cpu")
    module.train()
    first, second = (module.forward_train(batch) for _ in range(2))
    assert torch.equal(first["logps"], second["logps"]) and torch.equal(first["values"], second["values"])


def test_n_plus_12_scores_are_read_at_the_last_token_that_is_no_padding(models: tuple[str, str]) -> None:
    """In a batch of different lengths, padded left and right, V_L is the head at the last real token of each."""
    learner = ppo_learner(models)
    critic, groups = learner.language_module.critic, groups_for(learner, rows=4)
    with torch.no_grad():
        values = learner.language_module.values(to_tensors(to_columns(groups, multiple=32), "cpu"))
        for row, g in enumerate(groups):
            for k, c in enumerate(g.completions):
                ids = torch.as_tensor(np.concatenate([g.prompt_ids, c.ids]))[None]
                last = critic.score(critic.base_model(input_ids=ids).last_hidden_state[0, -1])
                assert float(values[row, k, len(c.ids)]) == pytest.approx(float(last), abs=1e-5)


@pytest.mark.parametrize("width", [8, 16, 32])
def test_n_plus_14_left_padding_changes_no_value(models: tuple[str, str], width: int) -> None:
    """The paper's scores differ with the padding's side (its positions are not corrected); these do not."""
    learner = ppo_learner(models)
    groups = groups_for(learner, rows=3)
    narrow = to_tensors(to_columns(groups, multiple=1), "cpu")
    wide = to_tensors(to_columns(groups, multiple=width), "cpu")
    with torch.no_grad():
        values = [learner.language_module.values(columns) for columns in (narrow, wide)]
    columns = values[0].shape[-1]
    inside = narrow["token_mask"] > 0
    assert (values[0] - values[1][..., :columns])[inside].abs().max() < 1e-5


def test_n_plus_15_the_normalisation_bias_comes_with_the_critic(models: tuple[str, str]) -> None:
    critic = ppo_learner(models, moved=0.0).language_module.critic
    assert critic.score.bias.item() == 0.25
    critic = ppo_learner(models, moved=0.0, value_model=None).language_module.critic
    assert critic.score.bias.item() == 0.0


def test_n_plus_22_critic_from_reward_model(models: tuple[str, str]) -> None:
    """All weights, head and bias; separate from the policy; one optimizer holds both."""
    learner = ppo_learner(models, moved=0.0)
    module = learner.language_module
    reward = RewardModel(models[1])
    reward.score([Sample(Task("t", "copy: w1"), "w1", ("w1",))])
    assert same(dict(module.critic.state_dict()), dict(reward._opened[0].state_dict()))
    policy, critic = ({id(p) for p in part.parameters()} for part in (module.model, module.critic))
    held = [{id(p) for p in g["params"]} for g in learner.optimizer.param_groups]
    assert held == [policy, critic] and not policy & critic and len(learner._named_optimizers) == 1
    before = weights_of(learner)
    update(learner, groups_for(learner))
    moved = {
        name.split(".")[0] for name, t in weights_of(learner).items() if not torch.equal(t, before[name])
    }
    assert moved == {"model", "critic"}


# ----- prompts, sampling, seeds


def test_n_plus_21_prompts_are_shuffled_and_come_once_an_epoch() -> None:
    ledger = PromptLedger(num_prompts=10, prompts_per_round=4, seed=3)
    stream = [prompt for number in range(10) for prompt in ledger.prompts(number)]
    assert Counter(stream) == {(epoch, index): 1 for epoch in range(4) for index in range(10)}
    orders = [[index for e, index in stream if e == epoch] for epoch in range(4)]
    assert len(set(map(tuple, orders))) == 4 and sorted(orders[0]) != orders[0]


def test_n_plus_23_eos_trick_1_a_completion_ends_at_its_first_eos_or_at_the_response_length(
    models: tuple[str, str],
) -> None:
    """The engine stops there; the paper writes on and replaces what follows. What is learnt from is the same."""
    engine = HFEngine(models[0], context_length=16)
    eos = (3, 17, 29)  # several, so that many completions end early
    (written,) = engine.generate([[1, 2, 3]], Sampling(1.0, NEW_TOKENS, 64, 0, eos))
    ends = [[position for position, token in enumerate(one.token_ids) if token in eos] for one in written]
    for one, at in zip(written, ends, strict=True):
        assert at == ([len(one.token_ids) - 1] if one.finished else [])
        assert one.finished or len(one.token_ids) == NEW_TOKENS
    assert {one.finished for one in written} == {True, False}


def test_n_plus_23_eos_trick_2_what_follows_eos_is_padding(models: tuple[str, str]) -> None:
    """Whatever stands behind the end changes neither losses nor weights."""
    learners = [ppo_learner(models) for _ in range(2)]
    groups = groups_for(learners[0], unscored=False)
    metrics = []
    for learner, junk in zip(learners, (0, 7), strict=True):
        columns = to_columns(groups)
        columns["token_ids"] = np.where(columns["token_mask"], columns["token_ids"], junk)
        columns["behaviour_logps"] = np.where(columns["token_mask"], columns["behaviour_logps"], -3.0 * junk)
        metrics.append(update_columns(learner, columns))
    assert metrics[0]["total_loss"] == metrics[1]["total_loss"]
    assert same(*map(weights_of, learners))


def update_columns(learner: PPOLearner, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    from unittest.mock import patch

    with patch("local_learner.to_columns", return_value=columns):
        return update(learner, [None] * len(columns["token_ids"]))


@pytest.mark.parametrize(
    ("rule", "expected"), [("replace", [2.5, -1.0]), ("subtract", [2.5, 1.5]), ("keep", [2.5, 2.5])]
)
def test_n_plus_23_eos_trick_3_no_eos_replaces_the_score(rule: str, expected: list[float]) -> None:
    """-1 exactly where no EOS is; the other two rules are there to compare with."""
    nothing = np.zeros(0)
    scores = []
    for finished in (True, False):
        item = SimpleNamespace(score=2.5, turns=[Turn("", nothing, nothing, nothing, "", finished)])
        settle_missing_eos(item, rule, AsyncPPOConfig().missing_eos_penalty)
        scores.append(item.score)
    assert scores == expected and AsyncPPOConfig().missing_eos == "replace"


def test_n_plus_seeds_of_rounds_chunks_and_runs_are_independent() -> None:
    """The paper's seed + rank * 100 003, with a hash in its place: no stream of one run is a stream of another."""

    def seeds(run: int) -> list[int]:
        config = SimpleNamespace(most_env_runners=4, samples_per_prompt=1, temperature=0.7)
        algorithm = SimpleNamespace(config=config, ledger=PromptLedger(64, 16, run), seeds=SeedTree(run))
        return [t.seed for number in range(3) for t in LLMAlgorithm.tickets(algorithm, number)]

    assert seeds(1) == seeds(1)
    assert len({*seeds(1), *seeds(2), *seeds(100_004)}) == 36


def test_n_plus_evaluations_sample_near_greedily() -> None:
    config = AsyncPPOConfig()
    assert (config.evaluation_temperature, config.temperature) == (0.01, 0.7)


# ----- ratios, rates, diagnostics


def test_n_plus_tempered_logps(models: tuple[str, str]) -> None:
    """Old, new and reference log-probabilities are those of logits / temperature."""
    learner = ppo_learner(models)
    groups = groups_for(learner, rows=3, unscored=False)
    reference, policy = open_causal_lm(models[0]), learner.language_module.model
    now = learner.language_module.forward_train(to_tensors(to_columns(groups), "cpu"))["logps"]
    wanted = [slow_logps(policy, g, TEMPERATURE) for g in groups]
    kept = once(learner, groups)["reference_logps"]
    with torch.no_grad():
        for row, g in enumerate(groups):
            for k, logps in enumerate(slow_logps(reference, g, TEMPERATURE)):
                assert (kept[row, k, : len(logps)] - logps).abs().max() < 1e-5
                assert (now[row, k, : len(logps)] - wanted[row][k]).abs().max() < 1e-5
                untempered = slow_logps(reference, g, 1.0)[k]
                assert (kept[row, k, : len(logps)] - untempered).abs().max() > 1e-2


def test_n_plus_old_logps_are_the_generators(models: tuple[str, str]) -> None:
    """Not a second forward; that can be asked for (old_logps='recompute')."""
    learner = ppo_learner(models)
    groups = groups_for(learner, rows=3, noise=0.5, unscored=False)
    kept = once(learner, groups)["old_logps"]
    for row, g in enumerate(groups):
        for k, c in enumerate(g.completions):
            assert kept[row, k, : len(c.ids)].tolist() == c.logps.tolist()
    again = ppo_learner(models, old_logps="recompute")
    assert update(again, groups)["ratio"] == pytest.approx(1.0, abs=1e-5)


def test_n_plus_epoch_0_ratio_is_one(models: tuple[str, str]) -> None:
    """Every token's, 1 +- 1e-4, and no approximate KL and no clip, before the first update; not after it."""
    learner = ppo_learner(models, lr_schedule="constant")
    groups = sampled_by(learner.language_module.model, groups_for(learner, unscored=False))
    first, second = update(learner, groups), update(learner, groups)
    assert first["ratio"] == pytest.approx(1.0, abs=1e-4) and first["ratio_var"] < 1e-8
    assert (
        first["approx_kl"] < 1e-8 and first["policy_clip_share"] == 0.0 and first["value_clip_share"] == 0.0
    )
    assert second["ratio_var"] > 1e-4 and second["approx_kl"] > 1e-4


def test_n_plus_kl_zero_at_step_0(models: tuple[str, str]) -> None:
    learner = ppo_learner(models, moved=0.0)
    groups = sampled_by(learner.language_module.model, groups_for(learner, unscored=False))
    metrics = update(learner, groups)
    assert metrics["kl_ref"] == pytest.approx(0.0, abs=1e-4)
    assert metrics["non_score_reward"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["rlhf_reward"] == pytest.approx(metrics["score"], abs=1e-5)


def test_n_plus_adam_eps(models: tuple[str, str]) -> None:
    """1e-5 for both: where the first moment is small against it, a step is smaller than the rate."""
    for settings, expected in (({}, 1e-5), ({"adam_eps": 1e-8}, 1e-8)):
        groups = ppo_learner(models, **settings).optimizer.param_groups
        assert [g["eps"] for g in groups] == [expected] * 2
        assert [(g["betas"], g["weight_decay"]) for g in groups] == [((0.9, 0.999), 0.0)] * 2


def test_n_plus_lr_anneals_per_update(models: tuple[str, str]) -> None:
    """Linear to 0, 1 - (update - 1) / updates, no warm-up; at every pass over a mini-batch."""
    learner = ppo_learner(models, lr=1e-3, total_updates=4)
    groups = groups_for(learner)
    rates = [update(learner, groups, 1 + number // 2)["lr"] for number in range(4)]
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_n_plus_diagnostics_are_logged(models: tuple[str, str]) -> None:
    """What the paper plots to tell a faithful run from a broken one, each from its definition."""
    learner = ppo_learner(models)
    groups = [group(answer([3, 4], 1.0), index=0), group(answer([5], -1.0, finished=False), index=1)]
    then = [slow_logps(open_causal_lm(models[0]), g, TEMPERATURE)[0].sum().item() for g in groups]
    metrics = update(learner, groups)
    kl = np.mean([-2.0 - then[0], -1.0 - then[1]])
    expected = {
        "score": 0.0, "kl_ref": kl, "non_score_reward": -BETA * kl, "rlhf_reward": -BETA * kl,
        "sequence_entropy": 1.5, "missing_eos_share": 0.5, "completion_tokens": 1.5,
    }  # fmt: skip
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-5), name
    kept = learner._cached[1]
    steps, errors = kept["value_mask"], kept["returns"] - kept["old_values"]
    explained = 1 - masked_var(errors, steps) / masked_var(kept["returns"], steps)
    assert metrics["explained_variance"] == pytest.approx(float(explained), abs=1e-5)
    assert metrics["value_error"] == pytest.approx(float(masked_mean(errors.square(), steps)), rel=1e-5)
    assert metrics["return_mean"] == pytest.approx(float(masked_mean(kept["returns"], steps)), abs=1e-6)
    others = {"entropy", "approx_kl", "policy_loss", "value_loss", "advantage_mean", "advantage_var", "return_var",
              "value_mean", "value_var", "lr", "value_lr", "grad_norm", "ratio", "ratio_var", "policy_clip_share",
              "value_clip_share"}  # fmt: skip
    assert others <= set(metrics)


def test_n_plus_entropy_is_that_of_the_tempered_policy(models: tuple[str, str]) -> None:
    """The estimate from one sampled token a position comes near the exact entropy of softmax(logits / temperature)."""
    learner = ppo_learner(models, moved=0.0)
    policy = learner.language_module.model
    prompt = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        logps = torch.log_softmax(policy(input_ids=prompt).logits[0, -1] / TEMPERATURE, -1)
    exact = -(logps.exp() * logps).sum().item()
    drawn = torch.multinomial(logps.exp(), 512, replacement=True, generator=torch.Generator().manual_seed(0))
    groups = sampled_by(policy, [group(answer([int(t)], 0.0), index=i) for i, t in enumerate(drawn)])
    assert update(learner, groups)["entropy"] == pytest.approx(exact, rel=0.03)


def test_n_plus_20_defaults_are_the_papers() -> None:
    expected = {
        "kl_coef": 0.05, "gamma": 1.0, "gae_lambda": 0.95, "clip": 0.2, "value_clip": 0.2, "value_coef": 0.1,
        "adam_eps": 1e-5, "weight_decay": 0.0, "lr": 3e-6, "lr_schedule": "linear", "warmup_updates": 0,
        "temperature": 0.7, "samples_per_prompt": 1, "max_new_tokens": 53, "response_length": 53,
        "whiten_advantages": True, "whiten_rewards": False, "missing_eos": "replace", "missing_eos_penalty": 1.0,
        "kl_estimator": "k1", "kl_after_eos": False, "old_logps": "behaviour", "max_grad_norm": None, "value_lr": None,
    }  # fmt: skip
    config = AsyncPPOConfig()
    assert {name: getattr(config, name) for name in expected} == expected


def test_n_plus_table_names_tests_and_files_that_exist() -> None:
    """docs/n_plus_ppo.md has a row for every test of these files, and no row without one."""
    root = Path(__file__).parent.parent
    table = (root / "docs" / "n_plus_ppo.md").read_text()
    written = set()
    for name in ("test_n_plus_ppo.py", "test_n_plus_ppo_targets.py", "test_engine_ppo.py"):
        written |= set(
            re.findall(r"^def (test_n_plus_\w+)", (root / "tests" / name).read_text(), re.MULTILINE)
        )
    named = set(re.findall(r"`(test_n_plus_\w+)`", table))
    assert named == written - {"test_n_plus_table_names_tests_and_files_that_exist"}
    assert [
        path
        for path in re.findall(r"`((?:rllib_ext|tests)/[\w/]+\.py)`", table)
        if not (root / path).is_file()
    ] == []
