"""A protocol judged without sampling: expectations over all messages, on targets all round the circle (B.2, B.5).

Discrete messages: the full sum. Continuous ones, of one number: 1,000 bins of equal probability under each target's own
Gaussian, each stood for by its middle quantile. Greedy messages are not used: a sender that mixes is judged as it mixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from envs.games.circle import target_grid
from envs.games.sender_receiver import UNIT, see_target
from rllib_ext.emergent_comm.agents import BINS, DiscreteSender
from rllib_ext.emergent_comm.circle import both_losses, on_circle
from rllib_ext.functional.games import causal_influence, mutual_information, verdict


@dataclass(frozen=True)
class Rules:
    """What of the environment the losses depend on."""

    bias: float
    loss: str = "l1"
    target_obs: str = "raw"
    compat_reflect: bool = False

    @classmethod
    def of(cls, game: Any) -> Rules:
        return cls(game.bias, game.loss, game.target_obs, game.compat_reflect)

    def losses(self, angles: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """angles in tens of degrees, as receivers answer; targets in degrees."""
        return both_losses(
            angles * UNIT, targets, self.bias, kind=self.loss, compat_reflect=self.compat_reflect
        )


def seen(targets: Tensor, rules: Rules) -> Tensor:
    """(..., O): what a sender sees."""
    return torch.from_numpy(np.asarray(see_target(targets.numpy(), rules.target_obs)))


@torch.no_grad()
def protocol_of(sender: nn.Module, rules: Rules) -> Tensor | None:
    """(T, V): how probable each symbol is for each target of the grid; None for a channel without symbols."""
    if not isinstance(sender, DiscreteSender):
        return None
    found: Tensor = sender(seen(torch.from_numpy(target_grid()).float(), rules)).exp()
    return found


@torch.no_grad()
def judge(sender: nn.Module, receiver: nn.Module, rules: Rules) -> dict[str, float]:
    """Expected losses on the grid of targets, their sum, and what they are worth as communication.

    sender_loss, receiver_loss, loss_sum (degrees); for a discrete channel also mutual_information (bits),
    causal_influence (degrees) and the losses with messages shuffled over targets, ``shuffled_sender_loss`` and
    ``shuffled_receiver_loss``: the expectation over a message drawn from the marginal. communication, manipulation: 1.0
    where the verdict says so.
    """
    targets = torch.from_numpy(target_grid()).float()
    out = sender(seen(targets, rules))
    if isinstance(sender, DiscreteSender):
        p_TM = out.exp()
        angles_M = receiver(torch.arange(p_TM.shape[1]))
        sender_TM, receiver_TM = rules.losses(angles_M[None], targets[:, None])
        found = {name: float((p_TM * of).sum(-1).mean()) for name, of in _named(sender_TM, receiver_TM)}
        marginal_M = p_TM.mean(0)
        found |= {
            f"shuffled_{name}": float((marginal_M * of).sum(-1).mean())
            for name, of in _named(sender_TM, receiver_TM)
        }
        found["mutual_information"] = float(mutual_information(p_TM))
        found["causal_influence"] = float(
            causal_influence(on_circle(angles_M * UNIT, rules.compat_reflect), p_TM)
        )
    else:
        messages_TKD = _quantiles(out)
        both = rules.losses(receiver(messages_TKD), targets[:, None])
        found = {name: float(of.mean()) for name, of in _named(*both)}
    found["loss_sum"] = found["sender_loss"] + found["receiver_loss"]
    kind = verdict(found["sender_loss"], found["receiver_loss"])
    return {**found, **{name: float(kind == name) for name in ("communication", "manipulation")}}


def _named(sender: Tensor, receiver: Tensor) -> tuple[tuple[str, Tensor], ...]:
    return ("sender_loss", sender), ("receiver_loss", receiver)


def _quantiles(out_T2D: Tensor) -> Tensor:
    """(T, BINS, D) messages of equal weight under each target's Gaussian; numbers of a message move together, which is
    exact for messages of one number.
    """
    middles = (torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS
    normal = torch.special.ndtri(middles).float()
    return out_T2D[:, 0, None] + out_T2D[:, 1, None] * normal[None, :, None]
