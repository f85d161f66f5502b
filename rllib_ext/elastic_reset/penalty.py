"""The weight of a KL penalty to a reference policy: what was measured in an iteration, and the rule that follows it."""

from __future__ import annotations

from typing import Any

import torch

from rllib_ext.functional.kl_control import next_beta


class Penalty:
    """beta of one module. Measurements are added up over an iteration and over all learners, which so keep one beta."""

    def __init__(self, config: Any, beta: float, device: Any = "cpu") -> None:
        self.beta = self.begins = float(beta)
        self.measured: dict[str, float] = {}
        self._per_step = getattr(config, "kl_controller", "fixed") == "rl4lms"
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)

    def measure(self, kl: float, steps: float, episodes: float) -> None:
        """kl: sum of log pi - log pi_ref over ``steps`` steps of ``episodes`` episodes, nats."""
        self._sums += self._sums.new_tensor([kl, steps, episodes])

    def end_iteration(self, config: Any) -> None:
        """Let beta follow what was measured, and begin anew."""
        kl, steps, episodes = (float(value) for value in _over_learners(self._sums).cpu())
        self._sums = torch.zeros_like(self._sums)
        if not steps:
            return
        self.measured = {"kl_step": kl / steps, "kl_episode": kl / max(1.0, episodes)}
        rule = getattr(config, "kl_controller", "fixed")
        if rule == "fixed":
            return
        self.beta = next_beta(
            rule,
            self.beta,
            self.measured["kl_step" if self._per_step else "kl_episode"],
            target=config.kl_beta_target,
            samples=int(episodes),
            horizon=config.kl_beta_horizon,
        )

    def begin_at(self, beta: float) -> None:
        """What the configuration asks for, where that is known after the fact."""
        self.beta = self.begins = float(beta)

    def state(self) -> dict[str, float]:
        """The weight, and what it began from."""
        return {"beta": self.beta, "beta_begins": self.begins}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a saved weight, unless it began from another one than this configuration asks for: then the knob was
        changed on purpose (population-based training, a run gone on with by other settings) and its value holds.
        """
        if float(state.get("beta_begins", self.begins)) == self.begins:
            self.beta = float(state["beta"])


def _over_learners(sums: torch.Tensor) -> torch.Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        sums = sums.clone()
        torch.distributed.all_reduce(sums)
    return sums
