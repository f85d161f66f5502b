"""A pretrained folder: the networks that pretraining made, and a card that says what they are and came from.

    folder/step_<updates>/      a checkpoint of `runtime.checkpoint`: safetensors and JSON, hashed, no pickle
        encoder, first_layers                              always: what finetuning starts from
        target_encoder, target_first_layers                always: their averages
        dynamics, predictor                                with S, dynamics also with I
        goal_head, target_goal_head                        with G
        inverse                                            with I
        card.json                                          `Card`

Optimizers are no part of it: finetuning begins its own, and a run that is gone on with has its checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rllib_ext.errors import BadConfig, BadData, CheckpointCorrupt
from rllib_ext.runtime import checkpoint

__all__ = ["ALWAYS", "GROUPS", "Card", "Pretrained", "load_pretrained", "save_pretrained"]

ALWAYS = ("encoder", "first_layers", "target_encoder", "target_first_layers")
GROUPS = (*ALWAYS, "dynamics", "predictor", "goal_head", "target_goal_head", "inverse")
CARD = "card"


@dataclass(frozen=True)
class Card:
    """What the networks of a pretrained folder are, and what they were made from."""

    encoder: str  # a size of `AtariEncoder`
    hidden: int  # width of each first layer
    actions: int
    game: str
    losses: str  # a subset of "SGI"
    horizon: int  # K, steps that the dynamics was rolled out
    updates: int  # gradient steps; 0: as drawn
    action_meanings: tuple[str, ...] = ()  # in the order of the actions; empty where the data does not say
    environment: Mapping[str, Any] = field(default_factory=dict)  # flags that the data was played with
    data: Mapping[str, Any] = field(default_factory=dict)  # where the data came from
    settings: Mapping[str, Any] = field(default_factory=dict)  # every knob of the pretraining


@dataclass(frozen=True)
class Pretrained:
    """A pretrained folder that was read and verified."""

    card: Card
    tensors: dict[str, dict[str, Tensor]]
    path: Path

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors of one network. Raises BadConfig where this pretraining had none of that name."""
        if name not in self.tensors:
            raise BadConfig(
                f"{self.path} has no {name!r}: it was pretrained with losses={self.card.losses!r} and holds "
                f"{', '.join(sorted(self.tensors))}; pretrain with the loss that needs it, or do without it"
            )
        return self.tensors[name]

    def load_into(self, name: str, module: nn.Module, into: str | None = None) -> None:
        """Copy one network's tensors into ``module``; every name and shape must be the same.

        ``into``: what the message calls the module; its group's name by default.
        """
        try:
            module.load_state_dict(self.group(name), strict=True)
        except RuntimeError as error:
            raise BadConfig(f"{name!r} of {self.path} does not fit {into or name}: {error}") from error

    def require(self, **wanted: Any) -> None:
        """Raise BadConfig naming every field of the card that differs from what is ``wanted`` (None: anything)."""
        differing = [
            f"{name} is {getattr(self.card, name)!r} there and {value!r} here"
            for name, value in wanted.items()
            if value is not None and getattr(self.card, name) != value
        ]
        if differing:
            raise BadConfig(
                f"the pretrained folder {self.path} does not fit this run: {'; '.join(differing)}. Give the same "
                "settings as in pretraining, or another folder."
            )


def save_pretrained(folder: Path | str, *, tensors: Mapping[str, Mapping[str, Tensor]], card: Card) -> Path:
    """Write a pretrained folder, durably and all or nothing; its path. An older content is replaced."""
    missing, unknown = set(ALWAYS) - set(tensors), set(tensors) - set(GROUPS)
    if missing or unknown:
        raise BadConfig(
            f"a pretrained folder holds {', '.join(GROUPS)}: missing {sorted(missing)}, unknown {sorted(unknown)}"
        )
    copied = {
        name: {key: tensor.detach().cpu().contiguous() for key, tensor in group.items()}
        for name, group in tensors.items()
    }
    state = {CARD: asdict(card) | {"action_meanings": list(card.action_meanings)}}
    checkpoint.save(folder, step=card.updates, tensors=copied, state=state, keep=1)
    return Path(folder)


def load_pretrained(folder: Path | str) -> Pretrained:
    """Read and verify a pretrained folder. Raises BadData where there is none, CheckpointCorrupt where it is damaged."""
    folder = Path(folder)
    path = checkpoint.latest(folder) if folder.is_dir() else None
    if path is None:
        for damaged in sorted(folder.glob("step_*")):
            checkpoint.verify(damaged)  # raises, naming the file
        raise BadData(
            f"{folder} is no pretrained folder: it has no complete step_<updates> in it; give the folder whose path "
            "`rllib-ext train SGIPretrain` printed"
        )
    loaded = checkpoint.load(path)
    card = _card(loaded.state.get(CARD), path)
    if missing := set(ALWAYS) - set(loaded.tensors):
        raise CheckpointCorrupt(f"{path} lacks {sorted(missing)}: it is no pretrained folder of SGIPretrain")
    return Pretrained(card, {name: dict(group) for name, group in loaded.tensors.items()}, folder)


def _card(stored: Any, path: Path) -> Card:
    names = {one.name for one in fields(Card)}
    if not isinstance(stored, Mapping) or not names >= set(stored):
        raise CheckpointCorrupt(f"{path / CARD}.json is no card of a pretrained folder: {str(stored)[:200]}")
    try:
        return Card(**{**stored, "action_meanings": tuple(stored.get("action_meanings", ()))})
    except TypeError as error:
        raise CheckpointCorrupt(f"{path / CARD}.json lacks a field: {error}") from error
