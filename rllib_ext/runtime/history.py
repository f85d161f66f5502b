"""The checkpoints of one folder: which there are, in which order, how one takes its place, which may go.

Three kinds of names. ``step_000120`` is a checkpoint. ``step_000120.tmp-<id>`` is one being written or
deleted, never worth reading. ``step_000120.old-<id>`` is one that was moved aside while a new save of the
same step takes its place: it counts as the checkpoint of that step as long as ``step_000120`` does not
exist, because a kill between the two renames leaves exactly that.

Order is the manifest's ``sequence``, not the step: a run that went back to step 100 and saved 110 must
resume from 110 even though 200 is still there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from rllib_ext.errors import RllibExtError
from rllib_ext.runtime import manifest as manifests
from rllib_ext.runtime.manifest import Manifest
from rllib_ext.runtime.storage import fsync

LATEST = "LATEST"
_STEP = re.compile(r"step_(\d{6,18})(\.old-[0-9a-f]{32})?")
_TEMPORARY = re.compile(r"step_\d{6,18}\.tmp-[0-9a-f]{32}|\.LATEST\.tmp-[0-9a-f]{32}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """A checkpoint folder; ``manifest`` is ``None`` where it cannot be read, and for a link."""

    path: Path
    step: int
    manifest: Manifest | None


def name_of(step: int) -> str:
    return f"step_{step:06d}"


def step_in(name: str) -> int | None:
    """The step that a checkpoint folder's name claims; ``None`` for a folder of any other name."""
    match = _STEP.fullmatch(name)
    return int(match[1]) if match else None


def scan(folder: Path) -> list[Saved]:
    """All checkpoints of a folder, written last first; one without a readable manifest by its step."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    readable: list[tuple[int, Saved]] = []
    unreadable: list[Saved] = []
    for name in sorted(names):
        match = _STEP.fullmatch(name)
        if not match or (match[2] and name.removesuffix(match[2]) in names):
            continue
        manifest = _manifest_or_none(folder / name)
        item = Saved(folder / name, int(match[1]), manifest)
        if manifest is None:
            unreadable.append(item)
        else:
            readable.append((manifest.sequence, item))
    ordered = [item for _, item in sorted(readable, key=lambda pair: (pair[0], pair[1].step), reverse=True)]
    for item in unreadable:
        place = next((i for i, other in enumerate(ordered) if other.step < item.step), len(ordered))
        ordered.insert(place, item)
    return ordered


def clear_leftovers(folder: Path) -> None:
    """Removes what a kill left; puts a checkpoint back that was moved aside and not replaced."""
    for path in sorted(folder.iterdir()):
        match = _STEP.fullmatch(path.name)
        if _TEMPORARY.fullmatch(path.name):
            remove(path)
        elif match and match[2]:
            final = folder / path.name.removesuffix(match[2])
            if os.path.lexists(final):
                remove(path)
            else:
                os.rename(path, final)


def publish(temporary: Path, final: Path) -> Path:
    """Gives a complete, flushed folder its name; an older one of that name is deleted after, never before."""
    aside = None
    if os.path.lexists(final):
        aside = final.with_name(f"{final.name}.old-{uuid.uuid4().hex}")
        os.rename(final, aside)
    try:
        os.rename(temporary, final)
    except OSError:
        if aside is not None:
            os.rename(aside, final)
        raise
    fsync(final.parent)
    if aside is not None:
        remove(aside)
    return final


def prune(folder: Path, newest: Path, keep: int) -> None:
    """Deletes what is older than the ``keep`` newest whole checkpoints, of which ``newest`` is the first.

    A damaged one does not count as kept, or two saves after a disk error would delete the last good one.
    Whole means here: manifest intact, all files there with their sizes; hashing every old checkpoint at
    every save would cost as much as writing it. One whose manifest cannot be read is left for a person to
    look at. A delete that fails is logged, because the new checkpoint is safe and training should go on.
    """
    whole = 1
    try:
        for item in scan(folder):
            if item.manifest is None or item.path == newest:
                continue
            if whole < keep:
                whole += _looks_whole(item.path, item.manifest)
                continue
            doomed = folder / f"{name_of(item.step)}.tmp-{uuid.uuid4().hex}"
            os.rename(item.path, doomed)
            shutil.rmtree(doomed)
    except OSError as error:
        logger.warning("could not delete the old checkpoints in %s: %s", folder, error)


def remove(path: Path) -> None:
    """Deletes a folder, file or link as far as it can; the next save tries the rest again."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _manifest_or_none(path: Path) -> Manifest | None:
    try:
        return None if path.is_symlink() else manifests.read(path)
    except RllibExtError:
        return None


def _looks_whole(path: Path, manifest: Manifest) -> bool:
    try:
        manifests.check_listing(path, manifest)
        sizes = {name: (path / name).stat().st_size for name in manifest.files}
    except (RllibExtError, OSError):
        return False
    return all(sizes[name] == record.size for name, record in manifest.files.items())
