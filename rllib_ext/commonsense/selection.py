"""Which weights are kept, and when the learning rate falls: by accuracy on dev2, at the threshold of dev1.

dev2 chooses, test never does. Of equally accurate weights the earliest are kept. The learning rate is multiplied with
``factor`` after ``patience`` judgements without a better accuracy (Keras's ReduceLROnPlateau, as in the source).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib_ext.commonsense.evaluation import Judgement

Figures = dict[str, float]
DEV1_SCORES = "dev1_scores"


@dataclass(frozen=True)
class Kept:
    """Weights, their figures (``updates``: how many they took), and their scores of dev1."""

    weights: dict[str, Tensor]
    figures: Figures
    dev1_scores: NDArray[np.float64]

    @classmethod
    def of(cls, found: Judgement, scorer: nn.Module, updates: int) -> Kept:
        weights = {name: one.detach().cpu().clone() for name, one in scorer.state_dict().items()}
        return cls(weights, {**found.flat(), "updates": float(updates)}, found.dev1_scores)


class Selection:
    """rate: what the learning rate is multiplied with now. kept: the best so far; None before a judgement."""

    def __init__(self, patience: int, factor: float) -> None:
        self.patience, self.factor = patience, factor
        self.rate, self.waited = 1.0, 0
        self.kept: Kept | None = None

    @property
    def best(self) -> Figures:
        """Figures of the best so far."""
        return {} if self.kept is None else self.kept.figures

    def note(self, found: Judgement, scorer: nn.Module, updates: int) -> bool:
        """Whether these are the best so far; they are then kept."""
        accuracy, before = found.groups["dev2"].accuracy, self.best.get("dev2/accuracy")
        if before is None or (accuracy is not None and accuracy > before):
            self.kept, self.waited = Kept.of(found, scorer, updates), 0
            return True
        self.waited += 1
        if self.patience and self.waited >= self.patience:
            self.rate *= self.factor
            self.waited = 0
        return False

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, plain values); no tensors before a judgement."""
        plain = {"rate": self.rate, "waited": self.waited, "best": self.best}
        if self.kept is None:
            return {}, plain
        scores = torch.from_numpy(self.kept.dev1_scores.copy())
        return {
            DEV1_SCORES: scores,
            **{f"weights.{k}": v.clone() for k, v in self.kept.weights.items()},
        }, plain

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """The inverse."""
        self.rate, self.waited = plain["rate"], plain["waited"]
        self.kept = None
        if tensors:
            weights = {
                name.removeprefix("weights."): one.clone()
                for name, one in tensors.items()
                if name != DEV1_SCORES
            }
            self.kept = Kept(weights, dict(plain["best"]), tensors[DEV1_SCORES].numpy().copy())
