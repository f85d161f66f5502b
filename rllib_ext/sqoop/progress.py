"""What a run of SQOOP knows of itself: has it left the plateau, how well does it answer, which weights were best.

With questions that are balanced exactly, a model that has not yet found the objects has no gradient from guessing:
every one starts at a loss of ln 2 and stays there for hundreds of updates, however well it will generalise.
``escape_step`` is the update at which the average loss left it; a run that is shorter says nothing.

The best weights are chosen by the accuracy on seen pairs in fresh scenes, as one would who has no unseen pairs. (The
released code chooses them on unseen validation pairs.)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rllib_ext.sqoop.scenes import Batch

EMA_DECAY = 0.98  # of the training loss, an update
EXAMINED_AT_ONCE = 256


@torch.no_grad()
def accuracy(encoder: nn.Module, scenes: Batch, device: torch.device) -> float:
    """Share of right answers; the encoder in evaluation mode, and afterwards in the one it was in."""
    was_training = encoder.training
    encoder.eval()
    right = 0
    for start in range(0, len(scenes["answer"]), EXAMINED_AT_ONCE):
        part = {name: values[start : start + EXAMINED_AT_ONCE].to(device) for name, values in scenes.items()}
        right += int((encoder(part["image"], part["question"]).argmax(-1) == part["answer"]).sum())
    encoder.train(was_training)
    return right / len(scenes["answer"])


@dataclass
class Progress:
    """loss_ema: average of the training loss, from ln 2. accuracies: of the last examination, by set.
    best: the accuracies of the examination with the best seen one, with its ``step``.
    """

    escape_below: float
    loss_ema: float = math.log(2)
    escape_step: int | None = None
    cpu_seconds: float = 0.0
    accuracies: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)

    def note_loss(self, loss: float, step: int) -> None:
        """The loss of update ``step``, the first is 1."""
        self.loss_ema += (1 - EMA_DECAY) * (loss - self.loss_ema)
        if self.escape_step is None and self.loss_ema < self.escape_below:
            self.escape_step = step

    def note_accuracies(self, found: dict[str, float], step: int) -> bool:
        """Whether these are the best so far."""
        self.accuracies = dict(found)
        if self.best and found["seen"] <= self.best["seen"]:
            return False
        self.best = {"step": step, **found}
        return True

    def figures(self) -> dict[str, float]:
        """As they stand in a result; what is not known yet is not there."""
        found = {"loss_ema": self.loss_ema, "cpu_seconds": self.cpu_seconds}
        if self.escape_step is not None:
            found["escape_step"] = self.escape_step
        found |= {f"acc_{name}": value for name, value in self.accuracies.items()}
        return found | {
            f"best_{'' if name == 'step' else 'acc_'}{name}": value for name, value in self.best.items()
        }

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same on the CPU, which no later update changes."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
