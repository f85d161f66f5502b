"""The losses of the pivot game on one batch of token ids.

    supervised   -sum_t log p(y_t | x, y_<t) of a given translation; pretraining, S2P and SIL's students
    play         the sender's message is drawn; the reward is R = -(mean NLL of a German token given the message), so
                 a message is as good as the German reference is likely:
                     w_p policy + w_b baseline - w_e entropy      of the sender (functional/messages.py)
                   + w_r cross entropy of the German reference    of the receiver

No gradient passes through the message: the sender learns from R alone, the receiver from the reference alone.

Source: Lee et al. 2019 (arXiv 1909.04499), weights of Lu et al.'s code (1, 10, 1e-3, 1). Left out: a language-model or
image term in the reward, both off in the published configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rllib_ext.functional.logprobs import token_logps
from rllib_ext.functional.masking import masked_sum
from rllib_ext.functional.messages import message_loss
from rllib_ext.language_games.pivot.seq2seq import Baseline, Seq2Seq, message_logits, token_mask


def supervised_nll(net: Seq2Seq, source_BS: Tensor, target_BT: Tensor) -> tuple[Tensor, Tensor]:
    """NLL of each target in nats, and its number of tokens, EOS counted; both (B,)."""
    mask_BT = token_mask(target_BT)
    logps_BT = token_logps(net(source_BS, target_BT).logits_BTV, target_BT)
    return -masked_sum(logps_BT, mask_BT, dim=-1), mask_BT.sum(dim=-1)


def mean_nll(net: Seq2Seq, source_BS: Tensor, target_BT: Tensor) -> Tensor:
    """The same a token of the batch."""
    nll_B, tokens_B = supervised_nll(net, source_BS, target_BT)
    return nll_B.sum() / tokens_B.sum()


@dataclass(frozen=True)
class Played:
    """One batch of the game: the whole loss, the messages, and its figures."""

    loss: Tensor
    messages_BT: Tensor
    figures: dict[str, float]


def play(
    sender: Seq2Seq,
    receiver: Seq2Seq,
    baseline: Baseline,
    french_BS: Tensor,
    german_BT: Tensor,
    values: Mapping[str, Any],
    generator: torch.Generator,
) -> Played:
    """Draw messages, let the receiver translate them, and weigh all losses by the knobs in ``values``."""
    messages_BT = sender.generate(
        french_BS, most=values["max_message"], least=values["min_message"], generator=generator, policy=True
    )
    decoded = sender(french_BS, messages_BT)
    logits_BTV = message_logits(decoded.logits_BTV, values["min_message"])
    logps_BTV = torch.log_softmax(logits_BTV, dim=-1)
    logps_BT = logps_BTV.gather(-1, messages_BT.unsqueeze(-1)).squeeze(-1)
    entropies_BT = -(logps_BTV.exp() * logps_BTV).sum(dim=-1)
    nll_B, tokens_B = supervised_nll(receiver, messages_BT, german_BT)
    rewards_B = -nll_B.detach() / tokens_B
    mask_BT = token_mask(messages_BT)
    sent = message_loss(logps_BT, entropies_BT, baseline(decoded), rewards_B, mask_BT)
    count = mask_BT.sum()
    policy, miss, entropy = (item.sum() / count for item in (sent.policy_B, sent.baseline_B, sent.entropy_B))
    cross_entropy = nll_B.sum() / tokens_B.sum()
    loss = (
        values["policy_weight"] * policy
        + values["baseline_weight"] * miss
        - values["entropy_weight"] * entropy
        + values["receiver_weight"] * cross_entropy
    )
    figures = {
        "loss": loss,
        "reward": rewards_B.mean(),
        "baseline_error": miss,
        "entropy": entropy,
        "receiver_nll": cross_entropy,
        "message_tokens": mask_BT.sum(dim=-1).float().mean(),
    }
    return Played(loss, messages_BT, {name: float(value.detach()) for name, value in figures.items()})
