"""Pretrained folders: what is written is read to the bit, and what does not fit is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rllib_ext.errors import BadConfig, BadData, CheckpointCorrupt
from rllib_ext.runtime import checkpoint
from rllib_ext.sgi.encoders import AtariEncoder
from rllib_ext.sgi.heads import FirstLayers
from rllib_ext.sgi.pretrained import Card, load_pretrained, save_pretrained

CARD = Card(
    encoder="S",
    hidden=16,
    actions=3,
    game="Pong",
    losses="SI",
    horizon=5,
    updates=7,
    action_meanings=("NOOP", "UP", "DOWN"),
    environment={"sticky": 0.0},
    data={"files": ["a", "b"]},
    settings={"lr": 1e-4},
)


def written(folder: Path, card: Card = CARD) -> dict[str, dict[str, torch.Tensor]]:
    encoder, first = AtariEncoder("S"), FirstLayers(3136, 16)
    tensors = {
        "encoder": encoder.state_dict(),
        "first_layers": first.state_dict(),
        "target_encoder": AtariEncoder("S").state_dict(),
        "target_first_layers": FirstLayers(3136, 16).state_dict(),
    }
    assert save_pretrained(folder, tensors=tensors, card=card) == folder
    return tensors


def test_what_is_written_is_read_to_the_bit(tmp_path: Path) -> None:
    tensors = written(tmp_path / "made")
    found = load_pretrained(tmp_path / "made")
    assert found.card == CARD
    assert found.tensors.keys() == tensors.keys()
    for name, group in tensors.items():
        assert all(torch.equal(found.tensors[name][key], tensor) for key, tensor in group.items())
    encoder = AtariEncoder("S")
    found.load_into("encoder", encoder)
    assert torch.equal(encoder.layers[0].weight, tensors["encoder"]["layers.0.weight"])


def test_writing_again_replaces(tmp_path: Path) -> None:
    written(tmp_path)
    written(tmp_path, replace(CARD, updates=9))
    assert load_pretrained(tmp_path).card.updates == 9
    assert [path.name for path in tmp_path.glob("step_*")] == ["step_000009"]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    found = load_pretrained(tmp_path)
    found.require(encoder="S", actions=None)
    with pytest.raises(BadConfig, match="encoder is 'S' there and 'M' here; actions is 3 there and 4 here"):
        found.require(encoder="M", actions=4)
    with pytest.raises(BadConfig, match="no 'goal_head': it was pretrained with losses='SI'"):
        found.group("goal_head")
    with pytest.raises(BadConfig, match=r"'first_layers'.*does not fit the RL head"):
        found.load_into("first_layers", FirstLayers(3136, 8), into="the RL head")


def test_no_folder_other_checkpoints_and_missing_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is no pretrained folder"):
        load_pretrained(tmp_path / "nothing")
    checkpoint.save(
        tmp_path / "other", step=1, tensors={"w": {"a": torch.zeros(1)}}, state={"card": {"x": 1}}
    )
    with pytest.raises(CheckpointCorrupt, match="no card of a pretrained folder"):
        load_pretrained(tmp_path / "other")
    with pytest.raises(BadConfig, match=r"missing .*first_layers"):
        save_pretrained(tmp_path / "third", tensors={"encoder": {}}, card=CARD)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    written(tmp_path)
    (file,) = tmp_path.glob("step_*/encoder.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointCorrupt, match="encoder"):
        load_pretrained(tmp_path)
