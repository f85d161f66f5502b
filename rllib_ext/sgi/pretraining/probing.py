"""Linear probes of latents: what can be read from an encoder by a linear map, before any reward.

Ridge regression of the console's memory (positions of ball and paddle, say) and of the action that was played between two
frames, on the latent flattened ("flat") and averaged over its 7 x 7 places ("pooled"). Light-weight probes of this kind
rank encoders much like full finetuning does (Zhang et al. 2022, arXiv 2208.12345). An encoder as it was drawn is a strong
baseline on flattened latents: compare with it.

lambda = 0.1 dim on standardised features. Rows are split by time: the first four fifths fit, the last fifth judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from envs.atari_ram import MEMORY

LAMBDA = 0.1
ENCODED_AT_ONCE = 256

Array = NDArray[np.float64]


def ridge(fit_NX: Array, wanted_NY: Array, judge_MX: Array, strength: float | None = None) -> Array:
    """Predictions (M, Y) of ridge regression; features standardised by the rows that are fitted.

    strength: lambda, 0.1 X by default. The smaller of the two normal systems is solved, N x N or X x X: same answer.
    """
    mean, deviation = fit_NX.mean(0), fit_NX.std(0) + 1e-8
    fit, judge = (fit_NX - mean) / deviation, (judge_MX - mean) / deviation
    centre = wanted_NY.mean(0)
    strength = LAMBDA * fit.shape[1] if strength is None else strength
    if len(fit) < fit.shape[1]:
        dual = np.linalg.solve(fit @ fit.T + strength * np.eye(len(fit)), wanted_NY - centre)
        return judge @ (fit.T @ dual) + centre
    weights = np.linalg.solve(fit.T @ fit + strength * np.eye(fit.shape[1]), fit.T @ (wanted_NY - centre))
    return judge @ weights + centre


def explained(predicted_MY: Array, wanted_MY: Array) -> Array:
    """R^2 of every column: 1 - squared error / variance. NaN for a column that does not vary."""
    error = ((predicted_MY - wanted_MY) ** 2).mean(0)
    variance = wanted_MY.var(0)
    return np.where(variance > 0, 1.0 - error / np.where(variance > 0, variance, 1.0), np.nan)


@torch.no_grad()
def encode(encoder: nn.Module, stacks_NCHW: NDArray[np.uint8]) -> tuple[Array, Array]:
    """(flat, pooled) latents of stacks, without augmentation, normalisations in evaluation mode."""
    training = encoder.training
    encoder.eval()
    device = next(encoder.parameters()).device
    found: list[Tensor] = []
    for start in range(0, len(stacks_NCHW), ENCODED_AT_ONCE):
        piece = torch.from_numpy(np.ascontiguousarray(stacks_NCHW[start : start + ENCODED_AT_ONCE])).to(
            device
        )
        found.append(encoder(piece).cpu())
    encoder.train(training)
    latents = torch.cat(found)
    return latents.flatten(1).double().numpy(), latents.mean((-2, -1)).double().numpy()


def probe(
    encoder: nn.Module, reader: Any, samples: int, ram: Mapping[str, int], actions: int, seed: int = 0
) -> dict[str, float]:
    """R^2 of every address of ``ram`` (name → byte), where the data hold the memory, and the accuracy of actions.

    ``samples`` windows fit and a quarter as many judge, drawn by ``seed``: the same ones every time.
    """
    anchors = np.sort(reader.anchors)
    draw = np.random.default_rng(seed)
    cut = len(anchors) * 4 // 5
    fit, judge = anchors[:cut], anchors[cut:]
    fit = draw.choice(fit, min(samples, len(fit)), replace=False)
    judge = draw.choice(judge, min(samples // 4, len(judge)), replace=False)
    windows = reader.fetch(np.concatenate([fit, judge]), draw)
    now = encode(encoder, windows.frames_BFHW[:, :4])
    then = encode(encoder, windows.frames_BFHW[:, 1:5])
    played = np.eye(actions)[windows.actions_BK[:, 0]]
    found = {}
    for kind, latents, after in (("flat", now[0], then[0]), ("pooled", now[1], then[1])):
        count = len(fit)
        if windows.ram_BX is not None and ram:
            wanted = windows.ram_BX[:, list(ram.values())].astype(np.float64)
            guessed = ridge(latents[:count], wanted[:count], latents[count:])
            scores = explained(guessed, wanted[count:])
            found |= {
                f"{name}_{kind}": float(score)
                for name, score in zip(ram, scores, strict=True)
                if score == score
            }
        both = np.concatenate([latents, after - latents], axis=1)
        guessed = ridge(both[:count], played[:count], both[count:])
        found[f"action_{kind}"] = float((guessed.argmax(1) == played[count:].argmax(1)).mean())
    return found


def probe_learner(learner: Any, **_: Any) -> dict[str, float]:
    """The probes of a learner's encoder on its own data."""
    actions = int(learner.networks.action_space.n)
    game = learner.reader.stores[0].about.get("game")
    return probe(
        learner.networks.encoder, learner.reader, learner.config.probe_samples, ram_of(game), actions
    )


def ram_of(game: Any) -> dict[str, int]:
    """Names of what is known of a game's memory, and the byte of each; empty where nothing is."""
    return {name: byte.address for name, byte in MEMORY.get(game, {}).items()}
