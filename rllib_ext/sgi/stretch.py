"""What a rollout worker brings: a stretch of steps of every copy of its game, each frame once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rllib_ext.sgi.replay import FrameSequenceReplayBuffer


@dataclass(frozen=True)
class Stretch:
    """T steps of B copies. frame_TBHW is what was decided on; the other columns are what came of the decision.

    follows  the first step goes on where the worker's last stretch ended; False after games were begun anew
    """

    frame_TBHW: np.ndarray
    started_TB: np.ndarray
    action_TB: np.ndarray
    reward_TB: np.ndarray
    terminated_TB: np.ndarray
    truncated_TB: np.ndarray
    follows: bool = True

    @staticmethod
    def empty(steps: int, copies: int, follows: bool, shape: tuple[int, int] = (84, 84)) -> Stretch:
        """Room for so many steps."""
        flags = [np.zeros((steps, copies), bool) for _ in range(3)]
        return Stretch(
            np.empty((steps, copies, *shape), np.uint8),
            flags[0],
            np.zeros((steps, copies), np.int64),
            np.zeros((steps, copies), np.float32),
            flags[1],
            flags[2],
            follows,
        )

    def env_steps(self) -> int:
        """Steps of all copies together."""
        return self.action_TB.size

    agent_steps = env_steps

    def into(self, buffer: FrameSequenceReplayBuffer) -> None:
        """Put every step into a replay buffer, in order."""
        if not self.follows:
            buffer.cut()
        for t in range(len(self.action_TB)):
            buffer.add(
                self.frame_TBHW[t], self.started_TB[t], self.action_TB[t], self.reward_TB[t],
                self.terminated_TB[t], self.truncated_TB[t],
            )  # fmt: skip


@dataclass(frozen=True)
class Counted:
    """What an evaluation was: RLlib counts the steps of what a worker gives it."""

    steps: int

    def env_steps(self) -> int:
        return self.steps

    agent_steps = env_steps
