"""Elastic Reset on RLlib's PPO, for any environment that PPO trains on: Gymnasium, or multi-agent with several modules.

    ElasticResetPPOConfig().environment("CartPole-v1").training(reset_every=10, ema_decay=0.9)

Language models have ``ElasticResetAsyncPPO``.
"""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.learner import GeneralAdvantageEstimation

from rllib_ext.elastic_reset.algorithm import ElasticResetAlgorithm
from rllib_ext.elastic_reset.knobs import PENALTY_KNOBS, RESET_KNOBS
from rllib_ext.elastic_reset.learner import ElasticResetLearner
from rllib_ext.elastic_reset.options import RLlibElasticResetOptions
from rllib_ext.elastic_reset.reference_kl import ReferenceKLPenalty
from rllib_ext.elastic_reset.settings import evaluated_weights
from rllib_ext.errors import BadConfig
from rllib_ext.registry import ENVIRONMENTS


class ElasticResetPPOLearner(ElasticResetLearner, PPOTorchLearner):
    """PPO's learner, and a reference KL in the rewards where ``kl_beta`` is above 0."""

    deferred = True

    def build(self) -> None:
        super().build()
        if not self.config.kl_beta:
            return
        if self._learner_connector is None:
            raise BadConfig(
                f"kl_beta is {self.config.kl_beta}, but this learner has no connector pipeline to penalise rewards in "
                "(aggregator actors?); set num_aggregator_actors_per_learner=0 or kl_beta=0"
            )
        self._learner_connector.insert_before(GeneralAdvantageEstimation, ReferenceKLPenalty(self))


class ElasticResetPPOConfig(RLlibElasticResetOptions, PPOConfig):
    """PPOConfig with the knobs of Elastic Reset (``rllib_ext/elastic_reset/knobs.py``)."""

    knobs = RESET_KNOBS | PENALTY_KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ElasticResetPPO)

    def get_default_learner_class(self) -> type:
        return ElasticResetPPOLearner

    def validate(self) -> None:
        if isinstance(self.env, str) and ENVIRONMENTS.get(self.env, "").startswith("envs.text"):
            raise BadConfig(
                f"environment {self.env!r} is one for language models and ElasticResetPPO is RLlib's PPO; use "
                "ElasticResetAsyncPPO, which has the same knobs"
            )
        super().validate()


class ElasticResetPPO(ElasticResetAlgorithm, PPO):
    """PPO with Elastic Reset. Its results have ``er/...``; see ``ElasticResetAlgorithm``."""

    @classmethod
    def get_default_config(cls) -> ElasticResetPPOConfig:
        return ElasticResetPPOConfig(algo_class=cls)

    def training_step(self) -> None:
        """A reset that is due, weights to the workers, then PPO's step."""
        if self.reset_if_due():
            self.push_weights()
        super().training_step()
        self.log_status()

    def push_weights(self) -> None:
        """Send the learner's weights to the rollout workers and wait, within a deadline, until they have them."""
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group,
            timeout_seconds=self.config.sample_timeout_s,
            inference_only=True,
        )

    def evaluate(self, parallel_train_future: Any = None) -> Any:
        """Evaluation with the online weights or, where the config says so, with their average."""
        if evaluated_weights(self.config) == "online":
            return super().evaluate(parallel_train_future)
        with self.wearing("ema"):
            results = super().evaluate(parallel_train_future)
        if self.eval_env_runner_group is None:  # the training workers have evaluated
            self.push_weights()
        return results
