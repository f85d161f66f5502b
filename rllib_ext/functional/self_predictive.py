"""Self-prediction of latents (SPR) and inverse dynamics: two of the three losses of SGI, and what tells their collapse.

Sources: Schwarzer et al. 2021, "Data-Efficient Reinforcement Learning with Self-Predictive Representations" (SPR),
section 2; Schwarzer et al. 2021, "Pretraining Representations for Data-Efficient Reinforcement Learning" (SGI), section
3, and its released code for the constants.

Windows: o_t and K actions a_t .. a_{t+K-1} that lead to o_{t+1} .. o_{t+K}. valid_BK[:, k - 1] says whether o_{t+k} is
there (`reachable`); it masks the k-th prediction AND the inverse term of action a_{t+k-1}, which needs both its ends. The
released code masks the inverse loss not at all and slices the ends one step late; that is not reproduced.

Shapes: B windows, K steps, D projection, A actions. Left out: the k = 0 term, which has weight 0 in the source.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rllib_ext.functional.arguments import require_same_shape

__all__ = [
    "chord",
    "diversity",
    "effective_rank",
    "inverse_dynamics",
    "random_pair_chord",
    "reachable",
    "self_prediction",
]

EPSILON = 1e-3  # lower bound of a length that is divided by, as in the source


def reachable(terminals_BK: Tensor) -> Tensor:
    """valid_BK[:, k - 1] = prod over j < k of (1 - terminal_{t+j}), k = 1 .. K: no end before o_{t+k}. Booleans."""
    return (terminals_BK != 0).long().cumsum(dim=-1) == 0


def chord(left_X: Tensor, right_X: Tensor) -> Tensor:
    """|x/|x| - y/|y||^2 = 2 - 2 cos(x, y) over the last dimension, in [0, 4].

    The difference is squared, and not 2 - 2 cos computed, which near 0 is all rounding. A vector shorter than 1e-3 is
    divided by that instead.
    """
    difference = F.normalize(left_X, dim=-1, eps=EPSILON) - F.normalize(right_X, dim=-1, eps=EPSILON)
    return difference.square().sum(-1)


def self_prediction(predictions_BKD: Tensor, targets_BKD: Tensor, valid_BK: Tensor) -> tuple[Tensor, Tensor]:
    """SPR's loss of every window, mean over k of m_k (2 - 2 cos), and its terms before the mean, (B,) and (B, K).

    No gradient reaches the targets. Masked terms are 0 and the mean is over K all the same, as in the source: a window
    that ends early counts for less.
    """
    require_same_shape("self_prediction", predictions=predictions_BKD, targets=targets_BKD)
    require_same_shape("self_prediction", windows=predictions_BKD[..., 0], valid_BK=valid_BK)
    terms_BK = chord(predictions_BKD, targets_BKD.detach()) * valid_BK.to(predictions_BKD)
    return terms_BK.mean(dim=-1), terms_BK


def inverse_dynamics(logits_BKA: Tensor, actions_BK: Tensor, valid_BK: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, right): the mean over k of m_k times the cross-entropy of a_{t+k-1}, nats (B,), and whether it was guessed.

    right_BK is False where it is masked. Uniform logits: ln A. On games whose actions share effects it cannot reach 0:
    Pong's six are three, so what is played uniformly leaves ln 2.
    """
    require_same_shape("inverse_dynamics", actions_BK=actions_BK, valid_BK=valid_BK)
    mask_BK = valid_BK.to(logits_BKA)
    terms_BK = F.cross_entropy(logits_BKA.flatten(0, 1), actions_BK.flatten().long(), reduction="none")
    right_BK = (logits_BKA.argmax(-1) == actions_BK) & (valid_BK != 0)
    return (terms_BK.view_as(mask_BK) * mask_BK).mean(dim=-1), right_BK


@torch.no_grad()
def diversity(vectors_BD: Tensor) -> Tensor:
    """Mean cosine of different rows; 1: all point one way. NaN for a single row."""
    unit_BD = F.normalize(vectors_BD, dim=-1, eps=EPSILON)
    count = len(unit_BD)
    total = unit_BD.sum(0).square().sum() - unit_BD.square().sum()
    return total / (count * (count - 1)) if count > 1 else total * torch.nan


@torch.no_grad()
def random_pair_chord(vectors_BD: Tensor) -> Tensor:
    """Mean of 2 - 2 cos over different rows: what a prediction costs that knows nothing of its state.

    The loss of self-prediction alone tells no collapse, because neighbouring frames are nearly alike in any encoder;
    divided by this it does.
    """
    return 2.0 - 2.0 * diversity(vectors_BD)


@torch.no_grad()
def effective_rank(vectors_BD: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values, 1 .. min(B, D) (Roy & Vetterli 2007). Zeros: 1.

    Singular values come from the Gram matrix of the smaller side in float64; rows are not centred.
    """
    wide_BD = vectors_BD.double()
    gram = wide_BD @ wide_BD.T if len(wide_BD) <= wide_BD.shape[-1] else wide_BD.T @ wide_BD
    singular = torch.linalg.eigvalsh(gram).clamp(min=0.0).sqrt()
    total = singular.sum()
    if total == 0:
        return torch.ones_like(total)
    entropy: Tensor = torch.special.entr(singular / total).sum()
    return entropy.exp()
