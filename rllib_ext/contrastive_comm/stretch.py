"""Gathers a stretch step by step and, at its end, the values that its advantages need.

The value of what comes next is, within an agent's episode, that of the next row. Where the agent was cut off it is the
value of its last observation, and at the end of the stretch that of what is seen now: both are found with one more
forward pass for the whole stretch. It is 0 where the agent's episode ended, and where its place fell empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns

from envs.batched import Moment, Step
from rllib_ext.contrastive_comm.deciding import Decision, values_at

Arrays = dict[str, np.ndarray]


class Stretch:
    """One stretch under way. memory_ABH: what was remembered before it."""

    def __init__(self, policy: Any, memory_ABH: torch.Tensor) -> None:
        self._policy = policy
        self._memory = memory_ABH.transpose(0, 1).numpy().copy()
        self._rows: list[Arrays] = []
        self._ended: list[np.ndarray] = []
        self._cut_off: list[tuple[int, np.ndarray, Step, np.ndarray, torch.Tensor]] = []

    def add(
        self,
        now: Moment,
        inbox: np.ndarray,
        arrived: np.ndarray,
        decision: Decision,
        step: Step,
        trajectory: np.ndarray,
        time: np.ndarray,
        last_inbox: np.ndarray | None,
    ) -> None:
        """One step. last_inbox: what agents that were cut off hear with their last observation."""
        masks = now.masks_BAN
        if masks is None:
            masks = np.ones((*now.active_BA.shape, self._policy.actions), dtype=np.bool_)
        gone = now.active_BA & ~step.now.active_BA  # its place is empty now: nothing comes after
        self._rows.append({
            Columns.OBS: now.observations_BAO, "inbox": inbox, "arrived": arrived, "first": now.first_BA,
            "active": now.active_BA, "masks": masks, Columns.ACTIONS: decision.actions_BA,
            Columns.ACTION_LOGP: decision.logps_BA, "said": decision.said_BAD, Columns.REWARDS: step.rewards_BA,
            Columns.VF_PREDS: decision.values_BA, "trajectory": trajectory, "time": time,
        })  # fmt: skip
        if last_inbox is not None:
            rows_B = step.truncated_BA.any(axis=1)
            self._cut_off.append((len(self._ended), rows_B, step, last_inbox, decision.memory_ABH))
        self._ended.append(step.terminated_BA | step.truncated_BA | step.now.first_BA | gone)

    def finish(self, now: Moment, inbox: np.ndarray, memory_ABH: torch.Tensor) -> Arrays:
        """All columns, (B, T, ...). now, inbox, memory: after the last step."""
        columns = {name: np.stack([row[name] for row in self._rows], axis=1) for name in self._rows[0]}
        ended = np.stack(self._ended, axis=1)
        following = np.zeros_like(columns[Columns.VF_PREDS])
        following[:, :-1] = columns[Columns.VF_PREDS][:, 1:]
        pieces = [(now.observations_BAO, inbox, now.first_BA, memory_ABH)]
        for _, rows_B, step, heard, memory in self._cut_off:
            first = np.zeros((int(rows_B.sum()), now.first_BA.shape[1]), dtype=np.bool_)
            pieces.append(
                (
                    step.last.observations_BAO[rows_B],
                    heard[rows_B],
                    first,
                    memory[:, torch.from_numpy(rows_B)],
                )
            )
        joined = [np.concatenate([piece[number] for piece in pieces]) for number in range(3)]
        values = values_at(self._policy, *joined, torch.cat([piece[3] for piece in pieces], dim=1))
        following[:, -1] = values[: len(inbox)]
        following[ended] = 0.0
        begin = len(inbox)
        for t, rows_B, step, _, _ in self._cut_off:
            count = int(rows_B.sum())
            cut = step.truncated_BA[rows_B]
            following[rows_B, t] = np.where(cut, values[begin : begin + count], following[rows_B, t])
            begin += count
        return {**columns, "ended": ended, "following": following, "memory": self._memory}
