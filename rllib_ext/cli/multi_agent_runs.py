"""``train`` and ``resume`` of RLlib algorithms on this package's PettingZoo environments (ContrastiveComm).

One iteration is a round: ``rollout_steps`` steps of every environment of every worker. Environments are named by the
table of names alone: nothing is imported because a command line or a ``config.json`` says so. One's own PettingZoo class
goes through Python (README).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_ext.cli.comm_knobs import COMM_PPO, COMM_RUN, COMM_SMOKE
from rllib_ext.cli.rllib_runs import Runs
from rllib_ext.errors import unknown_name
from rllib_ext.registry import GAMES


class MultiAgentRuns(Runs):
    """ContrastiveComm."""

    environment, example = (
        "PredatorPrey",
        "a PettingZoo environment of rllib-ext list, for example --env Beacon",
    )
    ppo, run, smoke = COMM_PPO, COMM_RUN, COMM_SMOKE

    def check_environment(self, name: str, env_config: Mapping[str, Any]) -> None:
        """One is made with these arguments: the environment says what is wrong with them."""
        if name not in GAMES:
            raise unknown_name("multi-agent environment", name, GAMES)
        from rllib_ext.contrastive_comm.environments import batched_environment

        batched_environment(name, env_config, 1).close()

    def own(self) -> Any:
        from rllib_ext.contrastive_comm.persistence import OWN

        return OWN


RUNS = MultiAgentRuns()
train, resume, knobs_of = RUNS.train, RUNS.resume, RUNS.knobs_of
