"""The update of a distributional agent: double target over n steps, loss and priority of each row, annealed horizons.

    a*     = argmax_a E[Z_select(s', a)]
    target = projection of  R + discount * Z_evaluate(s', a*)  onto the atoms
    loss   = cross-entropy(target, Z(s, a)),     priority = KL(target || Z(s, a))

The loss and the divergence have the same gradient; the divergence is 0 at a perfect prediction, which the cross-entropy
of a spread target is not, so it is what tells rows apart that still have something to teach.

Sources: Hessel et al. (2018, Rainbow); van Hasselt et al. (2016) for the double target; Schwarzer et al. (2023, BBF) for
horizons that grow after every reset.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rllib_ext.functional.categorical import cross_entropy, divergence, expectation, project, support

__all__ = ["annealed_discount", "annealed_steps", "distributional_loss", "double_target"]


@torch.no_grad()
def double_target(
    select_BAN: Tensor, evaluate_BAN: Tensor, returns_B: Tensor, discounts_B: Tensor, low: float, high: float
) -> Tensor:
    """Target probabilities (B, N) from the logits at the state that the return leads to.

    select_BAN chooses the action, evaluate_BAN says what it is worth: with the same noise, a network overrates what it
    chooses. Where ``discounts_B`` is 0 neither matters.
    """
    values_N = support(low, high, select_BAN.shape[-1]).to(select_BAN)
    best_B = expectation(select_BAN, values_N).argmax(-1)
    chosen_BN = evaluate_BAN[torch.arange(len(best_B), device=best_B.device), best_B]
    return project(chosen_BN.softmax(-1), returns_B, discounts_B, low, high)


def distributional_loss(logits_BAN: Tensor, actions_B: Tensor, target_BN: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, priority) of every row, nats, (B,) each; the priority has no gradient."""
    taken_BN = logits_BAN[torch.arange(len(actions_B), device=actions_B.device), actions_B]
    return cross_entropy(taken_BN, target_BN), divergence(taken_BN, target_BN)


def annealed_steps(first: int, last: int, share: float) -> int:
    """n of the n-step return after ``share`` (cut to [0, 1]) of the way from ``first`` to ``last``, geometrically."""
    ratio: float = (last / first) ** min(max(share, 0.0), 1.0)
    return round(first * ratio)


def annealed_discount(first: float, last: float, share: float) -> float:
    """The discount on the way from ``first`` to ``last``: the horizon 1 / (1 - gamma) grows geometrically.

    Equal ends give ``first`` itself; a discount of 1 has no horizon and is only allowed at both.
    """
    share = min(max(share, 0.0), 1.0)
    if first == last:
        return first
    ratio: float = ((1.0 - last) / (1.0 - first)) ** share
    return 1.0 - (1.0 - first) * ratio
