"""What every function of this folder does to its arguments first: widen them, check shapes and ranges.

A wrong shape that broadcasts is the quietest bug in this kind of code: (B,) minus (B, 1) is (B, B) and still
trains.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["as_mask", "at_least_float32", "finite_scores", "require_range", "require_same_shape"]


def at_least_float32(values: Tensor) -> Tensor:
    """``values`` widened to float32 unless they are float32 or float64 already.

    Sums over a completion reach hundreds of nats, where float16 and bfloat16 keep less than one decimal
    place, and squares overflow float16 above 255. The gradient comes back in the type of the input.
    """
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def as_mask(mask: Tensor) -> Tensor:
    """``mask`` as booleans: True where it is not zero."""
    return mask if mask.dtype == torch.bool else mask != 0


def require_same_shape(where: str, **tensors: Tensor) -> None:
    """Raise ValueError unless all ``tensors`` have one shape; ``where`` names the function for the reader."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"{where}: shapes differ: {listed}. Give all of them the same shape; nothing is broadcast."
        )


def require_range(
    where: str,
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: bool = False,
) -> None:
    """Raise ValueError unless ``value`` is finite and in [low, high], or in (low, high] with ``above``."""
    too_low = value <= low if above else value < low
    if not math.isfinite(value) or too_low or value > high:
        bracket = "(" if above else "["
        raise ValueError(f"{where}: {name} is {value!r}; choose a finite value in {bracket}{low}, {high}].")


def finite_scores(where: str, scores_BK: Tensor, scored_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of K completions a prompt in float32 or wider, and which of them count: scored, and finite.

    A score of NaN or infinity cannot be compared or averaged, so it is one that was not given.
    """
    require_same_shape(where, scores_BK=scores_BK, scored_BK=scored_BK)
    if scores_BK.ndim != 2 or scores_BK.shape[1] == 0:
        raise ValueError(
            f"{where}: scores have shape {tuple(scores_BK.shape)}; give (prompts, completions a prompt)."
        )
    scores_BK = at_least_float32(scores_BK)
    return scores_BK, as_mask(scored_BK) & scores_BK.isfinite()
