"""Checkpoints that are whole or absent.

Writing::

    step_000120.tmp-<id>/     one safetensors file per group of tensors, one JSON file per state
    manifest.json             last: size, SHA-256, types and shapes of all of them
    fsync, read back, verify
    rename to step_000120/    the checkpoint exists from here on
    LATEST                    by temporary file and rename; for people, ``latest`` does not rely on it
    delete older ones         only now

A process killed at any instant leaves the previous checkpoint whole, and leftovers whose names say what they
are; the next save removes them. Reading (``load``, ``latest``, ``verify``) is in ``checkpoint_reader`` and
is offered here too.

Cost: the data is written once and read twice (hash, verify), tensors are not copied unless they have to be
laid out.

Left out: locking (one writer per folder; ``runtime.run_folder`` has the lock), and files shared between
steps.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rllib_ext.errors import BadConfig, CheckpointCorrupt
from rllib_ext.runtime import history
from rllib_ext.runtime import manifest as manifests
from rllib_ext.runtime.checkpoint_reader import Checkpoint, latest, load, verify
from rllib_ext.runtime.containment import plain_name
from rllib_ext.runtime.json_values import NotStorable, encode
from rllib_ext.runtime.manifest import DOCUMENT, MANIFEST, TENSORS, FileRecord, Manifest, UnknownFormat
from rllib_ext.runtime.storage import StorageError, fsync, replace, storage_errors, write_new
from rllib_ext.runtime.tensor_files import write_tensors

__all__ = [
    "Checkpoint",
    "Manifest",
    "NotStorable",
    "StorageError",
    "UnknownFormat",
    "latest",
    "load",
    "save",
    "verify",
]


def save(
    folder: Path | str,
    *,
    step: int,
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
    parent_step: int | None = None,
) -> Path:
    """Writes ``folder/step_<step>`` durably, keeps the ``keep`` newest whole checkpoints, returns its path.

    ``parent_step`` is the step that training continued from; by default the other step saved last. A
    checkpoint of the same step is replaced, and stays whole until the new one has its place.
    ``StorageError`` (an ``OSError``) when the storage fails: then nothing older was deleted, the partial
    files are gone, and a later save may try again. ``NotStorable`` for values that would change on the way.
    """
    folder = Path(folder)
    _check_arguments(step, keep, tensors, state)
    documents = {f"{name}{DOCUMENT}": encode(value, name) for name, value in state.items()}
    with storage_errors(folder, f"saving step {step}"):
        if not folder.is_dir():
            folder.mkdir(parents=True)
            fsync(folder.parent)
        history.clear_leftovers(folder)
        known = [item.manifest for item in history.scan(folder) if item.manifest is not None]
        if parent_step is None:
            parent_step = next((item.step for item in known if item.step != step), None)
        temporary = folder / f"{history.name_of(step)}.tmp-{uuid.uuid4().hex}"
        try:
            temporary.mkdir()
            files = _write_files(temporary, documents, tensors)
            sequence = known[0].sequence + 1 if known else 0
            record = Manifest(step, sequence, parent_step, files, manifests.package_versions())
            write_new(temporary / MANIFEST, manifests.render(record))
            fsync(temporary)
            _read_back(temporary)
            path = history.publish(temporary, folder / history.name_of(step))
        except BaseException:
            history.remove(temporary)
            raise
        replace(folder / history.LATEST, f"{path.name}\n".encode())
    history.prune(folder, path, keep)
    return path


def _read_back(temporary: Path) -> None:
    """What was just written must verify. If it does not, the storage is at fault, not the checkpoint."""
    try:
        verify(temporary)
    except CheckpointCorrupt as error:
        raise OSError(errno.EIO, str(error)) from error


def _check_arguments(step: int, keep: int, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Refuses what could not be written or read back, before storage is touched."""
    if type(step) is not int or not 0 <= step < 10**18 or type(keep) is not int or keep < 1:
        raise BadConfig(f"step={step!r}, keep={keep!r}: step must be a count, keep at least 1.")
    names = [plain_name(group, "a group of tensors") + TENSORS for group in tensors]
    names += [plain_name(name, "a state") + DOCUMENT for name in state]
    lowered = {plain_name(name, "a checkpoint file").lower() for name in names}
    if MANIFEST in lowered or len(lowered) < len(names):
        raise BadConfig(
            f"checkpoint files {sorted(names)}: 'manifest' is taken, and names must differ in more than case."
        )


def _write_files(
    folder: Path, documents: Mapping[str, bytes], tensors: Mapping[str, Mapping[str, torch.Tensor]]
) -> dict[str, FileRecord]:
    files = {}
    for name, data in documents.items():
        write_new(folder / name, data)
        files[name] = FileRecord(len(data), hashlib.sha256(data).hexdigest())
    for group, members in tensors.items():
        path = folder / f"{group}{TENSORS}"
        specs = write_tensors(path, members)
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        files[path.name] = FileRecord(os.path.getsize(path), digest, specs)
    return files
