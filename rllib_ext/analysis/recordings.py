"""What agents saw, said and did in evaluation episodes, as plain arrays and as a file.

A recording is what every figure of `comm_records` is computed from; whoever plays the episodes writes it. The file is
numpy's ``.npz`` without pickles, so reading one that somebody else wrote runs no code of theirs.

Shapes: S steps of all episodes one after the other, A agents, O observation, D message, E episodes, K observations that
were put to every agent.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadData

_ARRAYS = ("observations", "messages", "actions", "active", "episode", "time", "spoken", "frames")
_MAPS = ("facts", "results")


@dataclass(frozen=True)
class Recording:
    """Whole episodes of one team; see the module.

    observations  (S, A, O) float32; messages (S, A, D) float32, zeros of who was not active; actions (S, A) int64
    active        (S, A) bool: the agent acted, and its message was sent
    episode, time (S,) int64: number of the episode, 0 to E - 1, and step of it
    spoken        (K, A, D) float32: what every agent's own head says to the same K observations
    facts         name -> (S, A): what was true when the agents decided (``facts`` of the environment)
    results       name -> (E,) float64: "return", "length" and the environment's measures; nan where there is none
    frames        (T, H, W, 3) uint8: pictures of episode ``about["filmed"]``, T = 0 where none were taken
    about         "method", "env", "seed", "inbox" (what was done to inboxes: "none", "zero", "shuffle"), "agents" (names)
    """

    observations: NDArray[np.float32]
    messages: NDArray[np.float32]
    actions: NDArray[np.int64]
    active: NDArray[np.bool_]
    episode: NDArray[np.int64]
    time: NDArray[np.int64]
    spoken: NDArray[np.float32]
    facts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    results: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    frames: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 1, 1, 3), np.uint8))
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def talks(self) -> bool:
        """Whether there is a channel."""
        return bool(self.messages.shape[-1])

    def mean(self, result: str) -> float:
        """Mean of a result over the episodes that have it; nan for none."""
        found = self.results[result]
        found = found[~np.isnan(found)]
        return float(found.mean()) if found.size else float("nan")

    def save(self, path: str | Path) -> Path:
        """Write it, whole or not at all."""
        path = Path(path)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for kind in _MAPS:
            arrays |= {f"{kind}/{name}": values for name, values in getattr(self, kind).items()}
        about = np.array(json.dumps(dict(self.about)))
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with temporary.open("wb") as file:
            np.savez_compressed(file, about=about, **arrays)
        temporary.replace(path)
        return path


def load_recording(path: str | Path) -> Recording:
    """Read a recording. Raises BadData where the file is missing or is none."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        fields: dict[str, Any] = {name: arrays.pop(name) for name in _ARRAYS}
    except FileNotFoundError as error:
        raise BadData(f"there is no recording {path}; name a file that Recording.save wrote.") from error
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadData(f"{path} is not a recording of episodes ({error}); record it again.") from error
    for kind in _MAPS:
        start = f"{kind}/"
        fields[kind] = {
            name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)
        }
    return Recording(**fields, about=about)
