"""Contrastive learning of messages: supervised contrastive loss (SupCon) whose classes are moments of a trajectory.

Sources: CACL (Lo, Sengupta, Foerster & Noukhovitch 2024, "Learning Multi-Agent Communication with Contrastive
Learning"), the loss of its section on contrastive communication; Khosla et al. 2020 for the form with the sum over
positives outside the logarithm. Messages of one trajectory that were sent within ``window`` steps of each other are
different views of one state and should be alike, whoever sent them; all others are what they are told apart from.

Left out: memory banks, learnt temperatures.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rllib_ext.functional.arguments import require_range

__all__ = ["NEGATIVES", "message_pairs", "supcon"]

NEGATIVES = ("all", "other_trajectories")


def message_pairs(
    trajectory_M: Tensor, time_M: Tensor, *, window: int | None, negatives: str = "all"
) -> tuple[Tensor, Tensor | None]:
    """Which of M messages are positives of which, and which stand in the denominator.

    trajectory_M: (M,) integers, equal where messages belong to one episode; time_M: (M,) integers, the step at which a
    message was sent. window: w, messages sent at most w steps apart are positives; 0: only simultaneous ones, None: all
    of the trajectory. negatives: "all", every other message is in the denominator (the formula), or
    "other_trajectories", positives and messages of other trajectories only (the paper's prose).

    Returns (positives, candidates), both (M, M) boolean with False on the diagonal; positives are candidates. Candidates
    are None where all other messages are, which need not be looked up.
    """
    if window is not None:
        require_range("message_pairs", "window", window, low=0)
    if negatives not in NEGATIVES:
        raise ValueError(
            f"message_pairs: negatives is {negatives!r}; it must be one of {', '.join(NEGATIVES)}"
        )
    together = trajectory_M.unsqueeze(-1) == trajectory_M
    positives = together.clone()
    if window is not None:
        time_M = time_M.to(torch.int32)
        positives &= (time_M.unsqueeze(-1) - time_M).abs_() <= window
    positives.fill_diagonal_(False)
    return positives, None if negatives == "all" else positives | ~together


def supcon(
    messages_AMD: Tensor,
    known_AM: Tensor,
    positives_MM: Tensor,
    candidates_MM: Tensor | None,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """The loss of every message as anchor, and whether it is one: known, with a known positive.

    loss(m) = -1/|P(m)| sum over p in P(m) of log [exp(m.p / eta) / sum over a in C(m) of exp(m.a / eta)], vectors of
    length one. messages_AMD: (A, M, D) of any length, A agents with a set of messages each; known_AM: (A, M) boolean,
    False for what takes part in nothing; positives, candidates: as `message_pairs` gives them, the same for all agents;
    temperature: eta, above 0. Returns (loss_AM nats, anchor_AM boolean): what is no anchor has loss 0 and is not to be
    averaged. The mean over anchors, not their sum, so that the weight of the loss does not depend on their number.

    Only the denominator is formed pair by pair. The numerator is m . (sum of positives), one product with the mask.

    Edges: all messages equal: log(number of candidates), whatever eta; a zero vector is at right angles to all; no
    anchor at all: zeros with zero gradients.
    """
    require_range("supcon", "temperature", temperature, low=1e-6)
    agents, count, size = messages_AMD.shape
    unit_AMD = F.normalize(messages_AMD, dim=-1)
    attracting_MM = positives_MM.to(unit_AMD.dtype)
    known_AM1 = known_AM.to(unit_AMD.dtype).unsqueeze(-1)
    # One product for all agents: sums of known positives, and how many there are.
    summed = (
        torch.cat([unit_AMD * known_AM1, known_AM1], dim=-1)
        .transpose(0, 1)
        .reshape(count, agents * (size + 1))
    )
    summed = (attracting_MM @ summed).view(count, agents, size + 1).transpose(0, 1)
    count_AM = summed[..., -1].detach()
    anchor_AM = known_AM & (count_AM > 0)
    pulled_AM = (unit_AMD * summed[..., :-1]).sum(-1) / (temperature * count_AM.clamp(min=1))
    denominator_AM = _LogPartition.apply(unit_AMD, known_AM, candidates_MM, temperature)  # type: ignore[no-untyped-call]
    return torch.where(anchor_AM, denominator_AM - pulled_AM, 0.0), anchor_AM


class _LogPartition(torch.autograd.Function):
    """log sum over candidates j of exp(u_i . u_j / eta), (A, M); the lowest number there is where there are none.

    Written out because the (M, M) matrices are the whole cost: one is kept an agent, small enough for a cache, where
    autograd would write and keep four. What is not known is shut out within the product itself, by one more
    dimension. No second derivative.
    """

    @staticmethod
    def forward(
        ctx: Any, unit_AMD: Tensor, known_AM: Tensor, candidates_MM: Tensor | None, temperature: float
    ) -> Tensor:
        limits = torch.finfo(unit_AMD.dtype)
        shut_AM1 = torch.zeros_like(unit_AMD[..., :1]).masked_fill(~known_AM.unsqueeze(-1), limits.min / 4)
        query_AMD = torch.cat([unit_AMD / temperature, torch.ones_like(shut_AM1)], dim=-1)
        key_ADM = torch.cat([unit_AMD, shut_AM1], dim=-1).transpose(-1, -2)
        kept, logs = [], []
        for query_MD, key_DM in zip(query_AMD, key_ADM, strict=True):
            weights_MM = query_MD @ key_DM
            if candidates_MM is None:
                weights_MM.fill_diagonal_(limits.min / 4)
            else:
                weights_MM.masked_fill_(~candidates_MM, limits.min / 4)
            highest_M1 = weights_MM.amax(dim=-1, keepdim=True)
            total_M1 = weights_MM.sub_(highest_M1).exp_().sum(dim=-1, keepdim=True)
            kept.append((weights_MM, total_M1))
            logs.append((highest_M1 + total_M1.log()).squeeze(-1))
        ctx.save_for_backward(unit_AMD, *(tensor for pair in kept for tensor in pair))
        ctx.temperature = temperature
        return torch.stack(logs)

    @staticmethod
    def backward(ctx: Any, slope_AM: Tensor) -> tuple[Tensor, None, None, None]:
        unit_AMD, *kept = ctx.saved_tensors
        found = []
        for unit_MD, slope_M, weights_MM, total_M1 in zip(
            unit_AMD, slope_AM, kept[::2], kept[1::2], strict=True
        ):
            scaled_M1 = slope_M.unsqueeze(-1) / (total_M1 * ctx.temperature)
            found.append((weights_MM @ unit_MD) * scaled_M1 + weights_MM.T @ (unit_MD * scaled_M1))
        return torch.stack(found), None, None, None
