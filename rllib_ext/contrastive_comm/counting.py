"""What a rollout worker reports, under the names that RLlib's own workers use."""

from __future__ import annotations

from typing import Any

from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_SAMPLED,
    NUM_MODULE_STEPS_SAMPLED_LIFETIME,
)

from rllib_ext.contrastive_comm.columns import Rollout
from rllib_ext.contrastive_comm.tally import Tally


def log_steps(metrics: Any, rollout: Rollout, agents: tuple[str, ...]) -> None:
    """Environment steps, and the steps in which each agent acted."""
    acted = rollout.columns["active"].sum(axis=(0, 1))
    counts = {(): (NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME, rollout.env_steps())}
    counts[(DEFAULT_MODULE_ID,)] = (
        NUM_MODULE_STEPS_SAMPLED, NUM_MODULE_STEPS_SAMPLED_LIFETIME, rollout.agent_steps(),
    )  # fmt: skip
    for agent, count in zip(agents, acted, strict=True):
        counts[(agent,)] = (NUM_AGENT_STEPS_SAMPLED, NUM_AGENT_STEPS_SAMPLED_LIFETIME, int(count))
    for of, (name, lifetime, count) in counts.items():
        metrics.log_value((name, *of), count, reduce="sum")
        metrics.log_value((lifetime, *of), count, reduce="lifetime_sum", with_throughput=not of)


def log_episodes(metrics: Any, tally: Tally) -> None:
    """Means over the window of episodes, and how many ended since the last report."""
    for name, value in tally.means().items():
        metrics.log_value(tuple(name.split("/")), value, window=1)
    metrics.log_value(NUM_EPISODES, tally.ended, reduce="sum")
    metrics.log_value(NUM_EPISODES_LIFETIME, tally.ended, reduce="lifetime_sum")
    tally.ended = 0
