"""PPO for many agents side by side, with the message loss of the method.

    L_i = -min(r A, clip(r) A) + c_v (V - R)^2 - c_e H + kappa L_messages,   summed over the agents i

With separate parameters the sum gives every agent the gradient of its own loss and no other, and gradients are clipped
agent by agent; with shared ones it is the mean over agents. Steps at which an agent did not act are in no mean.
The paper's base is an asynchronous n-step actor-critic (A3C); PPO is a substitution.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor

from rllib_ext.contrastive_comm.message_losses import masked, message_loss
from rllib_ext.contrastive_comm.module import agents_first
from rllib_ext.errors import NonFinite
from rllib_ext.functional.trajectories import gae_over_time


class CommLearner(TorchLearner):
    """TorchLearner on a CommModule, whose batch rows are environments with all their agents."""

    def build(self) -> None:
        super().build()
        self.gradient_steps = 0
        self._shuffle = np.random.default_rng(self.config.seed)
        self._sums: dict[str, Tensor] = {}
        self._reported = 0

    @property
    def networks(self) -> Any:
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    # ----- data

    def _create_iterator_if_necessary(
        self, *, training_data: Any, num_epochs: int = 1, **_: Any
    ) -> Iterator[Any]:
        """Mini-batches of whole environments, drawn anew every epoch, of sizes that differ by one at most."""
        columns = dict(training_data.batch[DEFAULT_MODULE_ID])
        columns |= self._advantages(columns)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in columns.items()}
        rows = len(columns["first"])
        parts = min(self.config.num_minibatches, rows)
        for _ in range(num_epochs):
            for chosen in np.array_split(self._shuffle.permutation(rows), parts):
                index = torch.from_numpy(chosen)
                piece = {name: tensor[index].to(self.device) for name, tensor in tensors.items()}
                steps = int(piece["trajectory"].numel())
                yield MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(piece)}, env_steps=steps)

    def _advantages(self, columns: dict[str, Any]) -> dict[str, np.ndarray]:
        names = (Columns.REWARDS, Columns.VF_PREDS, "following", "ended")
        timed = (np.moveaxis(columns[name], 1, 0) for name in names)
        advantages = gae_over_time(*timed, discount=self.config.gamma, trace_decay=self.config.lambda_)
        advantages = np.moveaxis(advantages, 0, 1)
        targets = advantages + columns[Columns.VF_PREDS]
        if self.config.normalize_advantages:
            active = columns["active"].astype(np.float32)
            count = np.maximum(active.sum(axis=(0, 1)), 1.0)
            centred = advantages - (advantages * active).sum(axis=(0, 1)) / count
            deviation = np.sqrt((centred**2 * active).sum(axis=(0, 1)) / count)
            advantages = centred / (deviation + 1e-8)
        return {"advantages": advantages.astype(np.float32), "value_targets": targets.astype(np.float32)}

    # ----- loss

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        """The one place that reduces: agents' losses to one number."""
        policy_A, reported = self._ppo(batch, fwd_out)
        messages_A, more = message_loss(self.config, self.networks, batch, fwd_out)
        self._note({**reported, **more})
        losses_A = policy_A + messages_A
        return losses_A.mean() if self.config.share_parameters else losses_A.sum()

    def _ppo(self, batch: dict[str, Tensor], out: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        column = {name: agents_first(batch[name].unsqueeze(-1)).squeeze(-1) for name in
                  (Columns.ACTIONS, Columns.ACTION_LOGP, "advantages", "value_targets", "active")}  # fmt: skip
        logps = out[Columns.ACTION_DIST_INPUTS].log_softmax(-1)
        logp = logps.gather(-1, column[Columns.ACTIONS].unsqueeze(-1)).squeeze(-1)
        ratio = (logp - column[Columns.ACTION_LOGP]).exp()
        clipped = ratio.clamp(1 - config.clip_param, 1 + config.clip_param)
        surrogate = torch.minimum(ratio * column["advantages"], clipped * column["advantages"])
        squared = (out[Columns.VF_PREDS] - column["value_targets"]).square().clamp(max=config.vf_clip_param)
        probabilities = logps.exp()
        entropy = -(probabilities * logps.masked_fill(probabilities == 0, 0.0)).sum(-1)
        active = column["active"]
        policy, value, spread = (masked(values, active) for values in (-surrogate, squared, entropy))
        loss = policy + config.vf_loss_coeff * value - config.entropy_coeff * spread
        with torch.no_grad():
            far = masked(((ratio - 1).abs() > config.clip_param).float(), active)
            moved = masked(column[Columns.ACTION_LOGP] - logp, active)
        reported = {
            "policy_loss": policy,
            "vf_loss": value,
            "entropy": spread,
            "clip_fraction": far,
            "mean_kl_loss": moved,
        }
        return loss, reported

    def _note(self, reported: dict[str, Tensor]) -> None:
        for name, value_A in reported.items():
            self._sums[name] = self._sums.get(name, 0.0) + value_A.detach().mean()
        self._reported += 1

    # ----- optimizer

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        params = [p for p in self.get_parameters(self._module[module_id]) if p.requires_grad]
        rate = self.config.lr
        start = rate if isinstance(rate, float | int) else rate[0][1]
        optimizer = torch.optim.Adam(params, lr=start, eps=self.config.adam_eps)
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=params, lr_or_lr_schedule=rate
        )

    def compute_gradients(self, loss_per_module: dict[str, Tensor], **kwargs: Any) -> dict[Any, Tensor]:
        """RLlib's, with zeros for what no loss reaches (a single agent's messages under ``dial``)."""
        found = super().compute_gradients(loss_per_module, **kwargs)
        return {
            name: torch.zeros_like(self._params[name]) if one is None else one for name, one in found.items()
        }

    def postprocess_gradients(self, gradients_dict: dict[Any, Tensor]) -> dict[Any, Tensor]:
        """Clip to ``grad_clip``: the norm of each agent's gradient where parameters are separate."""
        gradients = [gradient for gradient in gradients_dict.values() if gradient is not None]
        norm_S = torch.stack([gradient.flatten(1).square().sum(-1) for gradient in gradients]).sum(0).sqrt()
        if not bool(torch.isfinite(norm_S).all()):
            raise NonFinite(
                f"gradient norms of the agents are {norm_S.tolist()} after {self.gradient_steps} gradient steps; lower "
                "lr or comm_coeff, or set grad_clip"
            )
        if self.config.grad_clip:
            scale_S = (self.config.grad_clip / (norm_S + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(scale_S.view(-1, *[1] * (gradient.dim() - 1)))
        self._note_norm(norm_S.mean())
        self.gradient_steps += 1
        return gradients_dict

    def _note_norm(self, norm: Tensor) -> None:
        self._sums["gradient_norm"] = self._sums.get("gradient_norm", 0.0) + norm

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Report the means over the mini-batches of this update, and follow the schedule of the learning rate."""
        count = max(self._reported, 1)
        for name, total in self._sums.items():
            self.metrics.log_value((DEFAULT_MODULE_ID, name), float(total) / count, window=1)
        self._sums, self._reported = {}, 0
        super().after_gradient_based_update(timesteps=timesteps)
