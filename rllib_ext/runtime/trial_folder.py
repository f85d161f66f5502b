"""Where a trial writes files of its own, so that they lie with its results and outlive its process.

Tune gives a trial's process a working directory inside the Ray session, which is gone with the session: after a kill the
log of what had happened would be missing from the sweep that goes on. Where the sweep's storage is a folder, files go
into the trial's own folder there at once, and a resumed trial adds to them. Object storage cannot be appended to; there
the working directory is used, and Tune copies it (`Sweep` asks for that).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def trial_folder(trainable: Any) -> Path:
    """The folder of ``trainable``'s files; without Tune its ``logdir``."""
    storage = getattr(trainable, "_storage", None)
    if storage is None or getattr(storage.storage_filesystem, "type_name", "") != "local":
        return Path(trainable.logdir)
    folder = Path(storage.trial_fs_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
