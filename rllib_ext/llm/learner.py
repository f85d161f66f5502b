"""The learner that every language-model method shares; a method's own file adds ``per_row_loss`` and nothing
else.

One ``update`` is one optimizer step on one mini-batch, computed in ``gradient_accumulation`` micro-batches.
The learning rate is set before every step. A step whose gradients are not finite is skipped with optimizer
and weights untouched; too many in a row raise NonFinite. The reference policy is a frozen copy of the initial
weights (or the model with its adapters off), and its log-probabilities are computed once for a mini-batch,
whatever the number of passes over it.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner

from rllib_ext.errors import NonFinite
from rllib_ext.llm.rl_module import CausalLMModule
from rllib_ext.llm.schedule import learning_rate
from rllib_ext.llm.weights import WeightSnapshot


class LLMLearner(TorchLearner):
    """TorchLearner on a CausalLMModule. Subclasses implement ``per_row_loss``."""

    def build(self) -> None:
        super().build()
        self.updates = 0
        self.skipped = 0
        self._skipped_in_a_row = 0
        self._cached: tuple[int, dict[str, torch.Tensor]] | None = None
        self.published: dict[int, WeightSnapshot] = {}
        self._row_metrics: list[dict[str, torch.Tensor]] = []
        module = self.language_module
        self.reference: torch.nn.Module | None = None
        if not module.has_adapters:
            self.reference = copy.deepcopy(module.model).eval().requires_grad_(False)

    @property
    def language_module(self) -> CausalLMModule:
        """The policy without its DDP wrapper."""
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    # ----- what a method adds

    def per_row_loss(
        self, batch: dict[str, torch.Tensor], logps: torch.Tensor, reference_logps: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of every row, loss_R, and per-row metrics (R,). logps, reference_logps: (R, K, T), nats."""
        raise NotImplementedError

    def once_per_minibatch(self, columns: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Columns that stay the same for all passes over a mini-batch (T > 1); they may replace given ones.

        Called before the first pass, on the whole mini-batch, whatever the number of micro-batches.
        """
        temperature = self.language_module.temperature
        return {
            "reference_logps": self.in_parts(
                lambda piece: self.reference_logps_at(piece, temperature), columns
            )
        }

    def rate(self, group: dict[str, Any]) -> float:
        """Learning rate of a parameter group at this update."""
        return learning_rate(self.updates, self.config)

    def more_state(self) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
        """What a method keeps beside weights and optimizer: named tensors by group, and plain values."""
        return {}, {}

    def set_more_state(self, tensors: dict[str, dict[str, torch.Tensor]], state: dict[str, Any]) -> None:
        """The inverse of ``more_state``; called last in a restore. tensors: every group of the checkpoint."""

    def summarise(self, means: dict[str, float]) -> dict[str, float]:
        """What is logged of an update, from the means of the per-row metrics over its rows."""
        return means

    # ----- optimizer

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        params = [p for p in self.get_parameters(self._module[module_id]) if p.requires_grad]
        optimizer = torch.optim.AdamW(
            params, lr=config.lr, betas=(0.9, 0.999), eps=config.adam_eps, weight_decay=config.weight_decay
        )
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=params, lr_or_lr_schedule=config.lr
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.get_optimizer(DEFAULT_MODULE_ID)

    def _get_optimizer_state(self) -> dict[str, Any]:
        """For RLlib's own checkpoint: tensors, because NumPy, RLlib's way, has no bfloat16."""
        return {name: copy.deepcopy(item.state_dict()) for name, item in self._named_optimizers.items()}

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        for name, item in state.items():
            self._named_optimizers[name].load_state_dict(item)

    def _uncompiled_update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, dict[str, Any], dict]:
        """One optimizer step. Gradients of the micro-batches add up to those of the whole mini-batch."""
        self._row_metrics = []  # an update that raised may have left some
        columns = self._completed(dict(batch[DEFAULT_MODULE_ID]))
        rows = len(columns["token_ids"])
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._parts(rows)
        total = 0.0
        for number, part in enumerate(parts):
            piece = {DEFAULT_MODULE_ID: {name: columns[name][part] for name in columns}}
            with self._no_sync_before(number == len(parts) - 1):
                losses = self.compute_losses(fwd_out=self.module.forward_train(piece), batch=piece)
                loss = losses[DEFAULT_MODULE_ID] * (len(part) / rows)
                loss.backward()
            total += float(loss.detach())
        self._step(total)
        self._log_rows()
        return {}, {DEFAULT_MODULE_ID: total}, {}

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        """Mean of ``per_row_loss`` over the rows: the one place that reduces."""
        loss_R, metrics = self.per_row_loss(batch, fwd_out["logps"], batch["reference_logps"])
        self._row_metrics.append({name: values.detach() for name, values in metrics.items()})
        return loss_R.mean()

    def _no_sync_before(self, last: bool) -> contextlib.AbstractContextManager:
        module = self.module[DEFAULT_MODULE_ID]
        return contextlib.nullcontext() if last or not hasattr(module, "no_sync") else module.no_sync()

    def _step(self, loss: float) -> None:
        parameters = [
            p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        bound = self.config.max_grad_norm
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, bound if bound else float("inf")))
        if not self._agree(math.isfinite(norm) and math.isfinite(loss)):
            self._skip(loss, norm)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group)
        self.optimizer.step()
        self._log_value("lr", self.optimizer.param_groups[0]["lr"])
        self.updates += 1
        self._skipped_in_a_row = 0
        self._log_value("grad_norm", norm)

    def _agree(self, finite: bool) -> bool:
        """Whether all learners say so: their gradients are equal, their losses are not."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            vote = torch.tensor(float(finite), device=self.device)
            torch.distributed.all_reduce(vote, op=torch.distributed.ReduceOp.MIN)
            finite = bool(vote)
        return finite

    def _skip(self, loss: float, norm: float) -> None:
        """Leave weights and optimizer as they are."""
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= self.config.max_skipped_updates:
            raise NonFinite(
                f"{self._skipped_in_a_row} updates in a row had non-finite values (loss {loss}, gradient norm "
                f"{norm}) after update {self.updates}; the weights are those of that update. Lower lr or beta, or "
                "set max_grad_norm"
            )

    def follow_config(self) -> None:
        """After a restore: the configuration's rates win over those that the checkpoint's optimizer remembers. They
        differ where population-based training goes on from another trial's weights with settings of its own.
        """
        for group in self.optimizer.param_groups:
            settings = {"eps": self.config.adam_eps, "weight_decay": self.config.weight_decay}
            group.update(settings, lr=self.rate(group))

    def forget_caches(self) -> None:
        """After a restore: cached log-probabilities and snapshots belong to another past."""
        self._cached = None
        self._skipped_in_a_row = 0
        self.published = {}

    # ----- what is computed once

    def _completed(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Once per mini-batch: further passes over it (T > 1) find it cached by its number."""
        number = int(columns["minibatch"][0])
        if self._cached is None or self._cached[0] != number:
            self._cached = (number, self.once_per_minibatch(columns))
        return {**columns, **self._cached[1]}

    def _parts(self, rows: int) -> tuple[torch.Tensor, ...]:
        """Row numbers of the micro-batches."""
        return torch.arange(rows).tensor_split(min(self.config.gradient_accumulation, rows))

    @torch.no_grad()
    def in_parts(
        self, compute: Callable[[dict[str, Any]], torch.Tensor], columns: dict[str, Any]
    ) -> torch.Tensor:
        """``compute`` of the mini-batch, micro-batch by micro-batch, without gradients."""
        parts = self._parts(len(columns["token_ids"]))
        return torch.cat([compute({name: columns[name][part] for name in columns}) for part in parts])

    @torch.no_grad()
    def reference_logps_at(self, columns: dict[str, Any], temperature: float) -> torch.Tensor:
        """Log-probabilities (R, K, T) of the reference policy at ``temperature``, nats."""
        module = self.language_module
        if self.reference is not None:
            return module.logps(self.reference, columns, temperature)
        with module.without_adapters():
            return module.logps(module.model, columns, temperature)

    # ----- metrics

    def _log_rows(self) -> None:
        """Means over all rows of the update, whatever the number of micro-batches."""
        means = {}
        for name in self._row_metrics[0]:
            values = torch.cat([metrics[name].float().reshape(-1) for metrics in self._row_metrics])
            means[name] = float(values.mean())
        for name, value in self.summarise(means).items():
            self._log_value(name, value)

    def _log_value(self, name: str, value: float) -> None:
        self.metrics.log_value((DEFAULT_MODULE_ID, name), value, window=1)

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """RLlib would set the learning rate by environment steps here; ``_step`` sets it per update."""
