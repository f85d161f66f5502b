"""The loss of a network that does not know its layout: an exact mixture of two, tree and chain.

    L(y) = -log( p P_tree(y) + (1 - p) P_chain(y) ),    p = sigmoid(w)

Marginalised, not sampled: with two layouts the sum costs two forward passes and has no variance. With the posterior
responsibility of the tree, r = p P_tree(y) / (p P_tree(y) + (1 - p) P_chain(y)), the gradient is

    dL/dw = p - r

so the layout is only moved by examples that one branch answers better than the other. As soon as both fit the training
set r = p, and w stands still: a likelihood that both reach says nothing on which of them generalises.

Source: Bahdanau et al. 2019, "Systematic Generalization: What Is Required and Can It Be Learned?" (arXiv 1811.12889),
Stochastic-N2NMN. Not the paper's: everything is in logarithms, so no floor is needed; the released code adds one of 1e-6
to the probability, which is the argument ``floor``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LayoutMetrics", "layout_mixture", "layout_mixture_loss"]


@dataclass(frozen=True)
class LayoutMetrics:
    """Detached scalars: p, mean losses of the branches alone, mean responsibility of the tree."""

    p_tree: Tensor
    tree_loss: Tensor
    chain_loss: Tensor
    responsibility: Tensor


def layout_mixture(tree_logits_BA: Tensor, chain_logits_BA: Tensor, layout_logit: Tensor) -> Tensor:
    """(B, A) log-probabilities of the answers under the mixture; they are their own normalised logits."""
    tree = F.logsigmoid(layout_logit) + F.log_softmax(tree_logits_BA, dim=-1)
    chain = F.logsigmoid(-layout_logit) + F.log_softmax(chain_logits_BA, dim=-1)
    return torch.logaddexp(tree, chain)


def layout_mixture_loss(
    tree_logits_BA: Tensor,
    chain_logits_BA: Tensor,
    layout_logit: Tensor,
    answers_B: Tensor,
    *,
    floor: float | None = None,
) -> tuple[Tensor, LayoutMetrics]:
    """(losses_B, metrics) of answers (B,) of two branches' logits and the scalar logit w of the tree.

    floor: what is added to the mixture's probability before its logarithm; None adds nothing, and losses stay finite
    for every finite logit.
    """
    if tree_logits_BA.shape != chain_logits_BA.shape or answers_B.shape != tree_logits_BA.shape[:1]:
        raise ValueError(
            f"layout_mixture_loss: tree {tuple(tree_logits_BA.shape)}, chain {tuple(chain_logits_BA.shape)}, answers "
            f"{tuple(answers_B.shape)}; give (B, A), (B, A) and (B,)."
        )
    log_mixture_BA = layout_mixture(tree_logits_BA, chain_logits_BA, layout_logit)
    chosen_B = log_mixture_BA.gather(1, answers_B[:, None]).squeeze(1)
    if floor is None:
        losses_B = -chosen_B
    else:
        losses_B = -torch.logaddexp(chosen_B, torch.full_like(chosen_B, math.log(floor)))
    with torch.no_grad():
        tree_B = F.cross_entropy(tree_logits_BA, answers_B, reduction="none")
        chain_B = F.cross_entropy(chain_logits_BA, answers_B, reduction="none")
        responsibility_B = torch.sigmoid(layout_logit + chain_B - tree_B)
        metrics = LayoutMetrics(
            torch.sigmoid(layout_logit.detach()), tree_B.mean(), chain_B.mean(), responsibility_B.mean()
        )
    return losses_B, metrics
