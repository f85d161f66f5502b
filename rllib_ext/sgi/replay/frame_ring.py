"""Frames of several games side by side, every frame kept once, in a ring.

An agent sees the last four frames. Kept as stacks, 100,000 steps take 2.8 GB (8 GB with their successors); kept once,
0.7 GB. A stack is put together when it is read: frames from before its episode began are zeros, as the agent saw them.

Time counts the steps of all games from the beginning; slot = time mod length.
Shapes: T slots, B games, H W pixels, N rows asked for, S = 4 frames of a stack.
"""

from __future__ import annotations

import numpy as np

STACK = 4


class FrameRing:
    """The newest ``length`` frames of ``games`` games."""

    def __init__(self, length: int, games: int, height: int = 84, width: int = 84) -> None:
        self.length, self.games = length, games
        self.frames_TBHW = np.zeros((length, games, height, width), dtype=np.uint8)
        self.age_TB = np.zeros((length, games), dtype=np.int32)
        self.clock = 0

    def add(self, frame_BHW: np.ndarray, started_B: np.ndarray) -> None:
        """The next frame of every game. started_B: it is the first of an episode."""
        slot = self.clock % self.length
        before_B = self.age_TB[slot - 1] + 1  # -1 is the last slot, which holds zeros at first
        self.age_TB[slot] = np.where(started_B | (self.clock == 0), 0, before_B)
        self.frames_TBHW[slot] = frame_BHW
        self.clock += 1

    @property
    def oldest(self) -> int:
        """Time of the oldest frame that is still there."""
        return max(0, self.clock - self.length)

    def stacks(self, time_N: np.ndarray, game_N: np.ndarray) -> np.ndarray:
        """What the agent saw at these times, oldest frame first: (N, S, H, W)."""
        times_NS = time_N[:, None] + np.arange(1 - STACK, 1)
        return self.pick(times_NS, game_N, self.age_TB[time_N % self.length, game_N])

    def pick(self, times_NF: np.ndarray, game_N: np.ndarray, age_N: np.ndarray) -> np.ndarray:
        """Frames at any times, (N, F, H, W). The first three are zeros where an episode of age ``age_N`` had none yet.

        Column j < S is S - 1 - j frames before the one whose age is given.
        """
        frames = self.frames_TBHW[times_NF % self.length, game_N[:, None]]
        missing_NS = age_N[:, None] < np.arange(STACK - 1, 0, -1)
        rows, columns = np.nonzero(missing_NS)
        frames[rows, columns] = 0
        return frames
