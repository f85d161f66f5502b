"""Speaker and listener: two linear maps each, objects and messages as one-hot vectors.

    speaker    logits (p, p t) = W_2 W_1 onehot(object)       a message has p symbols, each of the p t of the vocabulary
    listener   logits (p, t)   = W_2 W_1 onehot(message)

There is no non-linearity: "linear agents" of the published game is read so. Weights begin as N(0, scale^2), biases as 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot


class LinearAgent(nn.Module):
    """From ``places`` one-hot vectors of ``values`` entries to logits of the shape ``out``."""

    def __init__(self, places: int, values: int, out: tuple[int, int], hidden: int, scale: float) -> None:
        super().__init__()
        self.values, self.out = values, out
        self.maps = nn.Sequential(nn.Linear(places * values, hidden), nn.Linear(hidden, out[0] * out[1]))
        for name, parameter in self.maps.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, std=scale)
            else:
                nn.init.zeros_(parameter)

    def forward(self, seen: Tensor) -> Tensor:
        """Logits (B, places out, values out) of symbols (B, places) or of one-hot vectors (B, places, values)."""
        vectors = one_hot(seen, self.values).to(self.maps[0].weight.dtype) if seen.ndim == 2 else seen
        logits: Tensor = self.maps(vectors.flatten(1)).unflatten(-1, self.out)
        return logits

    def greedy(self, seen: Tensor) -> Tensor:
        """The most likely output, (B, places out)."""
        return self(seen).argmax(dim=-1)


def speaker(properties: int, types: int, hidden: int, scale: float) -> LinearAgent:
    """Objects to messages."""
    return LinearAgent(properties, types, (properties, properties * types), hidden, scale)


def listener(properties: int, types: int, hidden: int, scale: float) -> LinearAgent:
    """Messages to objects."""
    return LinearAgent(properties, properties * types, (properties, types), hidden, scale)


def nll(logits_BPV: Tensor, wanted_BP: Tensor) -> Tensor:
    """Mean NLL of a symbol (or property) of each example in nats, (B,)."""
    return cross_entropy(logits_BPV.transpose(1, 2), wanted_BP, reduction="none").mean(dim=-1)


def share_right(found_NP: Tensor, wanted_NP: Tensor) -> float:
    """Share of entries that agree."""
    return float((found_NP == wanted_NP).double().mean())


def to_tensor(array: object, device: torch.device) -> Tensor:
    """Objects or messages as int64 on the device."""
    return torch.as_tensor(array, dtype=torch.int64, device=device)
