"""The update of SGIRainbow.

    loss = mean over rows of  w (L_C51 + spr_weight * L_SPR),      w the importance weights of the replay on both

Adam in three groups, because what was pretrained is to move little: the encoder (1e-6), the first layers of the head
(3e-5), everything else (1e-4); from scratch all three have the last. Gradients are not clipped (as in the published
finetuning) unless ``grad_clip`` says so. An update with a gradient that is no number ends the run before it is applied.

After every update the averages follow, and every ``reset_every`` updates the head and the predictor begin anew while
encoder and dynamics go part of the way back (`resets`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor

from rllib_ext.errors import NonFinite
from rllib_ext.functional.rainbow import distributional_loss, double_target
from rllib_ext.functional.self_predictive import self_prediction
from rllib_ext.runtime.kept_memory import keep_freed_memory
from rllib_ext.sgi.rainbow.resets import reset
from rllib_ext.sgi.rainbow.transfer import take_pretrained

GROUPS = ("encoder", "first_layers", "rest")
OWN_STATE = "rainbow"
REPORTED_OVER = 100  # updates that a reported value is the mean of


class RainbowLearner(TorchLearner):
    """TorchLearner on a RainbowModule; one update takes one batch of `replay.Windows`."""

    def build(self) -> None:
        keep_freed_memory()
        super().build()
        self.gradient_steps = 0
        self.resets = 0
        self._priorities: list[tuple[np.ndarray, np.ndarray]] = []
        seed = self.config.seed
        self.networks.random.manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
        if self.config.pretrained is not None:
            take_pretrained(self.networks, self.config.pretrained)

    @property
    def networks(self) -> Any:
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    # ----- data

    def _create_iterator_if_necessary(self, *, training_data: Any, **_: Any) -> Iterator[Any]:
        """The batch as it is: windows need none of RLlib's connectors."""
        columns = training_data.batch[DEFAULT_MODULE_ID]
        tensors = {name: torch.as_tensor(column).to(self.device) for name, column in columns.items()}
        rows = len(tensors["index"])
        yield MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(tensors)}, env_steps=rows)

    def take_priorities(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(index, priority) of the batches since the last call."""
        taken, self._priorities = self._priorities, []
        return taken

    def own_state(self) -> dict[str, Any]:
        """Counters, and the random state of noise and augmentation, as JSON."""
        random = self.networks.random.get_state().tolist()
        return {"gradient_steps": self.gradient_steps, "resets": self.resets, "random": random}

    def restore_own_state(self, state: dict[str, Any]) -> None:
        """The inverse."""
        self.gradient_steps, self.resets = state["gradient_steps"], state["resets"]
        self.networks.random.set_state(torch.tensor(state["random"], dtype=torch.uint8))

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's, and what it knows nothing of."""
        return {**super().get_state(*args, **kwargs), OWN_STATE: self.own_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if OWN_STATE in state:
            self.restore_own_state(state[OWN_STATE])

    # ----- loss

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        """The one place that reduces."""
        target = double_target(
            fwd_out["select"], fwd_out["evaluate"], batch["returns"], batch["discounts"],
            -config.v_max, config.v_max,
        )  # fmt: skip
        loss_B, priority_B = distributional_loss(fwd_out["logits"], batch["actions"][:, 0], target)
        self._priorities.append((batch["index"].cpu().numpy(), priority_B.cpu().numpy()))
        reported = {"c51_loss": loss_B.mean(), "priority_mean": priority_B.mean()}
        if "predictions" in fwd_out:
            spr_B, _ = self_prediction(fwd_out["predictions"], fwd_out["futures"], batch["masks"])
            reported["spr_loss"] = spr_B.mean()
            loss_B = loss_B + config.spr_weight * spr_B
        self._report({**reported, "return_mean": batch["returns"].mean()})
        return (batch["weights"] * loss_B).mean()

    def _report(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.metrics.log_value(
                (DEFAULT_MODULE_ID, name), float(value.detach()), reduce="mean", window=REPORTED_OVER
            )

    # ----- optimizers

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        module = self._module[module_id].unwrapped()
        for group, params in parameter_groups(module).items():
            if not params or (group == "encoder" and self.config.freeze_encoder):
                continue
            rate = self.config.rate_of(group)
            optimizer = torch.optim.AdamW(
                params, lr=rate, eps=self.config.adam_eps, weight_decay=self.config.weight_decay, fused=True
            )
            self.register_optimizer(
                module_id=module_id, optimizer_name=group, optimizer=optimizer, params=params, lr_or_lr_schedule=rate
            )  # fmt: skip

    def postprocess_gradients(self, gradients_dict: dict[Any, Tensor]) -> dict[Any, Tensor]:
        """The norm over all groups, reported, refused where it is no number, and cut to ``grad_clip``."""
        found = [gradient for gradient in gradients_dict.values() if gradient is not None]
        norm = torch.nn.utils.get_total_norm(found)
        if not bool(torch.isfinite(norm)):
            raise NonFinite(
                f"the norm of the gradient is {float(norm)} at update {self.gradient_steps + 1}; lower lr, or set "
                "grad_clip (10 is that of SPR)"
            )
        if self.config.grad_clip:
            torch._foreach_mul_(found, float((self.config.grad_clip / (norm + 1e-6)).clamp(max=1.0)))
        self._report({"gradient_norm": norm})
        return gradients_dict

    def apply_gradients(self, gradients_dict: dict[Any, Tensor]) -> None:
        """One step of every group. RLlib's own looks for numbers tensor by tensor; that is done above, once."""
        for optimizer in self._named_optimizers.values():
            optimizer.step()

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Averages follow; a reset where one is due."""
        self.gradient_steps += 1
        self.networks.follow()
        every = self.config.reset_every
        if every is not None and self.gradient_steps % every == 0:
            self.reset_networks()
        super().after_gradient_based_update(timesteps=timesteps)

    def reset_networks(self) -> None:
        """Shrink and perturb now; moments of the optimizers are forgotten."""
        reset(self.networks, shrink=self.config.shrink, perturb=self.config.perturb)
        for optimizer in self._named_optimizers.values():
            optimizer.state.clear()
        self.resets += 1


def parameter_groups(module: Any) -> dict[str, list[Tensor]]:
    """The parameters that learn, by group; every one is in exactly one."""
    encoder, first = list(module.encoder.parameters()), list(module.head.first.parameters())
    taken = {id(one) for one in (*encoder, *first)}
    rest = [one for one in module.parameters() if id(one) not in taken and one.requires_grad]
    return dict(zip(GROUPS, (encoder, first, rest), strict=True))
