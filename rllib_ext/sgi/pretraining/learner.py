"""The learner of SGIPretrain: it reads windows itself, so that its place in the data is part of its state.

One update: windows -> augmentation -> losses -> gradients -> clipping by part -> Adam -> averages. The parts are those
that the source clips: encoder and heads together; the dynamics by itself; predictor and inverse not at all. A gradient
that is no number ends the run before it touches a weight.
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
from rllib_ext.sgi.pretraining.data import as_batch, open_reader, open_stream
from rllib_ext.sgi.pretraining.diagnostics import Spread, diagnose
from rllib_ext.sgi.pretraining.losses import pretraining_loss
from rllib_ext.sgi.pretraining.persistence import OWN

OWN_STATE = "sgi_pretraining"
PARTS = {"networks": ("encoder", "first_layers", "goal_head"), "dynamics": ("dynamics",)}


class SGILearner(TorchLearner):
    """TorchLearner on an SGIModule. ``update`` takes any batch and makes ``num_epochs`` updates on windows of its own."""

    def build(self) -> None:
        super().build()
        keep_freed_memory()
        # A seed makes RLlib ask for deterministic algorithms, which fill fresh memory with NaN: a fifth of the time.
        torch.utils.deterministic.fill_uninitialized_memory = False
        self.gradient_steps = 0
        self.draw = torch.Generator().manual_seed((self.config.seed or 0) + 1)
        self.reader = open_reader(self.config)
        self.stream = open_stream(self.config, self.reader)
        self.spread = Spread(self.config.collapse_below)
        self.networks.train()
        self._parts = {name: self._parameters_of(members) for name, members in PARTS.items()}
        self._fresh()

    @property
    def networks(self) -> Any:
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    def _parameters_of(self, members: tuple[str, ...]) -> list[Tensor]:
        held = [getattr(self.networks, name) for name in members if hasattr(self.networks, name)]
        return [parameter for module in held for parameter in module.parameters()]

    def _fresh(self) -> None:
        """Nothing is summed up yet for the next report."""
        self._sums: dict[str, Tensor | float] = {}
        self._summed = 0
        self._last: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None
        self._clock = time.perf_counter()

    def _lap(self, name: str) -> None:
        """Book the seconds since the last lap under a phase."""
        now = time.perf_counter()
        key = f"seconds_{name}"
        self._sums[key] = self._sums.get(key, 0.0) + now - self._clock
        self._clock = now

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

    def _create_iterator_if_necessary(self, *, num_epochs: int = 1, **_: Any) -> Iterator[Any]:
        for _ in range(num_epochs):
            self._clock = time.perf_counter()
            windows = next(self.stream)
            self._lap("load")
            batch = as_batch(windows, self.config, self.draw, torch.device(self.device))
            self._lap("augment")
            yield MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=len(windows.anchors_B))

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        loss, figures = pretraining_loss(self.config, batch, fwd_out)
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._summed += 1
        self._last = (batch, {name: value.detach() for name, value in fwd_out.items()})
        self._lap("forward")
        return loss

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = [p for p in self._module[module_id].parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=self.config.lr, eps=self.config.adam_eps, fused=True)
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=parameters, lr_or_lr_schedule=self.config.lr
        )

    @torch.no_grad()
    def postprocess_gradients(self, gradients_dict: dict[Any, Tensor]) -> dict[Any, Tensor]:
        """Norms of every part, clipping, and a stop where a norm is no number. What no loss reaches has no gradient."""
        self._lap("backward")
        given = {name: one for name, one in gradients_dict.items() if one is not None}
        limits = {"networks": self.config.grad_clip_networks, "dynamics": self.config.grad_clip_dynamics}
        clipped: set[int] = set()
        for part, parameters in self._parts.items():
            gradients = [p.grad for p in parameters if p.grad is not None]
            clipped |= {id(gradient) for gradient in gradients}
            if gradients:
                self._clip(part, gradients, limits[part])
        rest = [one for one in given.values() if id(one) not in clipped]
        if rest:
            self._clip("predictors", rest, None)
        return given

    def _clip(self, part: str, gradients: list[Tensor], limit: float | None) -> None:
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        if not norm < float("inf"):
            raise NonFinite(
                f"the gradient of {part} has norm {norm} after {self.gradient_steps} updates; lower lr, or set "
                f"grad_clip_{part if part in PARTS else 'networks'}"
            )
        if limit is not None and norm > limit:
            torch._foreach_mul_(gradients, limit / (norm + 1e-6))
        key = f"gradient_norm_{part}"
        self._sums[key] = self._sums.get(key, 0.0) + norm

    def apply_gradients(self, gradients_dict: dict[Any, Tensor]) -> None:
        """Adam, then the averages. RLlib's own looks at every gradient twice more."""
        self.get_optimizer(DEFAULT_MODULE_ID).step()
        self._lap("adam")
        self.networks.follow(self.config.tau)
        self._lap("average")
        self.gradient_steps += 1

    # ----- the report

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Means over the updates of this call, and what is looked at once a call: spread, rank, baselines."""
        count = max(self._summed, 1)
        figures = {name: float(total) / count for name, total in self._sums.items()}
        if self._last is not None:
            figures |= diagnose(self.networks, *self._last)
            figures |= self.spread.note(figures)
        figures["epochs"] = self.stream.epoch
        for name, value in figures.items():
            self.metrics.log_value((DEFAULT_MODULE_ID, name), value, window=1)
        self._fresh()
        super().after_gradient_based_update(timesteps=timesteps)
