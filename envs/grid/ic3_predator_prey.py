"""IC3Net's Predator-Prey: predators with a small window look for one prey that does not move.

| | |
|---|---|
| agents | "predator_0" to "predator_{A-1}", all act at once |
| action | Discrete(5): 0 up, 1 right, 2 down, 3 left, 4 stay. Moves end at the border; predators may share a cell; |
| | whoever has reached the prey stays there, whatever it does |
| observation | Box of (2 v + 1)² windows cells, row by row, with G² + 4 numbers each: one-hot which cell of the grid it |
| | is (G²), one number that is always 0, 1 if it lies outside, number of prey on it (0 or 1), number of |
| | predators on it (0 to A), the predator itself too. 29 numbers at G = 5, v = 0 |
| reward | -0.05 a step off the prey; on the prey, where k predators are now: 0 (mode "mixed"), 0.05 k |
| | ("cooperative"), 0.05 / k ("competitive") |
| episode end | all terminated when all are on the prey, in mode "mixed" alone; all truncated after ``max_steps`` |
| infos | "active" (always), "arrived", "prey_row", "prey_column"; at the end "success" (1 if all are on the prey), |
| | "arrived" (how many are) |

An episode begins with predators and prey on cells of their own, uniform over the grid.

Arguments
    predators     A, 1 or more, and fewer than there are cells
    size          G, 2 or more
    vision        v, 0 or more
    max_steps     1 or more
    mode          "mixed", "cooperative" or "competitive"
    render_mode   None or "rgb_array"

The defaults are the paper's small setting (3 predators, 5 x 5, v = 0, 20 steps); the others are 5, 10 x 10, v = 1, 40
steps and 10, 20 x 20, v = 1, 80 steps.

Source: IC3Net (Singh et al. 2018, arXiv 1812.09755, section 4.1 and github.com/IC3Net/IC3Net). For comparison with
peers; the game of the CACL paper is ``envs.grid.predator_prey``. Left out: prey that speak, playing without action 4.

Version 0: as above.
"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box

from envs.grid.face import GridEnv
from envs.grid.ic3_predator_prey_core import IC3PredatorPreyCore


class IC3PredatorPrey(GridEnv):
    """The search for one prey; the module is the documentation page."""

    metadata = {"name": "ic3_predator_prey_v0", "render_modes": ["rgb_array"], "is_parallelizable": True}

    def __init__(
        self,
        *,
        predators: int = 3,
        size: int = 5,
        vision: int = 0,
        max_steps: int = 20,
        mode: str = "mixed",
        render_mode: str | None = None,
    ) -> None:
        self.num_predators, self.size, self.vision = predators, size, vision
        self.max_steps, self.mode = max_steps, mode
        super().__init__(render_mode)

    def batched(self, num_envs: int) -> IC3PredatorPreyCore:
        return IC3PredatorPreyCore(
            num_envs,
            predators=self.num_predators,
            size=self.size,
            vision=self.vision,
            max_steps=self.max_steps,
            mode=self.mode,
        )

    def _observation_box(self, size: int) -> Box:
        highest = np.ones(size, np.float32)
        highest[self.size**2 + 3 :: self.size**2 + 4] = self.num_predators
        return Box(np.zeros(size, np.float32), highest, dtype=np.float32)
