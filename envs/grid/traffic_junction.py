"""Traffic-Junction: cars on crossing roads, each with a fixed route, go or brake, and must never be on the same cell.

| | |
|---|---|
| agents | "car_0" to "car_{A-1}": places for cars. A place is empty ("active" False) until a car comes in, and again |
| | after it has left; the next car in it is another one. All stay in ``agents`` until the episode ends |
| action | Discrete(2): 0 gas (one cell on along the route; past its end the car leaves), 1 brake. Ignored of empty |
| | places |
| observation | last action (1 if it braked), route one-hot (R routes), row / (H - 1), column / (H - 1) on an H x H |
| | grid; then for each cell of the (2 v + 1)² window around the car, row by row: 1 if road, number of other cars on |
| | it. Zeros of an empty place. 5 + 2 (2 v + 1)² numbers at easy, 15 + ... at medium, 59 + ... at hard |
| reward | of a car that acted and is still there: -0.01 x steps since it came in, and -10 if it now shares its cell |
| episode end | all truncated after ``max_steps``, always; a collision ends nothing |
| infos | "active", "route", "along" (cells driven), "collides", "entered" (a car that has just come in; whatever was |
| | remembered of this place is of another car); -1, -1 and False of an empty place. At the end "success" |
| | (1 if there was no collision in the whole episode) and "mean_speed" (share of gas among the actions of |
| | cars; NaN if no car ever came in). Read both: who always brakes soon has no room for collisions either |

One step: all cars act; then, entry by entry while fewer than A cars are in, with chance ``add_rate`` a random empty
place becomes a car on a random route of the entry, on its first cell; then observations and rewards. Roads are empty
at first. A car that comes in onto an occupied cell is a collision at once, and the car that stood there pays for it;
the newcomer, which has not acted yet, pays from its first action on (in the original it pays at once, where nobody
learns from it).

Maps. easy: two one-way roads cross on a (dim + 1) x (dim + 1) grid, 2 entries, 2 routes. medium: two two-lane roads on
dim x dim, 4 entries, 12 routes. hard: four two-lane roads, 4 junctions, 8 entries, 56 routes. Cars keep to the right.

On arrays (``batched``) a car that leaves is terminated at its place while the copy goes on, and the next car in it is
``first``: values and memories of two cars never meet.

Arguments
    difficulty     "easy", "medium" or "hard"; None below stands for its figure here:
    dim            6, 14, 18; even and at least 4 + vision at easy and medium, a multiple of 3 from 9 on at hard
    max_cars       A: 5, 10, 20; 1 or more
    max_steps      20, 40, 80; 1 or more
    vision         v, 0 or more
    add_rate_min   0.1, 0.05, 0.02; from 0 to add_rate_max. Where a curriculum begins; without one it is not used
    add_rate_max   0.3, 0.2, 0.05; from 0 to 1
    curriculum     None (``add_rate_max`` from the start) or epochs (start, end) between which the rate rises, in steps
                   of 0.01; `set_epoch` says how far training is, and the next episode begins with the rate of that
                   epoch. IC3Net's at easy is (250, 1250)
    legacy_obs     IC3Net's observation instead, to compare with its figures: last action, route / (R - 1), and for each
                   cell of the window one-hot which road cell it is, or outside, and the number of cars, with the
                   original's quirks (``envs.grid.traffic_views``). easy, dim 6: 17 numbers at v = 0, 137 at v = 1;
                   medium, dim 6: 29
    render_mode    None or "rgb_array"

Source: IC3Net (Singh et al. 2018, arXiv 1812.09755, section 4.2 and github.com/IC3Net/IC3Net); easy with vision 1 is
the setting of Lo et al. 2024 (arXiv 2307.01403), whose "8 x 8" may be dim 8 or a grid of 8. The README's 0.02 as
largest rate at medium is taken for a slip; the paper has 0.2. Left out: the scalar vocabulary.

Version 0: as above.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from envs.grid.face import GridEnv
from envs.grid.traffic_junction_core import TrafficJunctionCore


class TrafficJunction(GridEnv):
    """Cars that must not meet; the module is the documentation page."""

    metadata = {"name": "traffic_junction_v0", "render_modes": ["rgb_array"], "is_parallelizable": True}
    _core: TrafficJunctionCore

    def __init__(
        self,
        *,
        difficulty: str = "easy",
        dim: int | None = None,
        max_cars: int | None = None,
        max_steps: int | None = None,
        vision: int = 1,
        add_rate_min: float | None = None,
        add_rate_max: float | None = None,
        curriculum: tuple[int, int] | None = None,
        legacy_obs: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "difficulty": difficulty,
            "dim": dim,
            "max_cars": max_cars,
            "max_steps": max_steps,
            "vision": vision,
            "add_rate_min": add_rate_min,
            "add_rate_max": add_rate_max,
            "curriculum": curriculum,
            "legacy_obs": legacy_obs,
        }
        super().__init__(render_mode)

    def batched(self, num_envs: int) -> TrafficJunctionCore:
        return TrafficJunctionCore(num_envs, **self._arguments)

    def set_epoch(self, epoch: int) -> None:
        """Tell the curriculum how far training is; it counts from the next reset on."""
        self._core.set_epoch(epoch)

    def _observation_box(self, size: int) -> Box:
        return Box(np.zeros(size, np.float32), self._core.highest, dtype=np.float32)
