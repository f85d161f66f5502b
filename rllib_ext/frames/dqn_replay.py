"""Importing the DQN Replay data set (Agarwal et al. 2020): shards of gzip'd arrays become a folder of frames.

A shard is four files of as many rows, ``$store$_observation_ckpt.7.gz`` and the same with action, reward and terminal
(Dopamine's own names), or ``observation_7.gz``, ``action_7.gz``, ``terminal_7.gz`` (as the code of SGI keeps them; a
``reward_7.gz`` is read where it is there, else rewards are 0). Files are read in pieces and shards one after another;
there is never more than one piece in memory.

* Dopamine puts up to three blank rows (zero frame, action and reward) before each episode, for its stacks. They are no
  steps of the game and are left out.
* ``terminal`` is game over, not a lost life: those were not recorded, ``life_lost`` is False throughout.
* Where a shard begins in the middle of a game, that game's steps count from `UNKNOWN_START`: its beginning is missing.
* Rewards that are NaN become 0, as in the official loaders; they are counted.

The data were recorded with sticky actions (0.25) on the ROMs of atari-py 0.2.5 and earlier. Games may differ in detail
from those of ale-py, on which agents are trained here.

The public bucket does not list its objects; copy files by their exact names:
``gs://atari-replay-datasets/dqn/<Game>/<run 1-5>/replay_logs/$store$_observation_ckpt.<0-50>.gz``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.atari_flags import resolve_flags
from envs.atari_games import find_game
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames.layout import ROWS_PER_FILE, SIZE, sha256_of
from rllib_ext.frames.npy_gz import GzipArray
from rllib_ext.frames.writer import FrameWriter

UNKNOWN_START = 4
PADDING = 3
PIECE_ROWS = 8192  # 58 MB of frames
NAMES = re.compile(r"(?:\$store\$_(\w+)_ckpt\.(\d+)|(observation|action|reward|terminal)_(\d+))\.gz")
ARRAYS = ("observation", "action", "reward", "terminal")


@dataclass(frozen=True)
class Imported:
    """What an import has written and left out."""

    rows: int
    games: int
    padding: int
    nan_rewards: int


def find_shards(source: Path) -> dict[int, dict[str, Path]]:
    """Checkpoint number -> array -> file, of the files in a folder. Raises BadData where there is no whole shard."""
    shards: dict[int, dict[str, Path]] = {}
    for path in sorted(source.iterdir()) if source.is_dir() else []:
        match = NAMES.fullmatch(path.name)
        if match:
            name, number = match[1] or match[3], int(match[2] or match[4])
            if name in ARRAYS:
                shards.setdefault(number, {})[name] = path
    if not shards:
        raise BadData(f"{source} holds no files such as $store$_observation_ckpt.1.gz or observation_1.gz.")
    for number, files in shards.items():
        missing = [name for name in ARRAYS if name not in files and name != "reward"]
        if missing:
            raise BadData(
                f"{source}: checkpoint {number} lacks {', '.join(missing)}. Copy the missing files."
            )
    return shards


def import_dqn_replay(
    source: Path | str,
    folder: Path | str,
    game: str,
    *,
    checkpoints: Sequence[int] | None = None,
    run: int | None = None,
    max_frames: int | None = None,
    rows_per_file: int = ROWS_PER_FILE,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Write the shards of ``source`` into a new folder of frames.

    checkpoints   which, in this order; default: all there are. SGI-M takes 1, 25 and 50 of one run
    run           1 to 5, for the record
    max_frames    rows read of each shard; default: all. A shard that is not read to its end is not checked to its end
    progress      called with (rows read, rows in all) after each piece

    Raises BadData that names the file: missing, cut short, damaged, of another shape, not of one length with the others.
    """
    source, name = Path(source), find_game(game).name
    shards = find_shards(source)
    chosen = sorted(shards) if checkpoints is None else list(checkpoints)
    for number in chosen:
        if number not in shards:
            raise BadData(
                f"{source} holds no checkpoint {number}; it holds {', '.join(map(str, sorted(shards)))}."
            )
    if not chosen or (max_frames is not None and max_frames < 1):
        raise BadConfig(f"checkpoints = {checkpoints!r} and max_frames = {max_frames}: at least one of each.")
    opened = [
        _Shard(shards[number], max_frames) for number in chosen
    ]  # every header is read before anything is written
    about = {
        "game": name,
        "flags": {"game": name, **resolve_flags("standard", "evaluate")},
        "frame": {"height": SIZE, "width": SIZE, "colour": "gray", "resize": "area"},
        "source": "DQN Replay",
        "roms": "atari-py 0.2.5 or earlier",
        "behaviour": {"kind": "DQN in training", "run": run, "checkpoints": chosen},
        "life_lost": "not recorded",
        "files": [shard.provenance() for shard in opened],
    }
    total, counted = sum(shard.rows for shard in opened), _Counted()
    with FrameWriter(folder, about, rows_per_file=rows_per_file) as writer:
        for shard in opened:
            shard.copy(writer, counted, lambda: progress and progress(counted.read, total))
    return Imported(counted.read - counted.padding, counted.games, counted.padding, counted.nan_rewards)


@dataclass
class _Counted:
    read: int = 0
    games: int = 0
    padding: int = 0
    nan_rewards: int = 0


class _Shard:
    """The four files of one checkpoint, opened, their headers compared."""

    def __init__(self, files: dict[str, Path], max_frames: int | None) -> None:
        self._arrays = {name: GzipArray(path) for name, path in files.items()}
        lengths = {name: len(array) for name, array in self._arrays.items()}
        frames = self._arrays["observation"]
        if frames.shape[1:] != (SIZE, SIZE) or frames.dtype != np.uint8:
            raise BadData(
                f"{frames.path} holds {frames.dtype} of shape {frames.shape}; expected uint8 of (N, {SIZE}, {SIZE})."
            )
        for name, array in self._arrays.items():
            if name != "observation" and (array.shape[1:] or array.dtype.kind not in "iubf"):
                raise BadData(
                    f"{array.path} holds {array.dtype} of shape {array.shape}; expected (N,) numbers."
                )
            if lengths[name] != lengths["observation"]:
                raise BadData(
                    f"{array.path} has {lengths[name]} rows and {frames.path.name} has {lengths['observation']}. They "
                    "are not of one checkpoint; copy the files again."
                )
        self.rows = min(len(frames), max_frames or len(frames))
        self._whole = self.rows == len(frames)

    def provenance(self) -> list[dict[str, Any]]:
        paths = [array.path for array in self._arrays.values()]
        return [
            {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths
        ]

    def copy(self, writer: FrameWriter, counted: _Counted, said: Callable[[], Any]) -> None:
        """Hand all rows to the writer; at the end every file must be at its end too."""
        cut, done = _Cutter(counted.games), 0
        while done < self.rows:
            count = min(PIECE_ROWS, self.rows - done)
            piece = {name: array.read(count) for name, array in self._arrays.items()}
            piece.setdefault("reward", np.zeros(count, np.float32))
            lost = np.isnan(piece["reward"])
            counted.nan_rewards += int(lost.sum())
            piece["reward"] = np.where(lost, 0, piece["reward"]).astype(np.float32)
            counted.padding += cut.write(writer, piece)
            done += count
            counted.read += count
            said()
        counted.games = cut.next_game
        for array in self._arrays.values():
            if self._whole:
                array.finish()
            array.close()


class _Cutter:
    """Cuts one shard's rows into games, piece by piece, and leaves the padding out."""

    def __init__(self, first_game: int) -> None:
        self._game = first_game
        self._rows = 0  # of the current game so far, padding included
        self._blank = 0  # how many of them were padding
        self._offset = UNKNOWN_START  # of the current game's steps
        self._begun = False

    @property
    def next_game(self) -> int:
        return self._game + (self._rows > self._blank)

    def write(self, writer: FrameWriter, piece: dict[str, NDArray[Any]]) -> int:
        """Append the rows of a piece; how many were padding."""
        ends = np.flatnonzero(piece["terminal"]) + 1
        count, padding = len(piece["terminal"]), 0
        bounds = np.unique([0, *ends, count])
        for start, stop in itertools.pairwise(bounds):
            rows = {name: values[start:stop] for name, values in piece.items()}
            padding += self._part(writer, rows)
        return padding

    def _part(self, writer: FrameWriter, rows: dict[str, NDArray[Any]]) -> int:
        """Rows of one game."""
        blank = 0
        if self._rows == self._blank:  # nothing of the game was seen yet
            left = PADDING - self._blank
            head = rows["observation"][:left].any(axis=(1, 2)) | (rows["action"][:left] != 0)
            head |= (rows["reward"][:left] != 0) | (rows["terminal"][:left] != 0)
            blank = int(np.argmax(head)) if head.any() else len(head)
        self._blank += blank
        if self._blank:
            self._offset = 0  # padding shows that the game begins here
        kept = {name: values[blank:] for name, values in rows.items()}
        count = len(kept["terminal"])
        first = self._rows + blank - self._blank + self._offset
        self._rows += blank + count
        if count:
            ended = kept["terminal"] != 0
            never = np.zeros(count, bool)
            writer.append(
                kept["observation"],
                action=kept["action"],
                reward=kept["reward"],
                terminated=ended,
                truncated=never,
                life_lost=never,
                episode_id=np.full(count, self._game),
                t=first + np.arange(count),
            )
            if ended[-1]:
                self._game, self._rows, self._blank, self._offset = self._game + 1, 0, 0, 0
        return blank
