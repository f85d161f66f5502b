"""How an action is chosen from the stacks of many copies at once: the best of the Q-values, or by chance.

    training      noise in the layers, drawn anew each step; epsilon is 1 until learning begins, then falls
    evaluation    the means of the layers, epsilon 0.001

Batch normalisation uses its running statistics in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rllib_ext.sgi.noisy import sample_noise


class Actor:
    """The policy of a worker. module: has ``encoder``, ``head`` and ``q_values``. seed: of every draw."""

    def __init__(self, module: Any, actions: int, seed: int | None) -> None:
        self.module, self.actions = module, actions
        self.random = np.random.default_rng(seed)
        self.noise = torch.Generator().manual_seed(int(self.random.integers(2**62)))

    def decide(self, stack_BSHW: np.ndarray, epsilon: float, explore: bool) -> np.ndarray:
        """(B,) actions. explore: with noise in the layers."""
        copies = len(stack_BSHW)
        if epsilon >= 1:
            return self.random.integers(self.actions, size=copies)
        actions_B = self.greedy(stack_BSHW, explore)
        if epsilon > 0:
            by_chance_B = self.random.random(copies) < epsilon
            actions_B = np.where(by_chance_B, self.random.integers(self.actions, size=copies), actions_B)
        return actions_B

    @torch.inference_mode()
    def greedy(self, stack_BSHW: np.ndarray, explore: bool) -> np.ndarray:
        """(B,) actions of the largest expected return."""
        self.module.encoder.eval()
        self.module.head.train(explore)
        if explore:
            sample_noise(self.module.head, self.noise)
        device = next(self.module.head.parameters()).device
        # a read-only view becomes a tensor without a copy only behind numpy's back: 28 kB a copy are copied
        stacks = torch.from_numpy(stack_BSHW.copy()).to(device)
        return self.module.q_values(stacks).argmax(-1).cpu().numpy()

    def state(self) -> dict[str, Any]:
        """Both random states, as JSON."""
        return {"random": self.random.bit_generator.state, "noise": self.noise.get_state().tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse."""
        self.random.bit_generator.state = state["random"]
        self.noise.set_state(torch.tensor(state["noise"], dtype=torch.uint8))


def epsilon_at(step: int, *, random_steps: int, decay_steps: int, last: float) -> float:
    """1 for the first ``random_steps`` steps, then on a line to ``last`` within ``decay_steps``."""
    if step < random_steps:
        return 1.0
    done = min(1.0, (step - random_steps + 1) / decay_steps)
    return 1.0 + done * (last - 1.0)
