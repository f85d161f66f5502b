"""Small folders of frames whose every pixel says which row it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rllib_ext.frames.writer import FrameWriter

ABOUT = {"game": "Pong", "behaviour": "made up"}


def episode(
    number: int, length: int, *, end: str = "terminated", start: int = 0, lost: tuple[int, ...] = ()
) -> dict:
    """Rows of one game: the frame of step t of game g is filled with noise drawn from (g, t)."""
    steps = np.arange(start, start + length)
    last = np.zeros(length, bool)
    last[-1] = True
    return {
        "frames_NHW": np.stack([frame(number, t) for t in steps]),
        "action": (steps * 7 + number) % 6,
        "reward": (steps % 3 - 1).astype(np.float32) * 1.5,
        "terminated": last & (end == "terminated"),
        "truncated": last & (end == "truncated"),
        "life_lost": np.isin(steps, lost),
        "episode_id": np.full(length, number),
        "t": steps,
    }


def frame(number: int, t: int) -> np.ndarray:
    """The frame of step t of game `number`; never all zeros."""
    return np.random.default_rng([number, t]).integers(1, 256, (84, 84), dtype=np.uint8)


def write(
    folder: Path, *episodes: dict, about: dict = ABOUT, rows_per_file: int = 64, ram: bool = False
) -> Path:
    """A complete folder of these games."""
    with FrameWriter(folder, about, rows_per_file=rows_per_file, ram=ram) as writer:
        for rows in episodes:
            writer.append(**rows)
    return folder
