"""Elastic Reset as a mixin for any ``TorchLearner``: it counts, averages, resets, and keeps what a checkpoint needs.

    class MyLearner(ElasticResetLearner, PPOTorchLearner): ...

Gradient steps are counted where optimizers step, iterations at the end of ``update``. A reset that is due is done at the
end of that update, which is right under any algorithm that sends weights to its workers after updating. The algorithms
of this package set ``deferred`` and reset at the beginning of the next training step instead: evaluations and
checkpoints of an iteration then see the weights BEFORE the reset, which are the ones to judge the method by.

Every learner of a group keeps its own average of the same weights; nothing has to be sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_ext.elastic_reset.penalty import Penalty
from rllib_ext.elastic_reset.settings import elastic_settings, recovery_ticks
from rllib_ext.functional.elastic import Elastic, State, assign_, distance, snapshot, trainable

COMPONENT = "elastic_reset"


class ElasticResetLearner:
    """Put it before the learner class that computes the loss."""

    deferred = False

    def build(self) -> None:
        super().build()
        settings = elastic_settings(self.config)
        beta = getattr(self.config, "kl_beta", 0.0)
        self.elastic: dict[str, Elastic] = {}
        self.penalties: dict[str, Penalty] = {}
        self.best: dict[str, tuple[float, State]] = {}
        self._aside: dict[str, State] = {}
        for module_id in self._taking_part():
            weights, verbatim = self._select(module_id)
            self.elastic[module_id] = Elastic(
                settings, weights, verbatim, self._critic(module_id), keep_init=bool(beta)
            )
            self.penalties[module_id] = Penalty(self.config, beta or 0.0, self.device)
            self._count_steps_of(module_id)

    # ----- which tensors

    def _taking_part(self) -> list[str]:
        named = self.config.module_ids
        trained = [module_id for module_id in self.module.keys() if module_id in self._module_optimizers]  # noqa: SIM118
        if named is None:
            return trained
        asked = [name.strip() for name in named.split(",")]
        missing = [name for name in asked if name not in trained]
        if missing:
            from rllib_ext.errors import unknown_name

            raise unknown_name("module in module_ids", missing[0], trained)
        return asked

    def _select(self, module_id: str) -> tuple[State, frozenset[str]]:
        chosen, critic = self.config.param_filter, re.compile(self.config.critic_filter)

        def keep(name: str) -> bool:
            return bool(re.search(chosen, name)) if chosen is not None else not critic.search(name)

        weights, verbatim = trainable(self.module[module_id].unwrapped(), keep)
        if not weights:
            from rllib_ext.errors import BadConfig

            raise BadConfig(
                f"no trained parameter of module {module_id!r} passes param_filter={chosen!r}; its names are those of "
                "module.named_parameters()"
            )
        return weights, verbatim

    def weights_of(self, module_id: str) -> State:
        """The live tensors that are averaged and reset."""
        return self._select(module_id)[0]

    def _critic(self, module_id: str) -> State | None:
        if not self.config.reset_critic:
            return None
        critic = re.compile(self.config.critic_filter)
        return trainable(self.module[module_id].unwrapped(), lambda name: bool(critic.search(name)))[0]

    # ----- counting

    def _count_steps_of(self, module_id: str) -> None:
        """Hear of every optimizer step; where a module has several optimizers, of the last one's."""
        _, optimizer = self.get_optimizers_for_module(module_id)[-1]
        optimizer.register_step_post_hook(lambda *_: self.after_step(module_id))

    def after_step(self, module_id: str) -> None:
        """An optimizer step of this module has been done."""
        self._tick(module_id, "grad_steps")

    def _tick(self, module_id: str, unit: str, amount: int = 1) -> None:
        if amount > 0:
            elastic = self.elastic[module_id]
            averaging = elastic.settings.keeps_average and unit == elastic.settings.ema_unit
            elastic.tick(unit, self.weights_of(module_id) if averaging else {}, amount)

    def _create_iterator_if_necessary(self, **kwargs: Any) -> Iterable:
        """RLlib's minibatches; when one has been learnt from, the epochs that it completed are counted."""
        return self._counting_epochs(super()._create_iterator_if_necessary(**kwargs))

    def _counting_epochs(self, minibatches: Any) -> Iterator:
        covered = dict.fromkeys(self.elastic, 0)
        for minibatch in minibatches:
            yield minibatch
            epochs = getattr(minibatches, "_num_covered_epochs", None)
            for module_id in self.elastic:
                now = covered[module_id] + 1 if epochs is None else epochs.get(module_id, 0)
                self._tick(module_id, "inner_epoch", now - covered[module_id])
                covered[module_id] = now

    @property
    def gradient_steps(self) -> int:
        """Of the first module, in the whole run."""
        return next(iter(self.elastic.values())).counts["grad_steps"]

    def end_iteration(self, env_steps: int) -> None:
        """One iteration is done. env_steps: of the whole run; what is new since the last call is counted."""
        for module_id, elastic in self.elastic.items():
            self.penalties[module_id].end_iteration(self.config)
            self._tick(module_id, "env_steps", env_steps - elastic.counts["env_steps"])
            self._tick(module_id, "iteration")
        if not self.deferred:
            self.reset_if_due()

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().after_gradient_based_update(timesteps=timesteps)
        self.end_iteration(int(timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0)))
        for module_id in self.elastic:
            for name, value in self.elastic_status(module_id).items():
                self.metrics.log_value((module_id, "er", name), value, window=1)

    # ----- resetting

    def reset_if_due(self, score: float | None = None) -> bool:
        """Do the resets that are due; whether there were any. score: mean return of the weights that are left behind.

        The sequence number of the weights goes up, or RLlib's workers would take the reset ones for known.
        """
        any_reset = False
        for module_id, elastic in self.elastic.items():
            if not elastic.due:
                continue
            self._keep_best(module_id, score)
            done = elastic.reset(self.weights_of(module_id), self._critic(module_id))
            if done.optimizer:
                for _, optimizer in self.get_optimizers_for_module(module_id):
                    optimizer.state.clear()
            any_reset = any_reset or done.online
        self._weights_seq_no += int(any_reset)
        return any_reset

    def _keep_best(self, module_id: str, score: float | None) -> None:
        if self.config.export != "best_pre_reset" or score is None or score != score:
            return
        if module_id not in self.best or score > self.best[module_id][0]:
            self.best[module_id] = (score, snapshot(self.weights_of(module_id)))

    # ----- the weights by another name

    def put_on(self, which: str) -> None:
        """Let the modules carry "ema", "init" or "best" weights until ``take_off``; the online ones are laid aside."""
        self.take_off()
        for module_id, elastic in self.elastic.items():
            weights = self.weights_of(module_id)
            self._aside[module_id] = snapshot(weights)
            if which == "best":
                source = self.best[module_id][1] if module_id in self.best else weights
            else:
                source = getattr(elastic, which)
            assign_(weights, source)
        self._weights_seq_no += 1

    def take_off(self) -> None:
        """Put the online weights back, to the bit."""
        for module_id, weights in self._aside.items():
            assign_(self.weights_of(module_id), weights)
        self._weights_seq_no += bool(self._aside)
        self._aside = {}

    # ----- what a checkpoint holds

    def elastic_state(self) -> dict[str, Any]:
        """By module: the stores and counters, the penalty's weight, and the best weights before a reset."""
        return {
            module_id: {
                **elastic.state_dict(),
                **self.penalties[module_id].state(),
                "best": self.best.get(module_id),
            }
            for module_id, elastic in self.elastic.items()
        }

    def set_elastic_state(self, state: dict[str, Any]) -> None:
        for module_id, elastic in self.elastic.items():
            saved = state[module_id]
            elastic.load_state_dict(saved)
            self.penalties[module_id].load(saved)
            if saved["best"] is not None:
                score, weights = saved["best"]
                self.best[module_id] = (float(score), snapshot(weights))

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(COMPONENT, components, not_components):
            state[COMPONENT] = self.elastic_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT in state:
            # RLlib skips weights that are older than its own, and loads everything else: average and weights would part.
            self._weights_seq_no = 0
        super().set_state(state)
        if COMPONENT in state:
            self.set_elastic_state(state[COMPONENT])
            self._rates_of_this_config()

    def _rates_of_this_config(self) -> None:
        """An optimizer's state brings the learning rate of whoever saved it, and RLlib sets the configured one only after
        the next update; after PBT's exploit that update would be the donor's. A schedule's is its own to find.
        """
        for optimizer, schedule in self._optimizer_lr_schedules.items():
            if not schedule.use_schedule:
                self._set_optimizer_lr(optimizer, lr=schedule.get_current_value())

    # ----- what is reported

    @torch.no_grad()
    def elastic_status(self, module_id: str | None = None) -> dict[str, float]:
        """The metrics er/* of a module, or of the first one."""
        module_id = module_id if module_id is not None else next(iter(self.elastic))
        elastic, penalty = self.elastic[module_id], self.penalties[module_id]
        recovering = elastic.resets > 0 and elastic.ticks_since_reset <= recovery_ticks(self.config)
        status = {
            "num_resets": elastic.resets,
            "ticks_since_reset": elastic.ticks_since_reset,
            "reset_due": float(elastic.due),
            "recovering": float(recovering),
            "kl_beta": penalty.beta,
            **penalty.measured,
        }
        if elastic.settings.keeps_average:
            weights = self.weights_of(module_id)
            status |= {
                "init_weight_fraction": elastic.init_weight_fraction,
                "dist_online_init": distance(weights, elastic.init),
                "dist_ema_init": distance(elastic.ema, elastic.init),
            }
        return status
