"""What tells learning from collapse: spread and rank of projections, and what the inverse loss is worth.

The loss of self-prediction falls to a thousandth in every run, collapsed or not, because neighbouring frames are nearly
alike and latents not negative. So it is reported relative to the distance of random pairs of the batch; and the monitor
follows that distance itself: where random states become one point, nothing is left to finetune.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rllib_ext.functional.self_predictive import diversity, effective_rank, random_pair_chord

__all__ = ["Spread", "diagnose"]

Figures = dict[str, float]


@torch.no_grad()
def diagnose(networks: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> Figures:
    """Figures of one batch: B projections of o_t, the actions that were played, the encoder's weights."""
    projections_BP = out["projections"]
    found = {
        "diversity": float(diversity(projections_BP)),  # mean cosine of different states
        "spread": float(random_pair_chord(projections_BP)),
        "effective_rank": float(effective_rank(projections_BP)),
        "encoder_norm": float(torch.stack(torch._foreach_norm(list(networks.encoder.parameters()))).norm()),
    }
    if "targets" in out and "predictions" in out:
        pairs = float(random_pair_chord(out["targets"][:, 0]))
        found["target_spread"] = pairs
    return found | baselines(batch["actions"], batch["valid"])


def baselines(actions_BK: Tensor, valid_BK: Tensor) -> Figures:
    """Accuracies that an inverse model must beat: the commonest action of the batch, and the one played before."""
    played = actions_BK[valid_BK]
    found = {}
    if len(played):
        found["majority_accuracy"] = float(played.bincount().max()) / len(played)
    both_BK = valid_BK[:, 1:] & valid_BK[:, :-1]
    if bool(both_BK.any()):
        same_BK = (actions_BK[:, 1:] == actions_BK[:, :-1]) & both_BK
        found["repeat_accuracy"] = float(same_BK.sum()) / float(both_BK.sum())
    return found


class Spread:
    """Follows the distance of random states in the projection, relative to the first one that was seen.

    `collapsed` is true from where the share falls below ``threshold`` until it is above twice that again.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.first: float | None = None
        self.collapsed = False

    def note(self, figures: Figures) -> Figures:
        """The new figures: the share, the relative loss of self-prediction, and whether it collapsed (0 or 1)."""
        spread = figures["spread"]
        if self.first is None and spread > 0:
            self.first = spread
        share = spread / self.first if self.first else 1.0
        self.collapsed = share < self.threshold * (2.0 if self.collapsed else 1.0)
        found = {"spread_share": share, "collapsed": float(self.collapsed)}
        if figures.get("target_spread"):
            found["self_prediction_relative"] = figures["self_prediction_loss"] / figures["target_spread"]
        return found
