"""What two agents with different interests make of a channel: information, influence, and who gains.

Source: Noukhovitch et al. 2021 (arXiv 2101.10276), specification B.5. Signalling (messages depend on the target) and
listening (answers depend on the message) are necessary for communication and not sufficient: whether both gain is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rllib_ext.functional.arguments import require_range, require_same_shape

__all__ = ["causal_influence", "jensen_shannon", "mutual_information", "verdict"]

LOG2 = math.log(2.0)


def _entropy(probabilities: Tensor) -> Tensor:
    """(...,) nats, of (..., M); 0 log 0 is 0."""
    information: Tensor = torch.special.xlogy(probabilities, probabilities)
    return -information.sum(-1)


def mutual_information(probabilities_TM: Tensor) -> Tensor:
    """I(T; M) in bits, of targets that are equally likely and messages with these probabilities.

    I = H(mean_t p(. | t)) - mean_t H(p(. | t)): how much a message says about the target. probabilities_TM: (T, M), rows
    sum to 1. In [0, log2 min(T, M)]; 0 for a sender that says the same of every target, however random.
    """
    p = probabilities_TM.double()
    return ((_entropy(p.mean(0)) - _entropy(p).mean()) / LOG2).clamp(min=0.0)


def jensen_shannon(one: Tensor, other: Tensor) -> Tensor:
    """Divergence of distributions over the last axis, in bits, in [0, 1]; symmetric, 0 where they are equal.

    Drift of a protocol: of the sender's distributions at two moments, averaged over targets.
    """
    require_same_shape("jensen_shannon", one=one, other=other)
    one, other = one.double(), other.double()
    middle = _entropy((one + other) / 2) - (_entropy(one) + _entropy(other)) / 2
    return (middle / LOG2).clamp(0.0, 1.0)


def causal_influence(angles_M: Tensor, probabilities_TM: Tensor) -> Tensor:
    """How far the answer moves when the message is replaced by another: degrees in [0, 180].

    E over targets t, m ~ p(. | t) and m' ~ the marginal, drawn on its own, of the circular distance of a(m) and a(m').
    The answer of a receiver without randomness is its intervention do(m), so nothing needs to be sampled. 0 for a
    receiver that does not listen, whatever it is told. angles_M: (M,) degrees on the circle.
    """
    p = probabilities_TM.double().mean(0)
    apart = (angles_M.double()[:, None] - angles_M.double()[None]).abs() % 360.0
    apart = torch.minimum(apart, 360.0 - apart)
    return (p[:, None] * apart * p[None]).sum()


def verdict(sender_loss: float, receiver_loss: float, *, silent: float = 90.0, margin: float = 2.0) -> str:
    """Which of three: "communication", both lose less than in silence; "manipulation", exactly one does; "none".

    silent: what each loses where nothing is said, degrees; margin: how much less is less. Reads losses, not messages: a
    protocol in which only one gains is use of the other, however informative.
    """
    require_range("verdict", "margin", margin, low=0.0)
    gains = [loss < silent - margin for loss in (sender_loss, receiver_loss)]
    return {2: "communication", 1: "manipulation", 0: "none"}[sum(gains)]
