"""``train`` and ``resume`` of RLlib algorithms whose agents have interests of their own (EmergentComm).

One iteration is an epoch of fresh games, after which the protocol is judged; there is nothing else to evaluate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rllib_ext.cli.ppo_knobs import PPO, RUN
from rllib_ext.cli.rllib_runs import Runs
from rllib_ext.cli.run_knobs import RUN_KNOBS
from rllib_ext.errors import unknown_name

_RUN = {"total_iterations": 30, "num_env_runners": 0}
SMOKE = {"total_iterations": 6, "updates_per_iteration": 60, "encoder": "mlp"}


class CompetingRuns(Runs):
    """EmergentComm."""

    environment, example = "SenderReceiver", "SenderReceiver or Negotiation"
    ppo, smoke = PPO, SMOKE
    run = {
        **RUN_KNOBS,
        **{
            name: replace(knob, default=_RUN.get(name, knob.default))
            for name, knob in RUN.items()
            if name != "hidden"
        },
    }

    def check_environment(self, name: str, env_config: Mapping[str, Any]) -> None:
        """One is made with these arguments: the environment says what is wrong with them."""
        from rllib_ext.emergent_comm.config import AGENTS
        from rllib_ext.registry import create_environment

        if name not in AGENTS:
            raise unknown_name("game of EmergentComm", name, AGENTS)
        create_environment(name, env_config).close()

    def own(self) -> Any:
        from rllib_ext.emergent_comm.persistence import OWN

        return OWN


RUNS = CompetingRuns()
train, resume, knobs_of = RUNS.train, RUNS.resume, RUNS.knobs_of
