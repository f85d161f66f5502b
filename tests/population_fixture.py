"""A trainable that population-based training exploits in a known direction, and that says what it took over."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from elastic_fixture import MODULE, learner_of

from rllib_ext.elastic_reset import ElasticResetPPO


class Watched(ElasticResetPPO):
    """Its score is its seed, so the trial with the larger seed is the donor. What a checkpoint brought is reported
    with the next result, as it was BEFORE any update.
    """

    taken: dict[str, Any] | None = None

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        learner = learner_of(self)
        self.taken = {
            **told(learner.elastic_state()[MODULE]),
            "lr": [group["lr"] for _, optimizer in learner.get_optimizers_for_module(MODULE)
                   for group in optimizer.param_groups],
            "online": digest(learner.weights_of(MODULE)),
        }  # fmt: skip

    def step(self) -> dict[str, Any]:
        taken, self.taken = self.taken, None
        return super().step() | {"score": self.config.seed, "taken": taken}


def told(state: dict[str, Any]) -> dict[str, Any]:
    """A module's stores as digests, its counters and the penalty's weight as they are."""
    digests = {store: digest(state[store]) for store in ("ema", "init")}
    return {**digests, "counts": dict(state["counts"]), "beta": state["beta"]}


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """Of names and bits."""
    parts = hashlib.sha256()
    for name in sorted(tensors):
        parts.update(name.encode() + torch.as_tensor(tensors[name]).detach().cpu().numpy().tobytes())
    return parts.hexdigest()
