"""RLlib's stock way to play Atari: its own wrappers, its SingleAgentEnvRunner and connectors, the default network of DQN.

The wrappers give 84 x 84 floats, four frames stacked last; sticky actions are off as in the protocol that it is compared
with. Everything in this process.
"""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.registry import register_env

NAME = "StockAtari"


def _stock_env(config: dict[str, Any]) -> Any:
    import ale_py
    import gymnasium
    from ray.rllib.env.wrappers.atari_wrappers import wrap_atari_for_new_api_stack

    gymnasium.register_envs(ale_py)
    env = gymnasium.make(f"ALE/{config['game']}-v5", frameskip=1, repeat_action_probability=0.0)
    return wrap_atari_for_new_api_stack(env, dim=84, framestack=4)


class StockRunner:
    """The worker as its algorithms drive it."""

    def __init__(self, game: str, copies: int) -> None:
        register_env(NAME, _stock_env)
        config = DQNConfig().environment(NAME, env_config={"game": game})
        config.env_runners(num_env_runners=0, num_envs_per_env_runner=copies).debugging(
            seed=0, log_level="ERROR"
        )
        self._copies = copies
        self._runner = SingleAgentEnvRunner(config=config, worker_index=0, num_workers=0)

    def play(self, steps: int, policy: bool) -> int:
        """So many steps of every copy; how many that are."""
        self._runner.sample(num_timesteps=steps * self._copies, explore=True, random_actions=not policy)
        self._runner.get_metrics()
        return steps * self._copies

    def stop(self) -> None:
        self._runner.stop()
