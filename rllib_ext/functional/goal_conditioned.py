"""Goal-conditioned Q-learning in latent space: the loss G of SGI, whose goals and rewards are made of latents alone.

Source: Schwarzer et al. 2021, "Pretraining Representations for Data-Efficient Reinforcement Learning" (SGI), section 3.2,
and its released code for the constants. Goals are latents of later frames, mixed with noise and swapped among the batch;
the reward of a step is the progress it makes towards the goal, measured in the latents of a slowly moving target encoder.

Left out: goals of every state for every other (all to all), goals in the projection's space, purely random goals: modes
that the source has and leaves off.

Shapes: B windows, D = C 7 7 latent, A actions, N atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rllib_ext.functional.categorical import expectation, project
from rllib_ext.functional.renormalisation import renormalise
from rllib_ext.functional.self_predictive import chord

__all__ = [
    "DISTANCES",
    "GoalDraws",
    "distance",
    "double_q_target",
    "draw_goals",
    "progress_reward",
    "synthetic_goals",
]

DISTANCES = ("exp", "norm")
TEMPERATURE = 5.0
EPSILON = 1e-3


@dataclass(frozen=True)
class GoalDraws:
    """What is random about the goals of a batch: noise (B, D), its share (B,), and whose goal each one takes (B,)."""

    noise_BD: Tensor
    share_B: Tensor
    source_B: Tensor


def draw_goals(
    valid_B: Tensor, size: int, generator: Generator, *, noise: float = 0.5, swap: float = 0.2
) -> GoalDraws:
    """Draw for B goals of ``size`` numbers: shares uniform in [0, noise), another's goal with probability ``swap``.

    valid_B: whether the goal is there; where the episode ended before it, another's is taken, one that is there. A goal
    of one's own that is drawn again stays. Where no goal is there, each keeps its own (a batch of that kind teaches
    goals at the ends of episodes only).
    """
    batch = len(valid_B)
    present = valid_B.cpu() != 0
    swapped = (torch.rand(batch, generator=generator) < swap) | ~present
    candidates = present.nonzero().squeeze(-1) if bool(present.any()) else torch.arange(batch)
    drawn = candidates[torch.randint(len(candidates), (batch,), generator=generator)]
    source_B = torch.where(swapped, drawn, torch.arange(batch))
    noise_BD = torch.randn(batch, size, generator=generator)
    share_B = torch.rand(batch, generator=generator) * noise
    device = valid_B.device
    return GoalDraws(noise_BD.to(device), share_B.to(device), source_B.to(device))


def synthetic_goals(latents_BD: Tensor, draws: GoalDraws) -> Tensor:
    """Goals (B, D) in [0, 1) out of later frames' latents: w n/|n| + (1 - w) z, of length 1, swapped, renormalised.

    The noise has length 1 and the latent has not (about sqrt(D / 12) and more), so the noise is weaker than its share
    says; this is so in the source. Lengths below 1e-3 are divided by that. No gradient.
    """
    latents_BD = latents_BD.detach().flatten(1)
    share_B1 = draws.share_B.to(latents_BD).unsqueeze(-1)
    unit_BD = F.normalize(draws.noise_BD.to(latents_BD), dim=-1, eps=EPSILON)
    mixed_BD = F.normalize(share_B1 * unit_BD + (1.0 - share_B1) * latents_BD, dim=-1, eps=EPSILON)
    return renormalise(mixed_BD[draws.source_B])


def distance(latents_BD: Tensor, goals_BD: Tensor, kind: str = "exp") -> Tensor:
    """How far latents are from goals, (B,), by the chord c = |x/|x| - y/|y||^2: "exp", 1 - exp(-5 c); "norm", 5 c."""
    if kind not in DISTANCES:
        raise ValueError(f"distance: kind is {kind!r}; it must be one of {', '.join(DISTANCES)}")
    scaled_B = TEMPERATURE * chord(latents_BD.flatten(1), goals_BD.flatten(1))
    return -torch.expm1(-scaled_B) if kind == "exp" else scaled_B


def progress_reward(
    now_BD: Tensor, next_BD: Tensor, goals_BD: Tensor, *, scale: float = 10.0, kind: str = "exp"
) -> Tensor:
    """scale (d(now, goal) - d(next, goal)), (B,): above 0 for a step towards the goal.

    A difference of potentials: along any path the rewards add up to scale (d(first, goal) - d(last, goal)), so detours
    earn nothing. No gradient.
    """
    before_B, after_B = distance(now_BD, goals_BD, kind), distance(next_BD, goals_BD, kind)
    return (scale * (before_B - after_B)).detach()


@torch.no_grad()
def double_q_target(
    rewards_B: Tensor,
    discounts_B: Tensor,
    online_BAN: Tensor,
    target_BAN: Tensor,
    support_N: Tensor,
) -> Tensor:
    """The distribution to learn, (B, N): R + g Z of the action that the online logits prefer, Z by the target logits.

    discounts_B: gamma, 0 where the episode ended with the step; the source multiplies the first reward with it too, which
    is the caller's to do.
    """
    best_B = expectation(online_BAN, support_N).argmax(dim=-1)
    chosen_BN = target_BAN[torch.arange(len(best_B), device=best_B.device), best_B].softmax(-1)
    return project(chosen_BN, rewards_B, discounts_B, float(support_N[0]), float(support_N[-1]))
