"""Every loss that TRL 1.16 also has, against TRL's own code.

Where the mathematics sits inside a trainer's method, the method is called on a stub that holds what it reads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from rllib_ext.functional.importance import truncated_importance
from rllib_ext.functional.kl import k3, kl_penalised_reward
from rllib_ext.functional.logprobs import token_logps
from rllib_ext.functional.masking import completion_mask, has_eos, masked_mean, sequence_logps
from rllib_ext.functional.policy_gradient import leave_one_out, rloo_proximal
from rllib_ext.functional.ppo import clipped_policy
from rllib_ext.functional.preference import best_and_worst, ipo, online_dpo

F64 = torch.float64


class OneProcess:
    """What TRL's losses ask of accelerate, for one process: gathering returns what it is given."""

    device = torch.device("cpu")
    process_index = 0

    def gather(self, tensor):
        return tensor

    gather_for_metrics = gather

    def reduce(self, tensor, reduction):
        return tensor

    def backward(self, loss):
        loss.backward()


ONE_PROCESS = OneProcess()


def random_normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def random_logps(seed, pairs=6):
    return [-random_normal(pairs, seed=seed + i).abs() * 10 for i in range(4)]


def prefix_mask(lengths, columns):
    return torch.arange(columns) < torch.tensor(lengths).unsqueeze(-1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (torch.float32, 1e-5)])
def test_token_logps_agree_with_trl(dtype, tolerance):
    trl_functions = pytest.importorskip("trl.trainer.utils")
    torch.manual_seed(0)
    logits, ids = 5 * torch.randn(4, 9, 200, dtype=dtype), torch.randint(200, (4, 9))
    theirs = trl_functions.selective_log_softmax(logits, ids, temperature=0.7)
    torch.testing.assert_close(token_logps(logits, ids, temperature=0.7), theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("loss_type", "smoothing"), [("sigmoid", 0.0), ("sigmoid", 0.15), ("ipo", 0.0)])
def test_losses_agree_with_trl_cpo_loss(loss_type, smoothing):
    """CPOTrainer.cpo_loss knows no reference; given log-ratios for log-probabilities it is DPO and IPO."""
    trl_cpo = pytest.importorskip("trl.experimental.cpo")
    chosen, rejected, reference_chosen, reference_rejected = random_logps(4)
    trainer = SimpleNamespace(
        alpha=0.0, beta=0.1, loss_type=loss_type, label_smoothing=smoothing, accelerator=ONE_PROCESS
    )
    theirs, their_chosen, their_rejected = trl_cpo.CPOTrainer.cpo_loss(
        trainer, chosen - reference_chosen, rejected - reference_rejected
    )
    arguments = (chosen, rejected, reference_chosen, reference_rejected, 0.1)
    loss, metrics = online_dpo(*arguments, smoothing) if loss_type == "sigmoid" else ipo(*arguments)
    torch.testing.assert_close(loss, theirs, rtol=0, atol=1e-9)
    torch.testing.assert_close(metrics.chosen_rewards_B, their_chosen, rtol=0, atol=1e-9)
    torch.testing.assert_close(metrics.rejected_rewards_B, their_rejected, rtol=0, atol=1e-9)


def test_dpo_agrees_with_trl_dpo_trainer():
    """DPOTrainer._compute_loss on a stub of a trainer, whose model answers with given log-probabilities."""
    trl = pytest.importorskip("trl")
    torch.manual_seed(5)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])  # two chosen, two rejected
    shifted = torch.cat([torch.zeros(4, 1, dtype=torch.long), mask], dim=1)
    policy, reference = (-torch.rand(4, 4, dtype=torch.float64) * mask for _ in range(2))

    def answer(logps):
        zeros = torch.zeros_like(logps)
        return lambda **_: SimpleNamespace(
            log_probs=logps, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
        )

    policy_module = torch.nn.Identity()  # asked only for its mode and its wrappers
    policy_module.is_gradient_checkpointing = False
    trainer = SimpleNamespace(
        model=policy_module,
        ref_model=answer(reference),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        accelerator=ONE_PROCESS,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=False,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        beta=0.25,
        use_weighting=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {"input_ids": shifted, "attention_mask": shifted, "completion_mask": shifted}
    theirs = trl.DPOTrainer._compute_loss(trainer, answer(policy), inputs, return_outputs=False)
    sums = [*sequence_logps(policy, mask).split(2), *sequence_logps(reference, mask).split(2)]
    loss, metrics = online_dpo(*sums, beta=0.25)
    assert loss.mean().item() == pytest.approx(theirs.item(), abs=1e-9)
    logged = trainer._metrics["train"]
    assert metrics.margins_B.mean().item() == pytest.approx(logged["rewards/margins"][0], abs=1e-6)
    assert metrics.accuracies_B.mean().item() == pytest.approx(logged["rewards/accuracies"][0])


class BigramModel(torch.nn.Module):
    """The smallest causal language model: the logits depend on the current token alone."""

    def __init__(self, vocabulary, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(vocabulary, vocabulary, generator=generator, dtype=torch.float64)
        self.table = torch.nn.Parameter(weights)

    def forward(self, ids, attention_mask=None):
        return SimpleNamespace(logits=self.table[ids])


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo"])
def test_whole_update_agrees_with_trl_online_dpo_trainer(loss_type):
    """OnlineDPOTrainer.training_step and ._forward on a stub: tokens and rewards to parameter gradients."""
    trl_online = pytest.importorskip("trl.experimental.online_dpo")
    prompts, eos, beta = 4, 1, 0.3
    torch.manual_seed(6)
    prompt_ids = torch.randint(2, 9, (2 * prompts, 3))
    completion_ids = torch.randint(1, 9, (2 * prompts, 5))
    mask = completion_mask(completion_ids, eos)
    rewards = torch.randn(2 * prompts, dtype=torch.float64)
    policy, reference = BigramModel(9, seed=1), BigramModel(9, seed=2)

    trainer = SimpleNamespace(
        args=SimpleNamespace(
            use_vllm=False,
            missing_eos_penalty=0.7,
            loss_type=loss_type,
            torch_empty_cache_steps=None,
            optim="adamw_torch",
            n_gpu=1,
            gradient_accumulation_steps=1,
        ),
        accelerator=ONE_PROCESS,
        beta=beta,
        eos_token_ids=[eos],
        max_length=100,
        processing_class=SimpleNamespace(batch_decode=lambda ids, **_: ["text"] * len(ids)),
        ref_model=reference,
        reward_funcs=["given"],
        stats=defaultdict(list),
        state=SimpleNamespace(global_step=1),
    )
    trainer._generate = lambda *_: (
        prompt_ids,
        torch.ones_like(prompt_ids),
        completion_ids,
        mask.long(),
        None,
    )
    trainer._forward = lambda *arguments: trl_online.OnlineDPOTrainer._forward(trainer, *arguments)
    trainer._calculate_rewards_from_functions = lambda **_: rewards.clone()
    theirs = trl_online.OnlineDPOTrainer.training_step(trainer, policy, {"prompt": ["text"] * prompts})
    their_gradient = policy.table.grad.clone()
    policy.table.grad = None

    def sums(model):
        logits = model(torch.cat([prompt_ids, completion_ids], dim=1)).logits[:, 2:-1]
        return sequence_logps(token_logps(logits, completion_ids), mask).view(2, prompts).T

    scores = rewards - 0.7 * (~has_eos(completion_ids, eos)).double()
    chosen, rejected, valid = best_and_worst(
        scores.view(2, prompts).T, torch.ones(prompts, 2, dtype=torch.bool)
    )
    assert valid.all()
    picked = [
        s.gather(1, k.unsqueeze(1)).squeeze(1)
        for s in (sums(policy), sums(reference))
        for k in (chosen, rejected)
    ]
    loss, metrics = (online_dpo if loss_type == "sigmoid" else ipo)(*picked, beta)
    loss.mean().backward()
    assert loss.mean().item() == pytest.approx(theirs.item(), abs=1e-9)
    torch.testing.assert_close(policy.table.grad, their_gradient, rtol=0, atol=1e-9)
    assert metrics.margins_B.mean().item() == pytest.approx(trainer.stats["rewards/margins"][0], abs=1e-9)


def test_proximal_loss_agrees_with_trl_rloo_trainer():
    """RLOOTrainer._compute_loss on a stub, whose forward pass answers with given log-probabilities."""
    trl = pytest.importorskip("trl")
    mask = (torch.arange(3) < torch.tensor([3, 1, 2, 3, 3, 2, 3, 1]).unsqueeze(-1)).long()
    logps = (0.2 * random_normal(8, 3)).requires_grad_()
    old_logps = sequence_logps(0.2 * random_normal(8, 3, seed=1), mask)
    advantages = random_normal(8, seed=2)
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros(8, 3), None),
        accelerator=ONE_PROCESS,
        aux_loss_enabled=False,
        epsilon_low=0.2,
        epsilon_high=0.2,
        model=SimpleNamespace(training=True),
        _metrics=defaultdict(lambda: defaultdict(list)),
    )
    inputs = {
        "prompt_ids": mask,
        "prompt_mask": mask,
        "completion_ids": mask,
        "completion_mask": mask,
        "old_logps": old_logps,
        "advantages": advantages,
    }
    theirs = trl.RLOOTrainer._compute_loss(trainer, None, inputs)
    (their_gradient,) = torch.autograd.grad(theirs, logps)
    loss, metrics = rloo_proximal(sequence_logps(logps, mask), old_logps, advantages)
    torch.testing.assert_close(loss.mean(), theirs, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.autograd.grad(loss.mean(), logps)[0], their_gradient, rtol=0, atol=1e-9)
    clipped = trainer._metrics["train"]["clip_ratio/region_mean"][0]
    assert 0 < clipped < 1 and metrics.clipped_B.mean().item() == pytest.approx(clipped)


def test_rewards_and_advantages_agree_with_trl_rloo_trainer():
    """RLOOTrainer._generate_and_score_completions on a stub: KL in the reward, scores of None, baseline."""
    trl = pytest.importorskip("trl")
    eos, kappa, group = 1, 0.3, 4
    torch.manual_seed(0)
    completions = [[3, 4, eos], [5, eos], [6, 7, 8], [eos], [4, 4, eos], [3, eos], [8, 8, 8], [5, 6, eos]]
    scores = [1.0, None, 0.5, -2.0, None, 3.0, None, None]
    logps, reference = torch.randn(8, 3), torch.randn(8, 3)
    policy_model, reference_model = torch.nn.Identity(), torch.nn.Identity()
    policy_model.is_gradient_checkpointing = False
    trainer = SimpleNamespace(
        accelerator=ONE_PROCESS,
        args=SimpleNamespace(
            per_device_train_batch_size=8, per_device_eval_batch_size=8, gradient_checkpointing_kwargs=None
        ),
        model=policy_model,
        ref_model=reference_model,
        beta=kappa,
        num_generations=group,
        pad_to_multiple_of=None,
        mask_truncated_completions=False,
        normalize_advantages=False,
        reward_clip_range=None,
        reward_weights=torch.ones(1),
        reward_func_names=["given"],
        _tokenizer=SimpleNamespace(pad_token_id=0),
        _generate=lambda prompts: ([[2]] * 8, completions, ["text"] * 8),
        _get_per_token_logps_and_entropies=lambda model, *_, **__: (
            logps if model is policy_model else reference,
            None,
            None,
        ),
        _calculate_rewards=lambda *_: torch.tensor([[math.nan if s is None else s] for s in scores]),
        _metrics=defaultdict(lambda: defaultdict(list)),
        _logs=defaultdict(list, rewards=defaultdict(list), extra=defaultdict(list)),
        _pending_extra_logs={},
        _pending_metrics={},
    )
    theirs = trl.RLOOTrainer._generate_and_score_completions(trainer, [{"prompt": "text"}] * 8)
    mask = completion_mask(theirs["completion_ids"], eos)
    assert torch.equal(mask.long(), theirs["completion_mask"])
    raw = torch.tensor([math.nan if score is None else score for score in scores])
    rewards = kl_penalised_reward(raw, logps, reference, mask, kappa).view(-1, group)
    advantages, valid = leave_one_out(rewards, torch.ones_like(rewards, dtype=torch.bool))
    torch.testing.assert_close(advantages.flatten(), theirs["advantages"], rtol=0, atol=1e-6)
    assert valid.tolist() == [[True, False, True, True], [False] * 4]
    torch.testing.assert_close(sequence_logps(logps, mask), theirs["old_logps"], rtol=0, atol=1e-6)


def test_truncated_importance_agrees_with_trl():
    trl_losses = pytest.importorskip("trl.experimental.sdpo.loss_utils")
    logps, behaviour = random_normal(5, 7), 2 * random_normal(5, 7, seed=1)
    theirs = trl_losses.apply_importance_sampling_clipping(torch.ones_like(logps), logps, behaviour, 2.0)
    assert (theirs == 2.0).any()
    torch.testing.assert_close(truncated_importance(logps, behaviour, 2.0), theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("corrected", [False, True])
def test_policy_loss_agrees_with_trl_grpo_trainer(corrected):
    """GRPOTrainer._compute_loss on a stub: token clip, k3, truncated weights, token mean ("bnpo")."""
    trl = pytest.importorskip("trl")
    mask = prefix_mask([4, 1, 3], 4)
    logps = (0.3 * random_normal(3, 4)).requires_grad_()
    behaviour, reference = 0.3 * random_normal(3, 4, seed=1), 0.3 * random_normal(3, 4, seed=2)
    advantages, beta = random_normal(3, seed=3), 0.2
    weights = truncated_importance(behaviour, 0.3 * random_normal(3, 4, seed=4), 1.1)
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros(3, 4), None),
        _entropy_bonus_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        accelerator=ONE_PROCESS,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        aux_loss_enabled=False,
        beta=beta,
        current_gradient_accumulation_steps=1,
        epsilon_high=0.2,
        epsilon_low=0.2,
        importance_sampling_level="token",
        loss_type="bnpo",
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=corrected,
        vllm_importance_sampling_correction=corrected,
    )
    inputs = {
        "prompt_ids": mask.long(),
        "prompt_mask": mask.long(),
        "completion_ids": mask.long(),
        "completion_mask": mask.long(),
        "advantages": advantages,
        "old_per_token_logps": behaviour,
        "ref_per_token_logps": reference,
        "importance_sampling_ratio": weights,
    }
    theirs = trl.GRPOTrainer._compute_loss(trainer, None, inputs)
    (their_gradient,) = torch.autograd.grad(theirs, logps)
    loss, metrics = clipped_policy(
        logps, behaviour, advantages.unsqueeze(1).expand(3, 4), mask, 0.2, weights if corrected else None
    )
    ours = masked_mean(loss + beta * k3(logps, reference), mask)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.autograd.grad(ours, logps)[0], their_gradient, rtol=0, atol=1e-9)
    clipped = trainer._metrics["train"]["clip_ratio/region_mean"][0]
    assert 0 < clipped < 1
    assert masked_mean(metrics.clipped_BT, mask).item() == pytest.approx(clipped)
