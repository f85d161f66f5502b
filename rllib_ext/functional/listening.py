"""Positive listening: a policy that hears should act otherwise than one that does not (Eccles et al. 2019, section 3.2).

The policy with its inbox emptied stands for a listener who ignores what is said. Two terms: the policy is pushed away
from it (L1 distance of the action probabilities), and it is fitted to the policy (cross-entropy), so that it is the best
guess of the action that can be made without listening rather than anything that is merely different.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["positive_listening"]


def positive_listening(logits_BN: Tensor, deaf_logits_BN: Tensor) -> tuple[Tensor, Tensor]:
    """(distance, imitation) of every row, to be weighted and added.

    logits_BN, deaf_logits_BN: (B, N), the policy's with and without what was heard. distance_B = -sum |pi - sg(deaf)|,
    in [-2, 0], moves only the hearing policy; imitation_B = -sum sg(pi) log deaf, nats, moves only the deaf one. A mask
    of -inf on actions must be the same in both; such actions add nothing.
    """
    heard_BN, deaf_BN = logits_BN.softmax(-1), deaf_logits_BN.softmax(-1)
    distance_B = -(heard_BN - deaf_BN.detach()).abs().sum(-1)
    log_deaf_BN = deaf_logits_BN.log_softmax(-1)
    imitation_B = -(heard_BN.detach() * log_deaf_BN.masked_fill(heard_BN == 0, 0.0)).sum(-1)
    return distance_B, imitation_B
