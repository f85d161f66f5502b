"""A learner that plays and learns in one place: what the learners of both games share.

RLlib's learners get batches that somebody else has sampled. In the paper's mode every update has fresh games, and on the
circle the receiver's gradient goes through its own answer, so a batch would be nothing but what is dealt: the learner
deals. One call of ``play`` makes as many updates as an iteration has; optimizers are RLlib's, one an agent's module.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from ray.rllib.core.learner.torch.torch_learner import TorchLearner

from rllib_ext.errors import NonFinite


class PlayingLearner(TorchLearner):
    """See the module. ``generator`` is what everything is drawn with; ``advice`` says what to lower where an objective
    is no number.
    """

    advice: str

    def build(self) -> None:
        seed = self.config.seed or 0
        torch.manual_seed(seed)  # first weights are the seed's, whatever was made before them
        super().build()
        self.generator = torch.Generator().manual_seed(seed)
        self.gradient_steps = 0

    @abstractmethod
    def play(self) -> dict[str, float]:
        """The updates of an iteration, and what came of them: figures, and ``games``, ``env_steps`` and ``return``."""

    @abstractmethod
    def own_state(self) -> dict[str, Any]:
        """What the next update depends on beside weights, optimizers and the generator, as JSON."""

    @abstractmethod
    def load_own_state(self, state: dict[str, Any]) -> None:
        """The inverse."""

    def own_tensors(self) -> dict[str, torch.Tensor]:
        """What of that is tensors; none by default."""
        return {}

    def load_own_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """The inverse."""

    @abstractmethod
    def rate_of(self, agent: str) -> float:
        """Adam's rate for an agent's module."""

    def net(self, agent: str) -> Any:
        """An agent's network."""
        return self.module[agent].unwrapped().net

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        params, rate = list(self.get_parameters(self._module[module_id])), self.rate_of(module_id)
        optimizer = torch.optim.Adam(params, lr=rate, fused=True)
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=params, lr_or_lr_schedule=rate
        )

    def compute_loss_for_module(self, **_: Any) -> Any:
        raise NotImplementedError("in the paper's mode nothing is learnt from batches; call play()")

    def descend(self, objective: torch.Tensor) -> None:
        """One step of all optimizers down a scalar. Raises NonFinite, before any of them moves, where it is no number."""
        if not torch.isfinite(objective):
            raise NonFinite(
                f"the agents' objective is {objective.item()} after {self.gradient_steps} updates; lower {self.advice}"
            )
        optimizers = list(self._named_optimizers.values())
        for optimizer in optimizers:
            optimizer.zero_grad()
        objective.backward()
        for optimizer in optimizers:
            optimizer.step()
        self.gradient_steps += 1
