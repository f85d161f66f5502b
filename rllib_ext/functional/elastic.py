"""Elastic Reset (arXiv 2312.07551): the average of the weights and the reset to it, as algebra on named tensors.

    tick:   ema   <- eta ema + (1 - eta) online
    reset:  online <- ema,   then   ema <- init          (every P ticks; see elastic_schedule for units and phase)

The average goes back to the INITIAL weights, not to the new online ones: each cycle forgets the drift of the one before.
The objective of training is not touched. ``Elastic`` holds the three stores and the counters and knows nothing of models:
it is handed the live tensors, averages them, and copies into them. Tensors under ``verbatim`` (buffers), and all that are
not floating point, are copied where the others are averaged.

Left out: which tensors of a model take part (``trainable`` is the rule of the released code: what gradients move, and
buffers), and everything distributed; learners with equal weights keep equal averages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rllib_ext.functional.elastic_schedule import VARIANTS, ElasticSettings

__all__ = [
    "VARIANTS",
    "Elastic",
    "ElasticSettings",
    "Reset",
    "assign_",
    "average_",
    "distance",
    "snapshot",
    "trainable",
]

State = dict[str, Tensor]
_STORES = ("ema", "init", "critic_init")
_COUNTERS = ("resets", "last_reset", "ema_ticks", "handled")


def trainable(
    module: torch.nn.Module, keep: Callable[[str], bool] = lambda name: True
) -> tuple[State, frozenset[str]]:
    """The live tensors that Elastic Reset is about, and which of them are copied verbatim (the buffers).

    Frozen parameters are left out: they never move, and under adapters (LoRA) they are nearly all of the model. A tensor
    with two names (tied embeddings) is listed once, under its first. keep: whether a name takes part.
    """
    parameters = {
        name: tensor.detach()
        for name, tensor in module.named_parameters()
        if tensor.requires_grad and keep(name)
    }
    persistent = module.state_dict(keep_vars=True)
    buffers = {name: tensor for name, tensor in module.named_buffers() if name in persistent and keep(name)}
    return {**parameters, **buffers}, frozenset(buffers)


def snapshot(state: Mapping[str, Tensor], widen: bool = False) -> State:
    """A copy that shares no memory with ``state``; with ``widen`` half-precision tensors become float32."""
    return {
        name: _wide(tensor).clone() if widen else tensor.detach().clone() for name, tensor in state.items()
    }


@torch.no_grad()
def average_(mean: State, online: Mapping[str, Tensor], decay: float, verbatim: Collection[str] = ()) -> None:
    """mean <- decay mean + (1 - decay) online, in place; verbatim and non-float tensors are copied.

    decay: what the old average KEEPS. At 1 the mean stays and at 0 it becomes the online weights, both to the bit, even
    where one of them is infinite. The average of half-precision weights must be float32 (``snapshot(widen=True)``): in
    bfloat16 the addition of (1 - decay) of a difference is lost to rounding for decays near 1.
    """
    _require_same_names("average_", mean, online)
    for name, kept in mean.items():
        given = online[name].detach().to(kept.dtype)
        if not kept.is_floating_point() or name in verbatim or decay == 0.0:
            kept.copy_(given)
        elif decay != 1.0:
            kept.mul_(decay).add_(given, alpha=1.0 - decay)


@torch.no_grad()
def assign_(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """target <- source, in place, so that optimizers and wrappers keep their hold on the tensors."""
    _require_same_names("assign_", target, source)
    for name, tensor in target.items():
        tensor.detach().copy_(source[name])


@torch.no_grad()
def distance(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """Euclidean distance over all floating-point tensors, summed in float64."""
    _require_same_names("distance", left, right)
    squares = [
        (tensor.detach().double() - right[name].double()).square().sum()
        for name, tensor in left.items()
        if tensor.is_floating_point()
    ]
    return math.sqrt(float(sum(squares)))


@dataclass(frozen=True)
class Reset:
    """What one call of ``Elastic.reset`` put back. The optimizer is the caller's to clear."""

    online: bool
    average: bool
    critic: bool
    optimizer: bool


class Elastic:
    """The average, the initial weights and the counters of one model.

        elastic = Elastic(settings, *trainable(model))
        ...  elastic.tick("grad_steps", weights)          # after each optimizer step, and so for the other units
        if elastic.tick("iteration", weights): elastic.reset(weights)

    ``weights`` are the live tensors each time. At one tick the average comes first, then the reset, as in the released
    code. With the variant "none" no tensor is held and nothing is ever due.
    """

    def __init__(
        self,
        settings: ElasticSettings,
        online: Mapping[str, Tensor],
        verbatim: Collection[str] = (),
        critic: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.settings = settings
        self.verbatim = frozenset(verbatim)
        holds = settings.keeps_average
        self.init: State = snapshot(online) if holds else {}
        self.ema: State = snapshot(online, widen=True) if holds else {}
        self.critic_init: State = snapshot(critic) if critic is not None and settings.reset_critic else {}
        self.counts: dict[str, int] = dict.fromkeys(
            ("iteration", "inner_epoch", "env_steps", "grad_steps"), 0
        )
        self.resets = 0  # of the online weights, done
        self.last_reset = 0  # the count of ``reset_unit`` at the last of them
        self.ema_ticks = 0  # averagings since the average was last put back to init
        self.handled = 0  # marks up to this count are done, or were none

    @property
    def due(self) -> bool:
        """Whether the counters have passed a reset that has not been done."""
        return self._online_due or self._average_due

    @property
    def _online_due(self) -> bool:
        return self.settings.resets_by(self.reset_ticks) > self.settings.resets_by(self.handled)

    @property
    def _average_due(self) -> bool:
        by = self.settings.average_resets_by
        return by(self.reset_ticks) > by(self.handled)

    @property
    def reset_ticks(self) -> int:
        return self.counts[self.settings.reset_unit]

    @property
    def ticks_since_reset(self) -> int:
        return self.reset_ticks - self.last_reset

    @property
    def init_weight_fraction(self) -> float:
        """eta^ticks: how much of the average is still the initial weights."""
        return self.settings.ema_decay**self.ema_ticks

    def tick(self, unit: str, online: Mapping[str, Tensor], amount: int = 1) -> bool:
        """Count ``amount`` of ``unit``, average if that completes an EMA tick, and say whether a reset is due.

        Several EMA ticks in one call see the same weights: ema <- eta^n ema + (1 - eta^n) online.
        """
        before = self.counts[unit]
        self.counts[unit] = before + amount
        settings = self.settings
        if settings.keeps_average and unit == settings.ema_unit:
            ticks = (before + amount) // settings.ema_every - before // settings.ema_every
            if ticks:
                average_(self.ema, online, settings.ema_decay**ticks, self.verbatim)
                self.ema_ticks += ticks
        if not self.due:
            self.handled = self.reset_ticks
        return self.due

    def reset(self, online: Mapping[str, Tensor], critic: Mapping[str, Tensor] | None = None) -> Reset:
        """Do what is due, in place: online weights (and the critic, where asked) first, then the average."""
        done = Reset(
            online=self._online_due,
            average=self._average_due,
            critic=self._online_due and self.settings.reset_critic,
            optimizer=self._online_due and self.settings.reset_optimizer,
        )
        if done.online:
            assign_(online, self.ema if self.settings.online_to == "ema" else self.init)
            self.resets += 1
            self.last_reset = self.reset_ticks
        if done.critic and critic is not None:
            assign_(critic, self.critic_init)
        if done.average:
            assign_(self.ema, self.init)
            self.ema_ticks = 0
        self.handled = self.reset_ticks
        return done

    def state_dict(self) -> dict[str, Any]:
        """Tensors by store under "ema", "init", "critic_init"; plain numbers under "counts". Copies."""
        return {
            **{store: snapshot(getattr(self, store)) for store in _STORES},
            "counts": {**self.counts, **{name: getattr(self, name) for name in _COUNTERS}},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """All or nothing. Settings are no part of the state: a run that is resumed, or a trial that copies another one
        (PBT), goes on from these weights and counters under its own. Marks that another period would have had in the past
        are not made up for.
        """
        for store in _STORES:
            _require_same_names("load_state_dict", getattr(self, store), state[store])
        counts = {name: int(state["counts"][name]) for name in (*self.counts, *_COUNTERS)}
        for store in _STORES:
            assign_(getattr(self, store), state[store])
        self.counts = {name: counts[name] for name in self.counts}
        for name in _COUNTERS:
            setattr(self, name, counts[name])


def _wide(tensor: Tensor) -> Tensor:
    half = tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64)
    return tensor.detach().float() if half else tensor.detach()


def _require_same_names(where: str, left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless both name the same tensors in the same shapes."""
    wrong = sorted(
        name
        for name in left.keys() | right.keys()
        if name not in left or name not in right or left[name].shape != right[name].shape
    )
    if wrong:
        raise ValueError(
            f"{where}: {len(wrong)} tensors differ in name or shape, {wrong[0]!r} first. Give the same tensors of the "
            "same model each time."
        )
