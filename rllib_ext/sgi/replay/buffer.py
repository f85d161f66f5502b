"""Prioritised replay of windows of frames: what Rainbow and SPR learn from together.

RLlib's buffers have sequences without n-step returns, or n-step returns without sequences, and keep every stack whole.
This one keeps each frame once and gives, for a step t drawn in proportion to p_t^alpha (Schaul et al., 2016),

    the frames of o_t ... o_{t+K}, the stack o_{t+n}, actions a_t ... a_{t+K-1}, the n-step return and its discount,
    masks that are 0 behind the episode's end, and w_t = (p_t^alpha)^-beta over the largest of the batch.

A step can be drawn as soon as max(K, n) further steps are known, and until the first of its four frames is overwritten.
It begins with the largest priority that any step was ever given. Frames behind an episode's end repeat its last frame:
no window shows another episode. Not drawn: steps whose return needs the frame at which an episode was cut off
(`windows.needs_lost_frame`).

Shapes: N rows, F = S + K frames, S = 4 frames of a stack, K steps of SPR, B games, T slots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rllib_ext.errors import BadConfig, BadData, CheckpointCorrupt
from rllib_ext.sgi.replay import windows
from rllib_ext.sgi.replay.frame_ring import STACK, FrameRing
from rllib_ext.sgi.replay.sum_tree import SumTree

LEAST_PRIORITY = 1e-6  # so that every step can be drawn again


@dataclass(frozen=True)
class Windows:
    """A batch. ``index_N`` names its steps when their priorities are given back."""

    frames_NFHW: np.ndarray
    next_stack_NSHW: np.ndarray
    actions_NK: np.ndarray
    returns_N: np.ndarray
    discounts_N: np.ndarray
    masks_NK: np.ndarray
    weights_N: np.ndarray
    index_N: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """By name, without the shape at its end."""
        return {field.name.rpartition("_")[0]: getattr(self, field.name) for field in fields(self)}


class FrameSequenceReplayBuffer:
    """The newest ``capacity`` steps of ``games`` games.

    window: the largest of K and every n that will be asked for. alpha: exponent of priorities, 0 draws uniformly.
    """

    def __init__(
        self, capacity: int, *, games: int = 1, window: int = 10, alpha: float = 0.5, seed: int = 0,
        shape: tuple[int, int] = (84, 84),
    ) -> None:  # fmt: skip
        length = capacity // games
        if length < window + 2 * STACK:
            raise BadConfig(
                f"replay_capacity is {capacity} for {games} games; a window of {window} steps needs at least "
                f"{games * (window + 2 * STACK)}"
            )
        self.length, self.games, self.window, self.alpha = length, games, window, alpha
        self.ring = FrameRing(length, games, *shape)
        self.action_TB = np.zeros((length, games), dtype=np.uint8)
        self.reward_TB = np.zeros((length, games), dtype=np.float32)
        self.terminated_TB = np.zeros((length, games), dtype=bool)
        self.truncated_TB = np.zeros((length, games), dtype=bool)
        self.tree = SumTree(length * games)
        self.largest = 1.0
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Steps that are kept."""
        return min(self.ring.clock, self.length) * self.games

    @property
    def ready(self) -> bool:
        """Whether any step can be drawn."""
        return self.tree.total > 0

    # ----- in

    def add(
        self, frame_BHW: np.ndarray, started_B: np.ndarray, action_B: np.ndarray, reward_B: np.ndarray,
        terminated_B: np.ndarray, truncated_B: np.ndarray,
    ) -> None:  # fmt: skip
        """One step of every game: the newest frame it was decided on, and what came of it."""
        time = self.ring.clock
        slot = time % self.length
        self.ring.add(frame_BHW, started_B)
        self.action_TB[slot], self.reward_TB[slot] = action_B, reward_B
        self.terminated_TB[slot], self.truncated_TB[slot] = terminated_B, truncated_B
        if time >= self.length:  # the stacks of these reach back to the frame that was just overwritten
            self._forget(time - self.length + np.arange(STACK))
        if time >= self.window:
            self._admit(time - self.window)

    def _admit(self, time: int) -> None:
        """Let the step at ``time`` of every game be drawn; its window is complete."""
        game_B = np.arange(self.games)
        slots_BL = np.broadcast_to(
            self._slots(np.full(self.games, time), self.window), (self.games, self.window)
        )
        ends = (column_TB[slots_BL, game_B[:, None]] for column_TB in (self.terminated_TB, self.truncated_TB))
        usable_B = ~windows.needs_lost_frame(*ends)
        self.tree.set(
            (time % self.length) * self.games + game_B, np.where(usable_B, self.largest**self.alpha, 0.0)
        )

    def _forget(self, times: np.ndarray) -> None:
        leaves = ((times % self.length)[:, None] * self.games + np.arange(self.games)).ravel()
        self.tree.set(leaves, 0.0)

    def cut(self) -> None:
        """What comes next does not follow on what is there: every game was begun anew. Its last steps are not drawn."""
        if self.ring.clock:
            self.truncated_TB[(self.ring.clock - 1) % self.length] |= ~self.terminated_TB[
                (self.ring.clock - 1) % self.length
            ]

    # ----- out

    def sample(self, rows: int, *, spr_steps: int, n_step: int, gamma: float, beta: float) -> Windows:
        """``rows`` windows, one from each of as many equal parts of the priorities' sum."""
        if not self.ready:
            raise BadData(
                f"nothing can be drawn: {len(self)} steps are kept, a window takes {self.window + 1}"
            )
        part = self.tree.total / rows
        leaf_N = self.tree.find((np.arange(rows) + self.random.random(rows)) * part)
        time_N, game_N = self._time_of(leaf_N // self.games), leaf_N % self.games
        relative_N = (self.tree.values(leaf_N) / self.tree.total) ** -beta
        return self.windows(
            time_N, game_N, relative_N / relative_N.max(), spr_steps=spr_steps, n_step=n_step, gamma=gamma
        )

    def windows(
        self, time_N: np.ndarray, game_N: np.ndarray, weights_N: np.ndarray, *, spr_steps: int, n_step: int, gamma: float
    ) -> Windows:  # fmt: skip
        """The windows that begin at these times."""
        if max(spr_steps, n_step) > self.window:
            raise BadConfig(
                f"K={spr_steps}, n={n_step}: the buffer was made for windows of {self.window} steps"
            )
        slots_NL, column = self._slots(time_N, self.window), game_N[:, None]
        ended_NL = self.terminated_TB[slots_NL, column] | self.truncated_TB[slots_NL, column]
        return_N, discount_N = windows.n_step(self.reward_TB[slots_NL, column], ended_NL, n_step, gamma)
        forward_NL = windows.steps_within(ended_NL)
        past = np.broadcast_to(np.arange(1 - STACK, 0), (len(time_N), STACK - 1))
        offsets_NF = np.concatenate([past, forward_NL[:, : spr_steps + 1]], axis=1)
        age_N = self.ring.age_TB[time_N % self.length, game_N]
        return Windows(
            self.ring.pick(time_N[:, None] + offsets_NF, game_N, age_N),
            self.ring.stacks(time_N + forward_NL[:, n_step], game_N),
            self.action_TB[slots_NL[:, :spr_steps], column].astype(np.int64),
            return_N,
            discount_N,
            windows.alive(ended_NL)[:, 1 : spr_steps + 1].astype(np.float32),
            weights_N.astype(np.float32),
            time_N * self.games + game_N,
        )

    def update_priorities(self, index_N: np.ndarray, priority_N: np.ndarray) -> None:
        """Give the steps of a batch their new priorities; steps that were overwritten meanwhile are left out."""
        priority_N = np.maximum(np.asarray(priority_N, dtype=np.float64), LEAST_PRIORITY)
        leaf_N = index_N % (self.length * self.games)
        kept_N = (self._time_of(leaf_N // self.games) == index_N // self.games) & (
            self.tree.values(leaf_N) > 0
        )
        self.tree.set(leaf_N[kept_N], priority_N[kept_N] ** self.alpha)
        if kept_N.any():
            self.largest = max(self.largest, float(priority_N[kept_N].max()))

    def _time_of(self, slot_N: np.ndarray) -> np.ndarray:
        """The newest time that was written to these slots."""
        last = self.ring.clock - 1
        return last - (last - slot_N) % self.length

    def _slots(self, time_N: np.ndarray, steps: int) -> np.ndarray:
        return (time_N[:, None] + np.arange(steps)) % self.length

    # ----- checkpoints

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, JSON): all that decides what is drawn next. The arrays are views."""
        filled = min(self.ring.clock, self.length)
        arrays = {name: column[:filled] for name, column in self._columns().items()}
        state = {
            "clock": self.ring.clock, "largest": self.largest, "length": self.length, "games": self.games,
            "window": self.window, "random": self.random.bit_generator.state,
        }  # fmt: skip
        return {**arrays, "priorities": self.tree.values()}, state

    def restore(self, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """The inverse, into a buffer of the same size."""
        for name in ("length", "games", "window"):
            if state[name] != getattr(self, name):
                raise CheckpointCorrupt(
                    f"the checkpoint's replay has {name}={state[name]}, this run {getattr(self, name)}; resume with the "
                    "replay_capacity, number of environments, n_step and spr_steps that it was written with"
                )
        self.ring.clock, self.largest = int(state["clock"]), float(state["largest"])
        filled = min(self.ring.clock, self.length)
        for name, column in self._columns().items():
            column[:filled] = arrays[name]
        self.tree.set(np.arange(self.length * self.games), arrays["priorities"])
        self.random.bit_generator.state = state["random"]

    def _columns(self) -> dict[str, np.ndarray]:
        return {
            "frames": self.ring.frames_TBHW, "age": self.ring.age_TB, "action": self.action_TB,
            "reward": self.reward_TB, "terminated": self.terminated_TB, "truncated": self.truncated_TB,
        }  # fmt: skip
