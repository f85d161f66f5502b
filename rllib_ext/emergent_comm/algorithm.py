"""EmergentComm: two agents with interests of their own learn to use a channel (arXiv 2101.10276).

In the paper's mode an iteration is an epoch of fresh games, played and learnt from in the learner, and the protocol is
then judged exactly, over all messages and targets all round the circle. In ``mode="ppo"`` both agents are RLlib's PPO.
"""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_ext.emergent_comm.config import EmergentCommConfig
from rllib_ext.runtime.learner_calls import call_learners

LEARNER_TIMEOUT_S = 600.0
PROTOCOL = "protocol"
# Of what a learner's play() says, not about the protocol.
GAMES, STEPS, RETURN = "games", "env_steps", "return"


class EmergentComm(PPO):
    """See the module. Results: ``protocol/...``, what a learner's ``play`` says; ``games_lifetime`` and
    ``num_updates_lifetime``; and under RLlib's names the environment steps (turns) and ``episode_return_mean``, of both
    agents together, in the judged games.
    """

    _last_return: float | None = None

    @classmethod
    def get_default_config(cls) -> EmergentCommConfig:
        return EmergentCommConfig(algo_class=cls)

    def training_step(self) -> None:
        if self.config.mode == "ppo":
            super().training_step()
            return
        found, updates = self.on_learners(_play)[0]
        counted = {name: found.pop(name) for name in (GAMES, STEPS, RETURN)}
        for name, value in found.items():
            self.metrics.log_value((PROTOCOL, name), value, window=1)
        self.metrics.log_value("num_updates_lifetime", updates, window=1)
        self.metrics.log_value("games_lifetime", updates * self.config.games, window=1)
        steps = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
        self.metrics.log_value(steps, int(counted[STEPS]), reduce="lifetime_sum")
        self._last_return = counted[RETURN]
        self.metrics.log_value((ENV_RUNNER_RESULTS, "episode_return_mean"), self._last_return, window=1)
        self.push_weights()

    def on_learners(self, function: Any, **arguments: Any) -> list[Any]:
        """Call ``function(learner, **arguments)`` on every learner; their answers."""
        return call_learners(self.learner_group, function, timeout_s=LEARNER_TIMEOUT_S, **arguments)

    def push_weights(self) -> None:
        """Give rollout workers what the learner has."""
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group,
            timeout_seconds=LEARNER_TIMEOUT_S,
            inference_only=True,
        )


def _play(learner: Any, **_: Any) -> tuple[dict[str, float], int]:
    return learner.play(), learner.gradient_steps
