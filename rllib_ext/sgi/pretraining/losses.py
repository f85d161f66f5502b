"""S + G + I of a batch: what the networks gave, to one loss and the figures that are reported with it.

Sources and formulas: `functional.self_predictive`, `functional.goal_conditioned`. Every loss is a mean over the windows;
they are added with the weights of the configuration (1 each in the source).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rllib_ext.functional.categorical import cross_entropy, support
from rllib_ext.functional.goal_conditioned import distance, double_q_target, progress_reward
from rllib_ext.functional.self_predictive import inverse_dynamics, self_prediction

__all__ = ["pretraining_loss"]

Figures = dict[str, Tensor]


def pretraining_loss(config: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> tuple[Tensor, Figures]:
    """(loss, figures). config: an SGIPretrainConfig; batch, out: as SGIModule takes and gives them."""
    total, figures = torch.zeros((), device=batch["valid"].device), Figures()
    for letter, loss, weight in (
        ("S", _self_prediction, config.self_prediction_coeff),
        ("G", _goals, config.goal_coeff),
        ("I", _inverse, config.inverse_coeff),
    ):
        if letter in config.losses:
            value, more = loss(config, batch, out)
            total = total + weight * value
            figures |= more
    return total, figures


def _self_prediction(config: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> tuple[Tensor, Figures]:
    loss_B, terms_BK = self_prediction(out["predictions"], out["targets"], batch["valid"])
    loss = loss_B.mean()
    valid_K = batch["valid"].to(terms_BK).sum(0).clamp(min=1.0)
    by_step = terms_BK.detach().sum(0) / valid_K
    named = {f"self_prediction_step_{step + 1}": value for step, value in enumerate(by_step)}
    return loss, {"self_prediction_loss": loss.detach(), **named}


def _inverse(config: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> tuple[Tensor, Figures]:
    loss_B, right_BK = inverse_dynamics(out["inverse_logits"], batch["actions"], batch["valid"])
    loss = loss_B.mean()
    valid = batch["valid"].sum().clamp(min=1)
    return loss, {"inverse_loss": loss.detach(), "inverse_accuracy": right_BK.sum() / valid}


def _goals(config: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> tuple[Tensor, Figures]:
    """Cross-entropy of Q(o_t, a_t, g). With n = 1 the source has R = gamma m r and bootstraps with gamma m."""
    discounts_B = config.gamma * batch["valid"][:, 0].to(out["now"])
    reward_B = progress_reward(
        out["now"], out["next"], out["goals"], scale=config.goal_reward, kind=config.goal_distance
    )
    values_N = support(-config.value_range, config.value_range, config.atoms).to(reward_B)
    target_BN = double_q_target(
        discounts_B * reward_B, discounts_B, out["goal_online_next"], out["goal_target_next"], values_N
    )
    rows = torch.arange(len(reward_B), device=reward_B.device)
    logits_BN = out["goal_logits"][rows, batch["actions"][:, 0]]
    loss = cross_entropy(logits_BN, target_BN).mean()
    away_B = distance(out["now"], out["goals"], config.goal_distance)
    return loss, {
        "goal_loss": loss.detach(),
        "goal_reward_abs": reward_B.abs().mean(),
        "goal_distance": away_B.mean(),
        "goal_value": (logits_BN.detach().softmax(-1) @ values_N).mean(),
    }
