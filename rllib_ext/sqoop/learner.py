"""The learner of SQOOP: it draws scenes itself, so that its place among them is part of its state.

One update: scenes -> cross-entropy (for a mixture of layouts its exact marginal) -> gradients -> clipping where the
model's source clips -> Adam, with a rate of its own for what decides the structure. A gradient that is no number ends
the run before it touches a weight.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor

from rllib_ext.errors import NonFinite
from rllib_ext.runtime.kept_memory import keep_freed_memory
from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.persistence import OWN
from rllib_ext.sqoop.progress import Progress, accuracy, copied
from rllib_ext.sqoop.scenes import SceneStream, examinations
from rllib_ext.sqoop.supervised_module import LOSSES

OWN_STATE = "sqoop"
STRUCTURE = "structure"


class SqoopLearner(TorchLearner):
    """TorchLearner on a SupervisedSqoop. ``update`` takes any batch and makes ``num_epochs`` updates on its scenes."""

    def build(self) -> None:
        super().build()
        keep_freed_memory()
        # A seed makes RLlib ask for deterministic algorithms, which fill fresh memory with NaN.
        torch.utils.deterministic.fill_uninitialized_memory = False
        seed, config = self.config.seed or 0, self.config
        generator = config.generator()
        self.pairs = generator.pairs(config.rhs_per_lhs, config.pairs_seed, cover=config.cover)
        self.stream = SceneStream(
            generator,
            self.pairs,
            kept=config.kept_scenes,
            batch=config.train_batch_size_per_learner,
            seed=seed,
        )
        self.sets = examinations(generator, self.pairs, config.eval_scenes, seed)
        self.progress = Progress(config.escape_below)
        self.gradient_steps = 0
        self.best_weights: dict[str, Tensor] = {}
        self.encoder.train()
        self._sums: dict[str, float] = {}
        self._summed = 0

    @property
    def encoder(self) -> AnswerEncoder:
        """The model, a plain module."""
        return self.module[DEFAULT_MODULE_ID].unwrapped().encoder

    # ----- state: RLlib's own checkpoints (Tune) have what this package's have

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(OWN_STATE, components, not_components):
            state[OWN_STATE] = OWN.read(self)
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if OWN_STATE in state:
            OWN.write(self, *state[OWN_STATE])

    # ----- one update

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        encoder = self._module[module_id].unwrapped().encoder
        structure = encoder.structure_parameters()
        apart = {id(parameter) for parameter in structure}
        rest = [parameter for parameter in encoder.parameters() if id(parameter) not in apart]
        groups = {"default_optimizer": (rest, self.config.lr)}
        if structure:
            groups[STRUCTURE] = structure, self.config.lr * self.config.structure_lr_ratio
        for name, (parameters, lr) in groups.items():
            optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=optimizer,
                params=parameters,
                lr_or_lr_schedule=lr,
            )

    def _create_iterator_if_necessary(self, *, num_epochs: int = 1, **_: Any) -> Iterator[Any]:
        began = time.process_time()
        for _ in range(num_epochs):
            batch = {name: values.to(self.device) for name, values in next(self.stream).items()}
            yield MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=len(batch["answer"]))
        self.progress.cpu_seconds += time.process_time() - began

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        loss = fwd_out[LOSSES].mean()
        self._sum("loss", loss)
        for name, value in fwd_out.items():
            if name != LOSSES:
                self._sum(name, value)
        self._summed += 1
        self.progress.note_loss(float(loss.detach()), self.gradient_steps + 1)
        return loss

    def _sum(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())

    @torch.no_grad()
    def postprocess_gradients(self, gradients_dict: dict[Any, Tensor]) -> dict[Any, Tensor]:
        """The norm of the whole gradient: a stop where it is no number, clipping where the model's source does."""
        given = {name: one for name, one in gradients_dict.items() if one is not None}
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(given.values())))))
        if not norm < float("inf"):
            raise NonFinite(f"the gradient has norm {norm} after {self.gradient_steps} updates; lower lr")
        limit = self.config.grad_clip or self.encoder.grad_clip
        if limit is not None and norm > limit:
            torch._foreach_mul_(list(given.values()), limit / (norm + 1e-6))
        self._sums["gradient_norm"] = self._sums.get("gradient_norm", 0.0) + norm
        return given

    def apply_gradients(self, gradients_dict: dict[Any, Tensor]) -> None:
        """Adam. RLlib's own looks at every gradient twice more."""
        for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
            optimizer.step()
        self.gradient_steps += 1

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Means over the updates of this call."""
        for name, total in self._sums.items():
            self.metrics.log_value((DEFAULT_MODULE_ID, name), total / max(self._summed, 1), window=1)
        self._sums, self._summed = {}, 0
        super().after_gradient_based_update(timesteps=timesteps)


def examine(learner: SqoopLearner, **_: Any) -> None:
    """Accuracy on every set; the weights are kept where they are the best so far."""
    found = {name: accuracy(learner.encoder, scenes, learner.device) for name, scenes in learner.sets.items()}
    if learner.progress.note_accuracies(found, learner.gradient_steps):
        learner.best_weights = copied(learner.encoder.state_dict())


def report(learner: SqoopLearner, **_: Any) -> dict[str, float]:
    """What a row of results has of the run as a whole."""
    known = {**learner.progress.figures(), **learner.encoder.structure()}
    return {
        **known,
        "covered_as_y": learner.pairs.covered_as_y,
        "num_updates_lifetime": learner.gradient_steps,
    }


def weights(learner: SqoopLearner, **_: Any) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """(last, best, updates); best is empty before the first examination."""
    return copied(learner.encoder.state_dict()), learner.best_weights, learner.gradient_steps
