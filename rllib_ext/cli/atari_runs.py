"""``train`` and ``resume`` of RLlib algorithms that play Atari (SGIRainbow).

One iteration is ``steps_per_iteration`` agent steps with the updates that go with them; a run of 100 is the Atari 100k
benchmark, and its one evaluation is at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_ext.cli.atari_knobs import ATARI_RLLIB, ATARI_RUN, ATARI_SMOKE
from rllib_ext.cli.rllib_runs import Runs


class AtariRuns(Runs):
    """SGIRainbow."""

    environment, example = "Atari100k/Pong", "an Atari game, for example --env Atari100k/Pong"
    ppo, run, smoke = ATARI_RLLIB, ATARI_RUN, ATARI_SMOKE
    evaluations = 1

    def check_environment(self, name: str, env_config: Mapping[str, Any]) -> None:
        """One copy is made with these flags: the environment says what is wrong with them."""
        from rllib_ext.sgi.atari_names import atari_copies

        atari_copies(name, env_config, 1, "train").close()

    def own(self) -> Any:
        from rllib_ext.sgi.rainbow.persistence import OWN

        return OWN


RUNS = AtariRuns()
train, resume, knobs_of = RUNS.train, RUNS.resume, RUNS.knobs_of
