"""Reading checkpoints: everything is checked before anything is returned, and nothing is ever unpickled.

The order of the checks is that of their cost: manifest intact, the same files and no others, sizes,
safetensors headers against the manifest, hashes. Each file that ``load`` decodes is read once: the bytes
that were hashed are the bytes that become tensors, so nobody can swap them in between. The price is that a
group is in memory twice for a moment.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rllib_ext.errors import CheckpointCorrupt, RllibExtError, Untrusted
from rllib_ext.runtime import history
from rllib_ext.runtime import manifest as manifests
from rllib_ext.runtime.json_values import decode
from rllib_ext.runtime.manifest import DOCUMENT, MANIFEST, TENSORS, FileRecord, Manifest, UnknownFormat
from rllib_ext.runtime.tensor_files import read_specs, read_tensors

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What ``save`` was given: fresh CPU tensors by group and name, and the JSON states by name."""

    step: int
    tensors: dict[str, dict[str, torch.Tensor]]
    state: dict[str, Any]
    path: Path


def verify(path: Path | str) -> Manifest:
    """Reads every byte and returns the manifest; ``CheckpointCorrupt`` names the first bad file."""
    path = Path(path)
    record = _checked_manifest(path)
    for name, file in record.files.items():
        with manifests.opened(path, name) as (stream, size):
            _check_size(size, file)
            if file.tensors is None:
                _document(stream.read(size), file)
            else:
                _check_specs(read_specs(stream, size), file)
                stream.seek(0)
                _check_hash(hashlib.file_digest(stream, "sha256").hexdigest(), file)
    return record


def load(path: Path | str) -> Checkpoint:
    """The content of a checkpoint, all of it verified before any of it is returned."""
    path = Path(path)
    record = _checked_manifest(path)
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    state: dict[str, Any] = {}
    for name, file in record.files.items():
        with manifests.opened(path, name) as (stream, size):
            _check_size(size, file)
            data = stream.read(size)
            if file.tensors is None:
                state[name.removesuffix(DOCUMENT)] = _document(data, file)
            else:
                _check_specs(read_specs(io.BytesIO(data), len(data)), file)
                _check_hash(hashlib.sha256(data).hexdigest(), file)
                tensors[name.removesuffix(TENSORS)] = read_tensors(data, file.tensors)
    return Checkpoint(record.step, tensors, state, path)


def latest(folder: Path | str, on_skip: Callable[[Path, RllibExtError], None] | None = None) -> Path | None:
    """The checkpoint that was written last among those that verify; ``None`` where there is none at all.

    A damaged one is logged as a warning, given to ``on_skip`` with its error, and passed over. Where
    checkpoints exist but none verifies, ``CheckpointCorrupt`` is raised: a run must not begin again from
    nothing unasked. An intact checkpoint of an unknown format is raised too, for the same reason.
    """
    skipped: list[str] = []
    for item in history.scan(Path(folder)):
        try:
            if item.path.is_symlink():
                raise Untrusted(
                    f"checkpoint {item.path} is a link. Load it by its real path if you trust it."
                )
            verify(item.path)
        except UnknownFormat:
            raise
        except RllibExtError as error:
            logger.warning("skipped a checkpoint: %s", error)
            if on_skip is not None:
                on_skip(item.path, error)
            skipped.append(str(error))
        else:
            return item.path
    if skipped:
        raise CheckpointCorrupt(
            f"none of the {len(skipped)} checkpoints in {folder} can be used; the newest: {skipped[0]} "
            "To begin again, choose another folder."
        )
    return None


def _checked_manifest(path: Path) -> Manifest:
    record = manifests.read(path)
    step = history.step_in(path.name)
    if step is not None and step != record.step:
        raise CheckpointCorrupt(manifests.damaged(path, MANIFEST, f"it belongs to step {record.step}"))
    manifests.check_listing(path, record)
    return record


def _check_size(size: int, file: FileRecord) -> None:
    if size != file.size:
        raise ValueError(f"it has {size} bytes, {file.size} were written")


def _check_hash(digest: str, file: FileRecord) -> None:
    if digest != file.sha256:
        raise ValueError("its SHA-256 is not that of the bytes that were written")


def _check_specs(specs: Mapping[str, Any], file: FileRecord) -> None:
    if specs != file.tensors:
        raise ValueError("its tensors differ in name, type or shape from those in the manifest")


def _document(data: bytes, file: FileRecord) -> Any:
    _check_hash(hashlib.sha256(data).hexdigest(), file)
    return decode(data)
