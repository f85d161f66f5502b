"""Elastic Reset on the language-model engine: ``ElasticResetAsyncPPO`` and ``ElasticResetAsyncOnlineDPO``.

What is generated ahead of a reset belongs to weights that are gone, so it is dropped and its prompts are asked again
with the new weights: the first samples learnt from after a reset are the reset policy's own, in asynchronous mode too.
It costs one round of generation a reset.

An iteration is a generation round that updated the weights; an inner epoch is as many updates as a round has
mini-batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from rllib_ext.elastic_reset.algorithm import ElasticResetAlgorithm
from rllib_ext.elastic_reset.knobs import PENALTY_KNOBS, RESET_KNOBS
from rllib_ext.elastic_reset.learner import ElasticResetLearner
from rllib_ext.elastic_reset.options import ElasticResetOptions
from rllib_ext.elastic_reset.settings import elastic_settings, evaluated_weights
from rllib_ext.functional.elastic import assign_, snapshot
from rllib_ext.online_dpo.algorithm import AsyncOnlineDPO
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig
from rllib_ext.online_dpo.learner import OnlineDPOLearner
from rllib_ext.ppo_llm.algorithm import AsyncPPO
from rllib_ext.ppo_llm.config import AsyncPPOConfig
from rllib_ext.ppo_llm.learner import PPOLearner

_STORES = {"ema": "ema", "init": "init", "critic_init": "critic_init"}  # group of a checkpoint -> store
BEST = "best_pre_reset"


class ElasticResetLLMLearner(ElasticResetLearner):
    """The mixin over an LLMLearner, where an iteration is several updates and a reference policy is at hand."""

    deferred = True

    def build(self) -> None:
        super().build()
        self._ended_at = self.updates
        self._anchored = False

    def after_step(self, module_id: str) -> None:
        super().after_step(module_id)
        if self.elastic[module_id].counts["grad_steps"] % self.config.minibatches_per_generation == 0:
            self._tick(module_id, "inner_epoch")

    def _counting_epochs(self, minibatches: Iterable) -> Iterable:
        return minibatches

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super(ElasticResetLearner, self).after_gradient_based_update(timesteps=timesteps)

    def end_iteration(self, env_steps: int) -> None:
        """A round in which no update was possible is no iteration: nothing has moved."""
        if self.updates != self._ended_at:
            self._ended_at = self.updates
            super().end_iteration(env_steps)

    # ----- the anchor of the penalty: evaluations go on measuring from the initial weights

    def once_per_minibatch(self, columns: dict[str, Any]) -> dict[str, torch.Tensor]:
        self._anchored = self.config.kl_anchor == "ema"
        try:
            return super().once_per_minibatch(columns)
        finally:
            self._anchored = False

    @torch.no_grad()
    def reference_logps_at(self, columns: dict[str, Any], temperature: float) -> torch.Tensor:
        if not self._anchored:
            return super().reference_logps_at(columns, temperature)
        weights = self.weights_of(DEFAULT_MODULE_ID)
        online = snapshot(weights)
        assign_(weights, self.elastic[DEFAULT_MODULE_ID].ema)
        try:
            return self.language_module.logps(self.language_module.model, columns, temperature)
        finally:
            assign_(weights, online)

    # ----- the package's own checkpoints

    def more_state(self) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
        state = self.elastic_state()[DEFAULT_MODULE_ID]
        score, best = state["best"] or (None, {})
        groups = {**{group: state[store] for group, store in _STORES.items()}, BEST: best}
        tensors = {group: {n: t.cpu() for n, t in found.items()} for group, found in groups.items() if found}
        numbers = {name: state[name] for name in ("counts", "beta", "beta_begins")}
        return tensors, {"elastic": {**numbers, "best_score": score}}

    def set_more_state(self, tensors: dict[str, dict[str, torch.Tensor]], state: dict[str, Any]) -> None:
        saved = state["elastic"]
        best = (saved["best_score"], tensors[BEST]) if BEST in tensors else None
        stores = {store: tensors.get(group, {}) for group, store in _STORES.items()}
        self.set_elastic_state({DEFAULT_MODULE_ID: {**saved, **stores, "best": best}})
        self._ended_at = self.updates


class ElasticResetLLM(ElasticResetAlgorithm):
    """The mixin over an LLMAlgorithm."""

    def training_step(self) -> None:
        if self.reset_if_due():
            self.forget_rounds()
            self.journal.event("elastic_reset", f"after update {self.counters['updates']}")
        super().training_step()

    def forget_rounds(self) -> None:
        """Drop what is generated ahead; its prompts are asked again."""
        self.forget_published()
        self.pool.forget()
        self.submitted = self.round

    def finish_round(self, rollouts: list, groups: list, rows: list, *times: float) -> None:
        completions = self.counters["completions"] + sum(len(group.completions) for group in groups)
        self.on_learners(lambda learner, **_: learner.end_iteration(completions))
        self.log_status()
        super().finish_round(rollouts, groups, rows, *times)

    @contextlib.contextmanager
    def wearing(self, which: str) -> Iterator[None]:
        """What the learners carry is what is published."""
        with super().wearing(which):
            self.forget_published()
            yield
        self.forget_published()

    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """On held-out prompts, with the online weights or, where the config says so, with their average."""
        if evaluated_weights(self.config) == "online":
            return super().evaluate(parallel_train_future)
        with self.wearing("ema"):
            return super().evaluate(parallel_train_future)


class _LLMOptions(ElasticResetOptions):
    def validate(self) -> None:
        super().validate()
        elastic_settings(self)


# ----- PPO

_BETA = replace(
    PENALTY_KNOBS["kl_beta"], default=None, optional=True, doc="Another name for kl_coef; None: kl_coef."
)


class ElasticResetAsyncPPOLearner(ElasticResetLLMLearner, PPOLearner):
    """The weight of the penalty is the controller's."""

    def build(self) -> None:
        super().build()
        if self.config.kl_beta is None:
            for penalty in self.penalties.values():
                penalty.begin_at(self.config.kl_coef)
        self._measured: dict[str, float] = {}

    @property
    def kl_coef(self) -> float:
        return self.penalties[DEFAULT_MODULE_ID].beta

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().after_gradient_based_update(timesteps=timesteps)
        if self._facts is not self._measured:  # the first pass over a mini-batch
            self._measured = self._facts
            rows = self.config.prompts_per_minibatch * self.config.samples_per_prompt / self._learners()
            kl, tokens = self._facts["kl_ref"], self._facts["completion_tokens"]
            self.penalties[DEFAULT_MODULE_ID].measure(kl * rows, tokens * rows, rows)


class ElasticResetAsyncPPOConfig(_LLMOptions, AsyncPPOConfig):
    """AsyncPPOConfig with the knobs of Elastic Reset."""

    knobs = AsyncPPOConfig.knobs | RESET_KNOBS | PENALTY_KNOBS | {"kl_beta": _BETA}

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ElasticResetAsyncPPO)

    def get_default_learner_class(self) -> type:
        return ElasticResetAsyncPPOLearner


class ElasticResetAsyncPPO(ElasticResetLLM, AsyncPPO):
    """PPO for language models with Elastic Reset."""

    @classmethod
    def get_default_config(cls) -> ElasticResetAsyncPPOConfig:
        return ElasticResetAsyncPPOConfig(algo_class=cls)


# ----- online DPO


class ElasticResetAsyncOnlineDPOLearner(ElasticResetLLMLearner, OnlineDPOLearner):
    """Nothing to add: the mixin and the loss."""


class ElasticResetAsyncOnlineDPOConfig(_LLMOptions, AsyncOnlineDPOConfig):
    """AsyncOnlineDPOConfig with the knobs of Elastic Reset; its ``beta`` is DPO's, and no controller moves it."""

    knobs = AsyncOnlineDPOConfig.knobs | RESET_KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ElasticResetAsyncOnlineDPO)

    def get_default_learner_class(self) -> type:
        return ElasticResetAsyncOnlineDPOLearner


class ElasticResetAsyncOnlineDPO(ElasticResetLLM, AsyncOnlineDPO):
    """Online DPO with Elastic Reset."""

    @classmethod
    def get_default_config(cls) -> ElasticResetAsyncOnlineDPOConfig:
        return ElasticResetAsyncOnlineDPOConfig(algo_class=cls)
