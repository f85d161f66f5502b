"""A small checkpoint folder to damage, and a manifest that an attacker has made to fit what they put
there."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import Path

import torch

from rllib_ext.runtime import manifest as manifests
from rllib_ext.runtime.checkpoint import save
from rllib_ext.runtime.manifest import MANIFEST, FileRecord, Manifest


def small_checkpoint(folder: Path, step: int) -> Path:
    """Five files, each a few hundred bytes, no two alike in content."""
    tensors = {
        "policy": {"w": torch.arange(12.0).reshape(3, 4) + step, "b": torch.ones(4, dtype=torch.bfloat16)},
        "optimizer": {"step": torch.tensor(float(step)), "m": torch.linspace(0, step, 7)},
    }
    state = {"cursor": {"row": step, "order": [3, 1, 2]}, "rng": [step, 123456789, None]}
    return save(folder, step=step, tensors=tensors, state=state, keep=10)


def reseal(path: Path, **tensors: dict[str, str]) -> None:
    """A manifest that fits the files that are there, as whoever can write the folder can make one.

    ``tensors``: the specs to claim for a group; by default those of the manifest that is there.
    """
    record = manifests.read(path)
    files = {}
    for file in sorted(path.iterdir()):
        if file.name == MANIFEST:
            continue
        data = file.read_bytes()
        claimed = record.files[file.name].tensors if file.name in record.files else None
        specs = tensors.get(file.stem, claimed) if file.suffix == ".safetensors" else None
        files[file.name] = FileRecord(len(data), hashlib.sha256(data).hexdigest(), specs)
    write_manifest(path, dataclasses.replace(record, files=files))


def write_manifest(path: Path, record: Manifest) -> None:
    (path / MANIFEST).write_bytes(manifests.render(record))


def safetensors_bytes(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A file in the layout of safetensors, with whatever header (and claimed header length) one likes."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data
