"""The N+ details of PPO's targets and loss (arXiv 2403.17031): token rewards, masks, whitening, returns, token means.

The rest: test_n_plus_ppo.py. The table: docs/n_plus_ppo.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from local_learner import update
from ppo_fixture import NEW_TOKENS, answer, group, once, ppo_learner, sampled_by, save_models

from rllib_ext.functional.masking import masked_mean, masked_var
from rllib_ext.llm.batch import to_columns
from rllib_ext.llm.publishing import to_tensors
from rllib_ext.ppo_llm.config import AsyncPPOConfig
from rllib_ext.ppo_llm.learner import PPOLearner
from rllib_ext.ppo_llm.response import masks
from rllib_ext.ppo_llm.targets import targets

BETA = 0.05


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


def made(
    learner: PPOLearner, groups: list[Any], *, old: float = -1.0, reference: float = -1.5, value: float = 0.0
) -> Any:
    """Targets of these groups where every token has the same log-probabilities and value. rewards_BT and the rest."""
    fitted = once(learner, groups)
    columns = {**to_tensors(to_columns(groups), "cpu"), **fitted}
    mask = masks(columns, kl_after_eos=learner.config.kl_after_eos)
    flat = [torch.full(mask.real_BT.shape, number) for number in (old, reference, value)]
    return targets(learner.config, columns["scores"].flatten(), *flat, mask, lambda total: total), mask


# ----- rewards of tokens


def test_n_plus_score_at_last_plus_one(models: tuple[str, str]) -> None:
    """A response of 10 tokens, EOS at index 9, has its score at index 10; one that fills the response, at its last."""
    learner = ppo_learner(models, max_new_tokens=12)
    found, _ = made(learner, [group(answer(range(10), 3.0), answer(range(12), 5.0, finished=False))])
    penalty = -BETA * 0.5
    assert found.rewards_BT.shape == (2, 12)
    assert found.rewards_BT[0].tolist() == pytest.approx([penalty] * 10 + [3.0, 0.0])
    assert found.rewards_BT[1].tolist() == pytest.approx([penalty] * 11 + [5.0 + penalty])


def test_n_plus_score_place_does_not_depend_on_the_batch(models: tuple[str, str]) -> None:
    """Arrays are trimmed to their longest completion, and one column is left for its score."""
    for others in ([], [range(3)], [range(12)]):
        learner = ppo_learner(models, max_new_tokens=12)
        answers = [answer(range(8), 3.0), *(answer(ids, 0.0) for ids in others)]
        found, mask = made(learner, [group(a, index=i) for i, a in enumerate(answers)])
        assert float(found.rewards_BT[0, 8]) == 3.0 and mask.value_BT[0].sum() == 9


def test_n_plus_value_mask_one_longer(models: tuple[str, str]) -> None:
    """One position more than the policy's, where the score is paid; values beyond it are 0 and returns too."""
    learner = ppo_learner(models)
    found, mask = made(
        learner, [group(answer(range(3)), answer(range(8)), answer(range(5), None))], value=9.0
    )
    assert mask.policy_BT.sum(-1).tolist() == [3, 8, 0]
    assert mask.value_BT.sum(-1).tolist() == [4, 8, 0]
    assert not found.returns_BT[~mask.value_BT].any()
    assert not found.advantages_BT[~mask.policy_BT].any()


def test_n_plus_kl_is_k1_and_masked_after_eos(models: tuple[str, str]) -> None:
    """-beta (log pi_old - log pi_ref), signed, up to and including EOS."""
    learner = ppo_learner(models)
    groups = [group(answer(range(4), 0.0), answer(range(8), 0.0))]
    for reference, sign in ((-1.5, -1), (-0.5, 1)):
        found, _ = made(learner, groups, reference=reference)
        assert found.penalties_BT[0].tolist() == pytest.approx([sign * BETA * 0.5] * 4 + [0.0] * 4)
    assert learner.config.kl_coef == BETA, "fixed: there is no controller that changes it"


def test_n_plus_unconditional_kl_goes_on_after_eos(models: tuple[str, str]) -> None:
    """The ablation: the padding pays its KL up to the response length; a completion without EOS has no padding."""
    learner = ppo_learner(models, kl_after_eos=True)
    groups = [group(answer(range(4), 1.0), answer(range(6), 1.0, finished=False))]
    found, mask = made(learner, groups)
    assert found.penalties_BT[0].tolist() == pytest.approx([-BETA * 0.5] * NEW_TOKENS)
    assert found.penalties_BT[1].tolist() == pytest.approx([-BETA * 0.5] * 6 + [0.0] * 2)
    assert mask.policy_BT.sum(-1).tolist() == [4, 6] and mask.value_BT.sum(-1).tolist() == [5, 7]
    old, then = learner._cached[1]["old_logps"][0, 0], learner._cached[1]["reference_logps"][0, 0]
    assert old[4:].lt(0).all() and then[4:].lt(0).all(), "log-probabilities of padding, by the learner"
    assert old[:4].tolist() == [-1.0] * 4, "those of tokens are the engine's"
    shorter = float(learner._cached[1]["returns"][0, 0, 0])
    plain = ppo_learner(models)
    update(plain, groups)
    assert shorter != pytest.approx(float(plain._cached[1]["returns"][0, 0, 0]), abs=1e-6)


@pytest.mark.parametrize(("estimator", "value"), [("k1", 0.5), ("k2", 0.125), ("k3", np.exp(-0.5) - 0.5)])
def test_n_plus_kl_estimators_to_compare_with(models: tuple[str, str], estimator: str, value: float) -> None:
    learner = ppo_learner(models, kl_estimator=estimator)
    found, _ = made(learner, [group(answer(range(4), 0.0))])
    assert found.penalties_BT[0, :4].tolist() == pytest.approx([-BETA * value] * 4)


# ----- whitening, advantages, returns


def test_n_plus_24_reward_whitening_keeps_the_mean(models: tuple[str, str]) -> None:
    """Off by default; where it is on, (x - mean) / sqrt(var + 1e-8) + mean over the real steps, variance biased."""
    groups = [group(answer(range(n), float(n)), index=n) for n in (2, 5, 8)]
    plain, mask = made(ppo_learner(models), groups)
    white, _ = made(ppo_learner(models, whiten_rewards=True), groups)
    steps, mean = mask.value_BT, masked_mean(plain.rewards_BT, mask.value_BT)
    deviation = torch.sqrt(masked_var(plain.rewards_BT, steps) + 1e-8)
    expected = torch.where(steps, (plain.rewards_BT - mean) / deviation + mean, 0.0)
    assert torch.allclose(white.rewards_BT, expected, atol=1e-6)
    assert masked_mean(white.rewards_BT, steps) == pytest.approx(float(mean), abs=1e-6)
    assert masked_var(white.rewards_BT, steps) == pytest.approx(1.0, abs=1e-5)
    assert not AsyncPPOConfig().whiten_rewards


def test_n_plus_25_advantage_whitening_shifts_the_mean(models: tuple[str, str]) -> None:
    """Over the policy's tokens, not over the step more that the critic has; it can be switched off."""
    groups = [group(answer(range(n), float(n)), index=n) for n in (2, 5, 8)]
    white, mask = made(ppo_learner(models), groups)
    assert masked_mean(white.advantages_BT, mask.policy_BT) == pytest.approx(0.0, abs=1e-6)
    assert masked_var(white.advantages_BT, mask.policy_BT) == pytest.approx(1.0, abs=1e-5)
    plain, _ = made(ppo_learner(models, whiten_advantages=False), groups)
    assert torch.equal(plain.advantages_BT, plain.raw_advantages_BT)
    assert torch.equal(plain.raw_advantages_BT, white.raw_advantages_BT)


def test_n_plus_returns_are_formed_before_whitening(models: tuple[str, str]) -> None:
    found, mask = made(ppo_learner(models), [group(answer(range(5), 2.0))], value=0.5)
    values = torch.where(mask.value_BT, 0.5, 0.0)
    assert torch.allclose(found.returns_BT, found.raw_advantages_BT + values)


def test_n_plus_losses_are_token_means_over_the_minibatch(models: tuple[str, str]) -> None:
    """A long completion weighs more than a short one: with equal token losses the share is that of its tokens."""
    learner = ppo_learner(
        models, whiten_advantages=False, kl_coef=0.0, gae_lambda=1.0, value_model=None, moved=0.0
    )
    groups = sampled_by(
        learner.language_module.model, [group(answer(range(2), 1.0)), group(answer(range(8), 0.0), index=1)]
    )
    metrics = update(learner, groups)
    assert metrics["policy_loss"] == pytest.approx(-2 / 10, abs=1e-5)
    assert metrics["value_loss"] == pytest.approx(0.5 * 3 / 11, abs=1e-6)


@pytest.mark.parametrize(("clip", "share", "loss"), [(0.2, 1.0, 0.5 * 0.9**2), (None, 0.0, 0.5 * 0.5**2)])
def test_n_plus_value_loss_is_clipped(
    models: tuple[str, str], clip: float, share: float, loss: float
) -> None:
    """A value that went from 0 past 0.2 towards a return of 1.1 is judged, and left without gradient, at 0.2."""
    learner = ppo_learner(models, value_clip=clip, moved=0.0)
    shape = (1, 1, 4)
    batch = {
        "old_logps": torch.zeros(shape), "advantages": torch.zeros(shape), "old_values": torch.zeros(shape),
        "returns": torch.full(shape, 1.1), "values": torch.full(shape, 0.6, requires_grad=True),
        "policy_mask": torch.ones(shape, dtype=torch.bool), "value_mask": torch.ones(shape, dtype=torch.bool),
        "policy_scale": torch.tensor([0.25]), "value_scale": torch.tensor([0.25]),
    }  # fmt: skip
    total, metrics = learner.per_row_loss(batch, torch.zeros(shape), torch.zeros(shape))
    total.sum().backward()
    assert metrics["value_clip_share"].item() == pytest.approx(share)
    assert metrics["value_loss"].item() == pytest.approx(loss) and total.item() == pytest.approx(0.1 * loss)
    assert bool(batch["values"].grad.any()) == (clip is None)
