"""One round of the circular game as the paper learns it: the sender by REINFORCE, the receiver through its answer.

    sender      mean[(L_s - baseline) log p(m | T)] - entropy_coeff H,  L_s a constant of the sample
    receiver    mean L_r, differentiated through its own angle; the message is a constant

so no gradient crosses the channel in either direction. The baseline is the arithmetic mean of the losses of all batches
so far, not a decaying one (specification B.2). Losses enter in tens of degrees, the unit of the published learning rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from envs.games.sender_receiver import UNIT
from rllib_ext.emergent_comm.exact import Rules


@dataclass
class Baseline:
    """Running mean of all losses seen."""

    total: float = 0.0
    count: int = 0

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else 0.0

    def add(self, loss: float) -> None:
        self.total += loss
        self.count += 1


@dataclass(frozen=True)
class Round:
    """sender_objective, receiver_objective: scalars to descend, of disjoint parameters. sender_B, receiver_B: the losses
    in degrees, detached; entropy: mean, nats.
    """

    sender_objective: Tensor
    receiver_objective: Tensor
    sender_B: Tensor
    receiver_B: Tensor
    entropy: Tensor


def play(
    sender: nn.Module, receiver: nn.Module, targets_B: Tensor, seen_BO: Tensor, rules: Rules, *,
    baseline: float, entropy_coeff: float, generator: torch.Generator,
) -> Round:  # fmt: skip
    """A batch of games and both objectives. baseline: in tens of degrees."""
    message, logp_B, entropy_B = sender.speak(sender(seen_BO), generator)
    sender_B, receiver_B = rules.losses(receiver(message), targets_B)
    entropy = entropy_B.mean()
    cost_B = sender_B.detach() / UNIT - baseline
    objective = (cost_B * logp_B).mean() - entropy_coeff * entropy
    return Round(
        objective, receiver_B.mean() / UNIT, sender_B.detach(), receiver_B.detach(), entropy.detach()
    )
