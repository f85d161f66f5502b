"""``train`` and ``resume`` of RLlib algorithms on Gymnasium environments (ElasticResetPPO)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_ext.cli.ppo_knobs import ELASTIC_RUN, PPO, SMOKE
from rllib_ext.cli.rllib_runs import Runs
from rllib_ext.errors import BadConfig, BadEnv, unknown_name
from rllib_ext.registry import ENVIRONMENTS, GYMNASIUM


class GymnasiumRuns(Runs):
    """ElasticResetPPO."""

    environment, example = "CartPole-v1", "a Gymnasium id, for example --env CartPole-v1"
    ppo, run, smoke = PPO, ELASTIC_RUN, SMOKE

    def check_environment(self, name: str, env_config: Mapping[str, Any]) -> None:
        """Gymnasium knows the id; else the nearest one that it knows."""
        import gymnasium

        if (
            name in ENVIRONMENTS or name in GYMNASIUM
        ):  # the config refuses one for language models, and says what to use
            return
        try:
            gymnasium.spec(name)
        except gymnasium.error.Error as error:
            if name.partition(":")[0] not in gymnasium.registry:
                raise unknown_name("Gymnasium environment", name, list(gymnasium.registry)) from error
            raise BadEnv(str(error)) from error

    def own(self) -> Any:
        from rllib_ext.elastic_reset.persistence import OWN

        return OWN

    def finish(self, config: Any, values: Mapping[str, Any]) -> None:
        config.rl_module(model_config={"fcnet_hiddens": _widths(values["hidden"])})


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError:
        widths = []
    if not widths or min(widths) < 1:
        raise BadConfig(f"hidden is {text!r}; it must be widths with commas between, for example 64,64")
    return widths


RUNS = GymnasiumRuns()
train, resume, knobs_of = RUNS.train, RUNS.resume, RUNS.knobs_of
