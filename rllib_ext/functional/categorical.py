"""Returns as a categorical distribution over fixed values (C51), and the dueling form of its logits.

Sources: Bellemare, Dabney & Munos 2017, "A Distributional Perspective on Reinforcement Learning", algorithm 1; Wang et
al. 2016 for the dueling form; Hessel et al. 2018 (Rainbow) for both together: value and advantages are formed atom by
atom, and the advantages are centred over ACTIONS. (Centred over atoms, or with one value for all atoms, both would cancel
in the softmax and the value branch would learn nothing.)

Left out: other bases than evenly spaced atoms (quantiles).
"""

from __future__ import annotations

import torch
from torch import Tensor

from rllib_ext.functional.arguments import require_range, require_same_shape

__all__ = ["cross_entropy", "divergence", "dueling", "expectation", "project", "support"]


def support(low: float, high: float, atoms: int) -> Tensor:
    """The N values z_1 .. z_N that a return can have: evenly spaced from ``low`` to ``high``, (N,)."""
    require_range("support", "atoms", atoms, low=2)
    require_range("support", "high", high, low=low, above=True)
    return torch.linspace(low, high, atoms)


def dueling(value_BN: Tensor, advantage_BAN: Tensor) -> Tensor:
    """Logits (B, A, N) of value and advantages: V(n) + A(a, n) - mean over actions of A(., n)."""
    return value_BN.unsqueeze(-2) + advantage_BAN - advantage_BAN.mean(dim=-2, keepdim=True)


def expectation(logits_BAN: Tensor, support_N: Tensor) -> Tensor:
    """Expected returns (B, A) of the distributions with these logits."""
    return logits_BAN.softmax(-1) @ support_N


def project(
    probabilities_BN: Tensor, rewards_B: Tensor, discounts_B: Tensor, low: float, high: float
) -> Tensor:
    """The distribution of R + g Z on the atoms again, (B, N): each moved atom's mass is shared by its two neighbours.

    A mass p at R + g z (cut to [low, high]) that lies between atoms i and i + 1 gives p (1 - f) to i and p f to i + 1, f
    its distance from i in units of the spacing. So the mean is kept exactly wherever nothing is cut. discounts_B: what is
    left of the bootstrap (gamma^n, 0 where the episode ended); with 0 the result is R alone on its two neighbours.

    Edges: a value that falls on an atom gives it all; at ``high`` the upper neighbour is the last atom itself (f = 1), so
    no index runs out.
    """
    require_same_shape("project", rewards_B=rewards_B, discounts_B=discounts_B)
    atoms = probabilities_BN.shape[-1]
    spacing = (high - low) / (atoms - 1)
    values_N = support(low, high, atoms).to(probabilities_BN)
    moved_BN = (rewards_B.unsqueeze(-1) + discounts_B.unsqueeze(-1) * values_N).clamp(low, high)
    position_BN = (moved_BN - low) / spacing
    lower_BN = position_BN.floor().clamp(0, atoms - 2)
    share_BN = (position_BN - lower_BN).clamp(0.0, 1.0)
    index_BN = lower_BN.long()
    projected_BN = torch.zeros_like(probabilities_BN)
    projected_BN.scatter_add_(-1, index_BN, probabilities_BN * (1.0 - share_BN))
    projected_BN.scatter_add_(-1, index_BN + 1, probabilities_BN * share_BN)
    return projected_BN


def cross_entropy(logits_BN: Tensor, target_BN: Tensor) -> Tensor:
    """-sum target log softmax(logits) of every row, nats, (B,)."""
    require_same_shape("cross_entropy", logits_BN=logits_BN, target_BN=target_BN)
    return -(target_BN * logits_BN.log_softmax(-1)).sum(-1)


def divergence(logits_BN: Tensor, target_BN: Tensor) -> Tensor:
    """KL(target || softmax(logits)) of every row, nats, (B,): the cross-entropy without the target's own entropy.

    What priorities of a replay are made of: at a perfect prediction it is 0, where the cross-entropy is not. No gradient.
    """
    target_BN = target_BN.detach()
    own_B: Tensor = torch.special.entr(target_BN).sum(-1)
    return (cross_entropy(logits_BN.detach(), target_BN) - own_B).clamp(min=0.0)
