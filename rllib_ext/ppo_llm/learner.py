"""The learner of PPO: clipped surrogate and clipped value error, as token means over the whole mini-batch.

    loss =   sum_t max(-A rho, -A clip(rho, 1 - c, 1 + c)) / #tokens
           + 0.1 sum_t max((V - R)^2, (V_clipped - R)^2) / 2 / #steps

A token mean, not a mean of row means (N+ reduces so): each row's sum is scaled so that the base learner's mean over rows
is the token mean, in any number of micro-batches and over any number of learners. Log-probabilities of the old and the
reference policy, values of the old critic, advantages and returns are made once per mini-batch, before its first pass.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from rllib_ext.functional.importance import importance_ratio, truncated_importance
from rllib_ext.functional.ppo import PolicyMetrics, ValueMetrics, clipped_policy, clipped_value
from rllib_ext.llm.learner import LLMLearner
from rllib_ext.llm.schedule import learning_rate
from rllib_ext.ppo_llm.response import fitted, masks
from rllib_ext.ppo_llm.rl_module import PPOModule
from rllib_ext.ppo_llm.targets import facts, targets

CRITIC = "critic"


class PPOLearner(LLMLearner):
    """LLMLearner on a PPOModule."""

    language_module: PPOModule

    def build(self) -> None:
        super().build()
        self._facts: dict[str, float] = {}
        self._round_start: tuple[int, torch.nn.Module] | None = None

    def forget_caches(self) -> None:
        super().forget_caches()
        self._round_start = None

    # ----- optimizer: two groups, so that the critic may have a rate of its own

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        module = self._module[module_id].unwrapped()
        groups = [
            {"params": [p for p in part.parameters() if p.requires_grad], "role": role}
            for role, part in (("policy", module.model), (CRITIC, module.critic))
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=config.lr, betas=(0.9, 0.999), eps=config.adam_eps, weight_decay=config.weight_decay
        )
        params = [parameter for group in groups for parameter in group["params"]]
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=params, lr_or_lr_schedule=config.lr
        )

    @property
    def kl_coef(self) -> float:
        """kappa, the weight of the KL penalty at this update."""
        return self.config.kl_coef

    def rate(self, group: dict[str, Any]) -> float:
        peak = self.config.value_lr if group["role"] == CRITIC else None
        return learning_rate(self.updates, self.config, peak)

    # ----- once per mini-batch

    def once_per_minibatch(self, columns: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Fitted columns, reference log-probabilities and, unless the first pass brings them along, the targets."""
        module, after_eos = self.language_module, self.config.kl_after_eos
        once = fitted(columns, self.config.response_length, whole=after_eos)
        columns = {**columns, **once}
        asked = {**columns, "token_mask": torch.ones_like(columns["token_mask"])} if after_eos else columns
        once["reference_logps"] = self.in_parts(
            lambda piece: self.reference_logps_at(piece, module.temperature), asked
        )
        columns = {**columns, **once}
        if self._first_pass_is_old(len(columns["token_ids"])):
            return once
        values = self.in_parts(module.values, columns)
        return {**once, **self._targets(columns, values, self._own_logps(columns, asked))}

    def _first_pass_is_old(self, rows: int) -> bool:
        """Whether the forward of the first pass is the one of old policy and old critic on the whole mini-batch."""
        config = self.config
        other_policy = config.old_logps == "recompute" and config.minibatches_per_generation > 1
        return len(self._parts(rows)) == 1 and not config.kl_after_eos and not other_policy

    def _own_logps(self, columns: dict[str, Any], asked: dict[str, Any]) -> torch.Tensor | None:
        """Log-probabilities under the learner's policy at the start of the round; None where nobody asks for them."""
        if self.config.old_logps == "behaviour" and not self.config.kl_after_eos:
            return None
        module, policy = self.language_module, self._round_policy(int(columns["minibatch"][0]))
        return self.in_parts(lambda piece: module.logps(policy, piece, module.temperature), asked)

    def _round_policy(self, minibatch: int) -> torch.nn.Module:
        """The policy as it was before the first update of the mini-batch's round: itself, or a copy where N > 1."""
        policy, per_round = self.language_module.model, self.config.minibatches_per_generation
        if per_round == 1:
            return policy
        number = (minibatch - 1) // per_round
        if self._round_start is None or self._round_start[0] != number:
            self._round_start = (number, copy.deepcopy(policy).eval().requires_grad_(False))
        return self._round_start[1]

    @torch.no_grad()
    def _targets(
        self, columns: dict[str, Any], values: torch.Tensor, own: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """The columns of the loss. values: (R, K, T) of the old critic; own: see ``_own_logps``."""
        shape, behaviour = columns["token_ids"].shape, columns["behaviour_logps"]
        mask = masks(columns, kl_after_eos=self.config.kl_after_eos)
        old = behaviour if own is None else own
        if own is not None and self.config.old_logps == "behaviour":
            old = torch.where(columns["token_mask"] != 0, behaviour, own)
        flat = (old.flatten(0, 1), columns["reference_logps"].flatten(0, 1), values.flatten(0, 1))
        found = targets(
            self.config, columns["scores"].flatten(), *flat, mask, self._total, kl_coef=self.kl_coef
        )
        self._facts = facts(found, columns, *flat, mask)
        kept = {
            "old_logps": old.flatten(0, 1), "old_values": flat[2], "advantages": found.advantages_BT,
            "returns": found.returns_BT, "policy_mask": mask.policy_BT, "value_mask": mask.value_BT,
        }  # fmt: skip
        once = {name: tensor.reshape(shape) for name, tensor in kept.items()}
        if self.config.staleness_correction == "truncated" and self.config.old_logps == "recompute":
            once["weights"] = truncated_importance(old, behaviour, self.config.truncation_cap)
        for name in ("policy", "value"):
            mean_count = self._total(once[f"{name}_mask"].sum().double()) / self._learners()
            scale = (len(old) / mean_count.clamp(min=1e-9)).to(once["advantages"].dtype)
            once[f"{name}_scale"] = scale.expand(len(old))
        return once

    def _learners(self) -> int:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        return torch.distributed.get_world_size() if distributed else 1

    def _total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all learners."""
        if self._learners() > 1:
            value = value.clone()
            torch.distributed.all_reduce(value)
        return value

    # ----- the loss

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        if "returns" not in batch:
            own = fwd_out["logps"].detach() if self.config.old_logps == "recompute" else None
            late = self._targets(batch, fwd_out["values"].detach(), own)
            self._cached[1].update(late)  # for the passes that follow
            batch = {**batch, **late}
        batch = {**batch, "values": fwd_out["values"]}
        return super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )

    def per_row_loss(
        self, batch: dict[str, torch.Tensor], logps: torch.Tensor, reference_logps: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        flat = {name: value.flatten(0, 1) for name, value in batch.items() if value.dim() == 3}
        logps_BT = logps.flatten(0, 1)
        weights_BT = self._weights(logps_BT, flat)
        policy_BT, seen = clipped_policy(
            logps_BT, flat["old_logps"], flat["advantages"], flat["policy_mask"], self.config.clip, weights_BT
        )
        value_BT, fit = clipped_value(
            flat["values"], flat["old_values"], flat["returns"], flat["value_mask"], self.config.value_clip
        )
        tokens, steps = batch["policy_scale"], batch["value_scale"]
        policy_R, value_R = _row_means(policy_BT, tokens), _row_means(value_BT, steps)
        metrics = {
            "policy_loss": policy_R,
            "value_loss": value_R,
            **{name: _row_means(x, tokens) for name, x in _policy_metrics(seen, logps_BT, flat).items()},
            **{name: _row_means(x, steps) for name, x in _value_metrics(fit).items()},
        }
        if weights_BT is not None:
            kept_BT = torch.where(flat["policy_mask"], weights_BT, 0.0)
            metrics["importance_weight"] = _row_means(kept_BT, tokens)
        return policy_R + self.config.value_coef * value_R, metrics

    def _weights(self, logps_BT: torch.Tensor, flat: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """pi_old / pi_behaviour up to the cap where the old policy is the learner's own (decoupled PPO). Where it is
        the engine's, min(1, cap / rho): the ratio, which no clip bounds when the advantage is negative, ends at the cap.
        """
        if self.config.staleness_correction == "none":
            return None
        if "weights" in flat:
            return flat["weights"]
        old_BT = flat["old_logps"]
        capped_BT = truncated_importance(logps_BT, old_BT, self.config.truncation_cap)
        return capped_BT / importance_ratio(logps_BT.detach(), old_BT)

    def summarise(self, means: dict[str, float]) -> dict[str, float]:
        spread = means.pop("ratio_distance") - (means["ratio"] - 1) ** 2
        value_lr = self.optimizer.param_groups[1]["lr"]
        return {**means, "ratio_var": max(0.0, spread), "value_lr": value_lr, **self._facts}


def _row_means(values_BT: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """A row's sum, scaled so that the mean over rows is the mean over all tokens. values_BT is 0 outside its mask."""
    return values_BT.reshape(len(scale), -1).sum(-1) * scale


def _policy_metrics(
    seen: PolicyMetrics, logps_BT: torch.Tensor, flat: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Per token. entropy: of the tempered policy, estimated by -log pi of the sampled token, weighted by its ratio to
    the policy that sampled it; it costs nothing, the exact one would cost another pass over the logits.
    """
    mask_BT = flat["policy_mask"]
    return {
        "ratio": seen.ratios_BT,
        "ratio_distance": torch.where(mask_BT, (seen.ratios_BT - 1).square(), 0.0),
        "approx_kl": seen.approx_kl_BT,
        "policy_clip_share": seen.clipped_BT,
        "entropy": torch.where(mask_BT, -logps_BT.detach() * seen.ratios_BT, 0.0),
    }


def _value_metrics(fit: ValueMetrics) -> dict[str, torch.Tensor]:
    """value_error: squared, before any clip."""
    return {"value_error": fit.errors_BT.square(), "value_clip_share": fit.clipped_BT}
