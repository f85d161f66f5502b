"""What a rollout worker hands to the learner: one stretch of every environment, as arrays.

Rows are environments with all their agents, so that whatever splits a batch by rows keeps together what was said and
heard. A stretch may hold several episodes of an environment; ``first`` says where one begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

Arrays = dict[str, np.ndarray]

SHAPES = {
    Columns.OBS: "(B, T, A, O) float32",
    "inbox": "(B, T, A, (A - 1) D) float32, what was heard of the step before",
    "arrived": "(B, T, A, A - 1) bool, which messages of it arrived",
    "first": "(B, T, A) bool, the agent begins an episode here",
    "active": "(B, T, A) bool, the agent acted and learns from this step",
    "masks": "(B, T, A, N) bool, legal actions",
    Columns.ACTIONS: "(B, T, A) int64",
    Columns.ACTION_LOGP: "(B, T, A) float32, nats",
    "said": "(B, T, A, D) float32, messages",
    Columns.REWARDS: "(B, T, A) float32",
    Columns.VF_PREDS: "(B, T, A) float32, values when it was sampled",
    "following": "(B, T, A) float32, value of what came next; 0 where the agent's episode ended",
    "ended": "(B, T, A) bool, the agent's episode ended or was cut off after this step",
    "trajectory": "(B, T) int64, number of the episode, different for every episode of a batch",
    "time": "(B, T) int64, step of the episode",
    "memory": "(B, A, H) float32, what was remembered before the stretch",
}


@dataclass(frozen=True)
class Rollout:
    """One stretch. columns: as in ``SHAPES``."""

    columns: Arrays

    def env_steps(self) -> int:
        """Steps of environments, B T, whoever acted."""
        return int(self.columns["trajectory"].size)

    def agent_steps(self) -> int:
        """Steps of agents that acted."""
        return int(self.columns["active"].sum())


@dataclass(frozen=True)
class Played:
    """What an evaluation played, for RLlib's counting of its steps."""

    steps: int
    agent_steps_played: int

    def env_steps(self) -> int:
        return self.steps

    def agent_steps(self) -> int:
        return self.agent_steps_played


def joined(rollouts: list[Rollout]) -> Arrays:
    """The stretches of several workers, environments one below the other; episodes keep numbers of their own."""
    parts, begin = [], 0
    for rollout in rollouts:
        numbers = rollout.columns["trajectory"] - rollout.columns["trajectory"].min() + begin
        parts.append({**rollout.columns, "trajectory": numbers})
        begin = int(numbers.max()) + 1
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def as_batch(columns: Arrays) -> MultiAgentBatch:
    """For RLlib's learners: one module's batch, whose rows are environments."""
    steps = int(columns["trajectory"].size)
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=steps)
