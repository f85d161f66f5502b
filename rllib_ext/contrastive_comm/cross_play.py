"""Cross-play: teams whose agents come from different runs, playing together for the first time.

Parameters have an agent axis, so a mixed team is a gather along it: agent i gets the slice of its run. Agents that
share one set of parameters are spread out over the axis first. In a pair (a, b) the first half of the agents, rounded
up, comes from run a and the others from run b, so that both orders show both mixtures of an odd team (CACL, 2023 text,
tables 4 and 5); a pair (a, a) is self-play.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rllib_ext.analysis.recordings import Recording
from rllib_ext.contrastive_comm.recording import on_one_worker, record
from rllib_ext.contrastive_comm.runner import CommEnvRunner
from rllib_ext.errors import BadConfig

Weights = Mapping[str, Tensor]
#: Parts that serve training alone; a team plays without them.
_UNUSED = "decoder."


def stage(config: Any) -> CommEnvRunner:
    """A rollout worker in this process for teams of the config's agents, each with parameters of its own."""
    config = config.copy(copy_frozen=False).training(share_parameters=False)
    config.env_runners(num_env_runners=0)
    config.validate()
    return CommEnvRunner(config=config, worker_index=0, num_workers=0)


def weights_of(source: Any, timeout_s: float | None = None) -> dict[str, Tensor]:
    """A copy of the weights that a CommEnvRunner plays with, or the first worker of an algorithm that answers."""
    if not isinstance(source, CommEnvRunner):
        return on_one_worker(source, weights_of, timeout_s)
    return {name: values.detach().cpu().clone() for name, values in source.policy.state_dict().items()}


def mixed(runs: Sequence[Weights], of: Sequence[int], names: Sequence[str]) -> dict[str, Tensor]:
    """The weights ``names`` of a team whose agent i comes from ``runs[of[i]]``.

    Raises BadConfig where the runs' networks differ, or have another number of agents.
    """
    team = {}
    for name in names:
        parts = []
        for agent, run in enumerate(of):
            values = runs[run].get(name)
            if (
                values is None
                or len(values) not in (1, len(of))
                or values.shape[1:] != runs[of[0]][name].shape[1:]
            ):
                found = "is not there" if values is None else f"has shape {tuple(values.shape)}"
                raise BadConfig(
                    f"a team of {len(of)} cannot be mixed: {name} of run {run} {found}; mix runs of one environment, "
                    "message_dim and widths, all of them with a channel or none"
                )
            parts.append(values[agent if len(values) == len(of) else 0])
        team[name] = torch.stack(parts)
    return team


def cross_play(
    runner: CommEnvRunner, runs: Sequence[Weights], of: Sequence[int], episodes: int = 30, **asked: Any
) -> Recording:
    """Record a mixed team on ``runner`` (see `stage`), whose own weights come back afterwards. asked: as of `record`."""
    policy = runner.policy
    if runner.config.share_parameters:
        raise BadConfig(
            "this worker's agents share parameters, which have no agent axis; play on cross_play.stage(config)"
        )
    if len(of) != policy.agents or not set(of) <= set(range(len(runs))):
        raise BadConfig(
            f"of is {list(of)}; give each of {policy.agents} agents a run from 0 to {len(runs) - 1}"
        )
    own = weights_of(runner)
    team = mixed(runs, of, [name for name in own if not name.startswith(_UNUSED)])
    try:
        policy.load_state_dict({**own, **team})
        return record(runner, episodes, **asked)
    finally:
        policy.load_state_dict(own)


def pair(agents: int, a: int, b: int) -> list[int]:
    """Whom each agent comes from: the first half, rounded up, from a, the others from b."""
    first = -(-agents // 2)
    return [a] * first + [b] * (agents - first)


def all_pairs(
    runner: CommEnvRunner, runs: Sequence[Weights], episodes: int = 30, **asked: Any
) -> dict[tuple[int, int], Recording]:
    """Every ordered pair of runs, self-play among them."""
    numbers = range(len(runs))
    return {
        (a, b): cross_play(runner, runs, pair(runner.policy.agents, a, b), episodes, **asked)
        for a in numbers
        for b in numbers
    }
