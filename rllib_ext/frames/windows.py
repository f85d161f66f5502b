"""Windows of frames for offline losses: what a sample needs, K + 8 frames, and no others.

A window of horizon K at anchor t is, of one game:

    frames     o_{t-3} .. o_{t+K}: the stacks of o_t to o_{t+K} are its K + 1 overlapping fours
    actions    a_t .. a_{t+K-1}
    valid      m_k for k = 1..K: o_{t+k} is there, that is, no end among the steps t .. t+k-1
    goal       the stack at t + d, d drawn uniformly from the range ``goal``, and whether it is there

m_k = prod_{j<k} (1 - terminal_{t+j}) where a game ended by its rules; at a cut, or where rows are missing, the product
would let frames of another game in, so it is taken over "the next row is the game's next step". Frames that are not there
repeat the game's last one, as in the official loader (SGI, `src/offline_dataset.py`), and are masked. Frames before a
game's start are zeros. The official loader fetches 64 frames a window, slices the ends one step late and lets stacks run
across a start; that is not reproduced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames.layout import FRAME_BYTES, SIZE
from rllib_ext.frames.store import FrameStore

STACK = 4


@dataclass(frozen=True)
class Windows:
    """B windows of horizon K; F = K + 4 frames each.

    frames_BFHW      uint8, o_{t-3} .. o_{t+K}; the stack of o_{t+k} is ``frames_BFHW[:, k : k + 4]``
    actions_BK       int64, a_t .. a_{t+K-1}; 0 where there is none
    rewards_BK       float32, points; 0 where there are none
    terminals_BK     the game ended (or a life, see `WindowReader`) with step t + k
    valid_BK         m_1 .. m_K: o_{t+k} is there
    anchors_B        int64, rows of the reader
    goal_frames_B4HW uint8, the stack at t + d; None without goals
    goal_offset_B    int64, d
    goal_valid_B     o_{t+d} is there
    ram_BX           uint8 (B, 128), the console's memory at t, where all data hold it
    """

    frames_BFHW: NDArray[np.uint8]
    actions_BK: NDArray[np.int64]
    rewards_BK: NDArray[np.float32]
    terminals_BK: NDArray[np.bool_]
    valid_BK: NDArray[np.bool_]
    anchors_B: NDArray[np.int64]
    goal_frames_B4HW: NDArray[np.uint8] | None = None
    goal_offset_B: NDArray[np.int64] | None = None
    goal_valid_B: NDArray[np.bool_] | None = None
    ram_BX: NDArray[np.uint8] | None = None


class WindowReader:
    """Windows of one or several stores, as if their rows were one list.

    stores       opened folders; of one game
    horizon      K, 1 or more steps
    goal         (nearest, farthest) step of a goal, or None for windows without goals; (2, 49) is SGI's
    life_loss    "ignore": a game is one episode; "terminal": a lost life ends one, as in Atari 100k training
    min_later    anchors have at least so many later steps in their episode: 1, or K for windows without masked steps

    ``anchors`` holds the rows that windows may start at: those with ``min_later`` steps after them, and whose stack is
    known (of an episode whose beginning is missing, not the first three rows).
    """

    def __init__(
        self,
        stores: FrameStore | Sequence[FrameStore],
        *,
        horizon: int,
        goal: tuple[int, int] | None = (2, 49),
        life_loss: str = "ignore",
        min_later: int = 1,
    ) -> None:
        self.stores = [stores] if isinstance(stores, FrameStore) else list(stores)
        if not self.stores or horizon < 1 or min_later < 0 or life_loss not in ("ignore", "terminal"):
            raise BadConfig(
                f"windows of {len(self.stores)} stores with horizon={horizon}, min_later={min_later}, life_loss="
                f"{life_loss!r}: a store, horizon 1 or more, min_later 0 or more, 'ignore' or 'terminal'."
            )
        if goal is not None and not 0 <= goal[0] <= goal[1]:
            raise BadConfig(f"goal = {goal!r} must be (nearest, farthest) with 0 <= nearest <= farthest.")
        games = {store.about.get("game") for store in self.stores}
        if len(games) > 1:
            raise BadData(
                f"the folders hold different games: {sorted(map(str, games))}. Give folders of one game."
            )
        self.horizon, self.goal = horizon, goal
        self._starts = np.cumsum([0, *map(len, self.stores)])
        self._action_N = self._joined("action_N").astype(np.int64)
        self._reward_N = self._joined("reward_N")
        lives = life_loss == "terminal"
        self._terminal_N = self._joined("terminated_N") | (self._joined("life_lost_N") & lives)
        self._first_N, self._last_N, known_N = self._episodes(lives)
        row_N = np.arange(len(self._action_N))
        later_N = self._last_N - row_N >= min_later
        self.anchors = np.flatnonzero(later_N & (known_N | (row_N - self._first_N >= STACK - 1)))
        if not len(self.anchors):
            raise BadData(
                f"{self.stores[0].folder}: no row has {min_later} later steps in its episode; no window can be read."
            )
        self._has_ram = all(store.dataset.ram for store in self.stores)

    def fetch(self, anchors_B: NDArray[Any], draw: np.random.Generator | None = None) -> Windows:
        """The windows at these rows; ``draw`` draws the goals' offsets and is needed where there are goals."""
        anchors_B = np.asarray(anchors_B, np.int64)
        first_B1, last_B1 = self._first_N[anchors_B, None], self._last_N[anchors_B, None]
        steps_BK = anchors_B[:, None] + np.arange(self.horizon)
        there_BK = steps_BK <= last_B1
        steps_BK = np.minimum(steps_BK, last_B1)
        frames_BF = anchors_B[:, None] + np.arange(1 - STACK, self.horizon + 1)
        goals: dict[str, Any] = {}
        if self.goal is not None:
            if draw is None:
                raise BadConfig("fetch() of windows with goals needs a generator that draws their offsets.")
            offset_B = draw.integers(self.goal[0], self.goal[1] + 1, len(anchors_B))
            goal_B = anchors_B + offset_B
            goals = {"goal_offset_B": offset_B, "goal_valid_B": goal_B <= last_B1[:, 0]}
            goal_B4 = np.minimum(goal_B, last_B1[:, 0])[:, None] + np.arange(1 - STACK, 1)
            frames_BF = np.concatenate([frames_BF, goal_B4], axis=1)
        read_BFHW = self._frames(frames_BF, first_B1, last_B1)
        if self.goal is not None:
            goals["goal_frames_B4HW"] = read_BFHW[:, -STACK:]
            read_BFHW = read_BFHW[:, :-STACK]
        return Windows(
            frames_BFHW=read_BFHW,
            actions_BK=np.where(there_BK, self._action_N[steps_BK], 0),
            rewards_BK=np.where(there_BK, self._reward_N[steps_BK], np.float32(0)),
            terminals_BK=there_BK & self._terminal_N[steps_BK],
            valid_BK=anchors_B[:, None] + np.arange(1, self.horizon + 1) <= last_B1,
            anchors_B=anchors_B,
            ram_BX=self._ram(anchors_B) if self._has_ram else None,
            **goals,
        )

    def _frames(
        self, rows_BF: NDArray[Any], first_B1: NDArray[Any], last_B1: NDArray[Any]
    ) -> NDArray[np.uint8]:
        """(B, F, 84, 84): rows after the episode's last repeat it, rows before its first are zeros."""
        before_BF = rows_BF < first_B1
        rows_BF = np.clip(rows_BF, first_B1, last_B1)
        found = np.empty((*rows_BF.shape, FRAME_BYTES), np.uint8)
        whose_B = np.searchsorted(self._starts, first_B1[:, 0], side="right") - 1
        for which, store in enumerate(self.stores):
            mine = np.flatnonzero(whose_B == which)
            if len(mine) == len(rows_BF):  # one store, or all of them from one: no copy in between
                _take(store, rows_BF - self._starts[which], found)
            elif len(mine):
                piece = np.empty((len(mine), *found.shape[1:]), np.uint8)
                _take(store, rows_BF[mine] - self._starts[which], piece)
                found[mine] = piece
        found[before_BF] = 0
        return found.reshape(*rows_BF.shape, SIZE, SIZE)

    def _ram(self, anchors_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        memories = np.empty((len(anchors_B), self.stores[0].ram_NX.shape[1]), np.uint8)  # type: ignore[union-attr]
        whose_B = np.searchsorted(self._starts, anchors_B, side="right") - 1
        for which, store in enumerate(self.stores):
            mine = whose_B == which
            memories[mine] = store.ram_NX[anchors_B[mine] - self._starts[which]]  # type: ignore[index]
        return memories

    def _joined(self, column: str) -> NDArray[Any]:
        return np.concatenate([getattr(store.rows, column) for store in self.stores])

    def _episodes(self, lives: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """(first row, last row, whether the beginning is there) of the episode that each row belongs to."""
        episode_N, t_N, lost_N = (
            self._joined("episode_id_N"),
            self._joined("t_N"),
            self._joined("life_lost_N") & lives,
        )
        begins_N = np.ones(len(t_N), bool)
        begins_N[1:] = (np.diff(episode_N) != 0) | (np.diff(t_N) != 1) | lost_N[:-1]
        begins_N[self._starts[:-1]] = True
        firsts = np.flatnonzero(begins_N)
        lengths = np.diff(np.append(firsts, len(t_N)))
        opens = t_N[firsts] == 0
        follows = (
            (firsts > 0) & ~np.isin(firsts, self._starts) & lost_N[firsts - 1]
        )  # a life, right after one
        opens |= follows & (episode_N[firsts] == episode_N[firsts - 1]) & (t_N[firsts] - t_N[firsts - 1] == 1)
        first_N = np.repeat(firsts, lengths)
        return first_N, np.repeat(firsts + lengths - 1, lengths), np.repeat(opens, lengths)


def _take(store: FrameStore, rows_BF: NDArray[Any], out: NDArray[np.uint8]) -> None:
    flat = store.frames_NHW.reshape(len(store), FRAME_BYTES)
    np.take(flat, rows_BF.reshape(-1), axis=0, out=out.reshape(-1, FRAME_BYTES), mode="clip")
