"""A trained model of SQOOP as a folder, and back: weights of the end and of the best examination, and what they are of.

folder/step_<updates>/      a checkpoint of `rllib_ext.runtime.checkpoint`: safetensors and JSON, hashed, no pickle
    last, best              weights of the model; best only where there was an examination
    card.json               settings of the model, figures of the run
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rllib_ext.errors import BadConfig, BadData, CheckpointCorrupt
from rllib_ext.runtime import checkpoint
from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.encoders import build_encoder

CARD = "card"


@dataclass(frozen=True)
class Trained:
    """settings: as `build_encoder` takes them. figures: of the run when it was written."""

    settings: dict[str, Any]
    figures: dict[str, float]
    weights: dict[str, dict[str, Tensor]]

    def encoder(self, which: str = "best") -> AnswerEncoder:
        """The model with its weights, in evaluation mode. which: "best" (by seen pairs) or "last"."""
        if which not in self.weights:
            raise BadConfig(f"which is {which!r}; this folder has {', '.join(sorted(self.weights))}")
        made = build_encoder(self.settings)
        made.load_state_dict(self.weights[which])
        return made.eval()


def write_trained(
    folder: Path | str,
    *,
    settings: Mapping[str, Any],
    figures: Mapping[str, float],
    weights: Mapping[str, Mapping[str, Tensor]],
    updates: int,
) -> Path:
    """Write it, durably and all or nothing; its path. An older content is replaced."""
    plain = {**settings, "image_shape": list(settings["image_shape"])}
    tensors = {name: dict(group) for name, group in weights.items() if group}
    state = {CARD: {"settings": plain, "figures": dict(figures)}}
    checkpoint.save(folder, step=updates, tensors=tensors, state=state, keep=1)
    return Path(folder)


def read_trained(folder: Path | str) -> Trained:
    """Read and verify. Raises BadData where there is none, CheckpointCorrupt where it is something else."""
    path = checkpoint.latest(folder) if Path(folder).is_dir() else None
    if path is None:
        raise BadData(f"{folder} is no trained model of SQOOP: it has no complete step_<updates> in it")
    loaded = checkpoint.load(path)
    card = loaded.state.get(CARD)
    if not isinstance(card, Mapping) or "settings" not in card or "last" not in loaded.tensors:
        raise CheckpointCorrupt(f"{path} has no card of a model of SQOOP: it was not written by SQOOP.export")
    return Trained(
        dict(card["settings"]),
        dict(card.get("figures", {})),
        {name: dict(of) for name, of in loaded.tensors.items()},
    )
