"""Learning with opponent-learning awareness on the circle (LOLA; Foerster et al. 2018, with DiCE for the sampled part).

Order k: before an agent takes its gradient, the other agent makes k simulated updates on the same games, and the gradient
goes through them. Of the sender's sampled messages the simulated updates see the DiCE operator
exp(log p - stop(log p)), which is 1 in value and whose derivative of any order is the score function's. With both rates 0
this is the plain round (`reinforce.play`), gradient for gradient.

Source: the precursor of arXiv 2101.10276 had it as an option ("Selfish Emergent Communication", 2019), later removed;
specification B.6. There are no reference results. Discrete channel only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from envs.games.sender_receiver import UNIT
from rllib_ext.emergent_comm.agents import DiscreteSender
from rllib_ext.emergent_comm.exact import Rules
from rllib_ext.emergent_comm.reinforce import Round

Weights = dict[str, Tensor]


def dice(logp: Tensor) -> Tensor:
    """1 in value; its derivatives are those of the probability over the probability, of any order."""
    return (logp - logp.detach()).exp()


def simulated(objective: Any, weights: Weights, rate: float, order: int) -> Weights:
    """``weights`` after ``order`` steps down ``objective(weights)``, differentiable in everything it depends on."""
    for _ in range(order):
        slopes = torch.autograd.grad(objective(weights), list(weights.values()), create_graph=True)
        weights = {
            name: value - rate * slope for (name, value), slope in zip(weights.items(), slopes, strict=True)
        }
    return weights


class _Games:
    """One batch of games with its messages; objectives as functions of both agents' weights."""

    def __init__(
        self, sender: DiscreteSender, receiver: nn.Module, targets_B: Tensor, seen_BO: Tensor, rules: Rules,
        baseline: float, entropy_coeff: float, generator: torch.Generator,
    ) -> None:  # fmt: skip
        self.sender, self.receiver = sender, receiver
        self.targets_B, self.seen_BO, self.rules = targets_B, seen_BO, rules
        self.baseline, self.entropy_coeff = baseline, entropy_coeff
        self.own = dict(sender.named_parameters()), dict(receiver.named_parameters())
        with torch.no_grad():
            self.messages_B, _, _ = sender.speak(sender(seen_BO), generator)

    def said(self, sender: Weights) -> tuple[Tensor, Tensor]:
        """(log-probabilities of the messages (B,), mean entropy)."""
        out_BV = functional_call(self.sender, sender, (self.seen_BO,))
        return out_BV.gather(1, self.messages_B[:, None])[:, 0], -(out_BV.exp() * out_BV).sum(-1).mean()

    def losses(self, receiver: Weights) -> tuple[Tensor, Tensor]:
        """(sender's, receiver's) (B,), degrees."""
        return self.rules.losses(functional_call(self.receiver, receiver, (self.messages_B,)), self.targets_B)

    def sender_objective(self, sender: Weights, receiver: Weights) -> Tensor:
        """DiCE: mean[L dice(logp)] - c H + mean[(1 - dice(logp)) b], whose first derivative is REINFORCE's."""
        logp_B, entropy = self.said(sender)
        cost_B = self.losses(receiver)[0] / UNIT
        weight_B = dice(logp_B)
        return (cost_B * weight_B + (1 - weight_B) * self.baseline).mean() - self.entropy_coeff * entropy

    def receiver_objective(self, sender: Weights, receiver: Weights) -> Tensor:
        """mean[L_r dice(logp)]: what the receiver loses, as a function of how messages are drawn as well."""
        logp_B, _ = self.said(sender)
        return (self.losses(receiver)[1] / UNIT * dice(logp_B)).mean()


def look_ahead(
    sender: DiscreteSender, receiver: nn.Module, targets_B: Tensor, seen_BO: Tensor, rules: Rules, *,
    baseline: float, entropy_coeff: float, generator: torch.Generator, config: Any,
) -> Round:  # fmt: skip
    """A batch of games and both objectives; gradients of an agent that looks ahead go through the other's updates.

    config: lola ("sender", "receiver", "both"), lola_order, sender_lola_lr, receiver_lola_lr.
    """
    games = _Games(sender, receiver, targets_B, seen_BO, rules, baseline, entropy_coeff, generator)
    mine, theirs = games.own
    still_mine, still_theirs = (
        {n: w.detach().requires_grad_() for n, w in side.items()} for side in games.own
    )
    later_receiver, later_sender = still_theirs, still_mine
    if config.lola in ("sender", "both"):
        # What the receiver does next depends on the sender through the messages' probabilities.
        later_receiver = simulated(
            lambda weights: games.receiver_objective(mine, weights),
            still_theirs,
            config.receiver_lola_lr,
            config.lola_order,
        )
    if config.lola in ("receiver", "both"):
        later_sender = simulated(
            lambda weights: games.sender_objective(weights, theirs),
            still_mine,
            config.sender_lola_lr,
            config.lola_order,
        )
    sender_objective = games.sender_objective(mine, later_receiver)
    receiver_objective = games.receiver_objective(later_sender, theirs)
    with torch.no_grad():
        sender_B, receiver_B = games.losses(theirs)
        entropy = games.said(mine)[1]
    return Round(sender_objective, receiver_objective, sender_B, receiver_B, entropy)
