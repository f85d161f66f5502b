"""Snapshots of a sweep that a ``kill -9`` cannot tear: whole, and on disk before any result of theirs can be seen.

Tune writes the state of a sweep into a folder of its own and copies that folder to the storage in the background, file by
file, over the last copy. A driver that dies in the middle leaves a torn state, or results without any. Here the state
is also copied right after it was written and before that background copy begins, into ``.snapshots/<number>`` of the
sweep's folder; a snapshot gets its number by a rename, when it is whole. A sweep is continued from the newest one.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ray.tune import Callback

FOLDER, KEPT = ".snapshots", 2
STATES = "experiment_state-*.json"


class Snapshots(Callback):
    """folder: of the sweep. Tune asks its callbacks for their state when it has just written its own, and only then
    begins to copy; that question is the moment.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._written = folder, ""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._written = trial.storage.experiment_driver_staging_path

    def get_state(self) -> None:
        """No state of its own; before the first trial there is nothing to keep."""
        if self._written:
            keep(Path(self._written), Path(self._folder))


def keep(written: Path, folder: Path) -> None:
    """Copy the files of ``written``, not its folders, as the newest snapshot in ``folder``; older ones go."""
    home = folder / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    before = numbered(home)
    draft = home / f"draft-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for file in written.iterdir():
        if file.is_file():
            shutil.copyfile(file, draft / file.name)
    draft.rename(home / f"{int(before[-1].name) + 1 if before else 1:08d}")
    for old in before[: 1 - KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> bool:
    """Put the newest snapshot in place of what Tune's copy left; whether there is a whole state afterwards."""
    found = numbered(folder / FOLDER)
    for file in sorted(found[-1].iterdir()) if found else ():
        draft = folder / f".{file.name}.{os.getpid()}"
        shutil.copyfile(file, draft)
        draft.replace(folder / file.name)
    states = sorted(folder.glob(STATES))
    if not states:
        return False
    try:
        json.loads(states[-1].read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def numbered(home: Path) -> list[Path]:
    """The whole snapshots, oldest first."""
    return sorted(place for place in home.glob("[0-9]*") if place.is_dir())
