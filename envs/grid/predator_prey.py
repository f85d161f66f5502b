"""Predator-Prey: predators that see little must surround prey that walk away from them; nobody can do it alone.

| | |
|---|---|
| agents | "predator_0" to "predator_{A-1}"; they move one after the other, in this order |
| action | Discrete(5): 0 down, 1 left, 2 up, 3 right, 4 stay. A move into the border, a predator or a live prey |
| | is none |
| observation | Box(0, 1, (view² + 3,)), 12 numbers at view 3: own row / (G - 1), own column / (G - 1); for each cell |
| | of the view x view window around it, row by row, 1 if a live prey is there; step / ``max_steps``. |
| | Other predators are not seen |
| reward | the same for all: -0.01 a step, +10 for each capture, -0.5 for each failed attempt |
| episode end | all terminated when no prey is left; all truncated after ``max_steps`` |
| infos | "active" (always), "row", "column", "prey_left"; at the end "success" (1 if no prey is left), "captured" |

One step: all predators move; then, prey by prey, predators in the four cells beside it are counted, it is captured and
leaves the grid, or a failed attempt is paid for, or neither; a prey that lives then moves. It thinks of up to five
moves, drawn from (0.175, 0.175, 0.175, 0.175, 0.3) over the five actions, and makes the first that does not lead to a
cell with a predator beside it; none of five, and it stays. A move into the border or an occupied cell is none, as for
predators.

Captured is a prey that cannot go anywhere for predators: its four neighbours are predators or, with ``walls_block``,
lie beyond the border. So a corner takes two predators, an edge three and elsewhere four. Another prey beside it does
not count as an obstacle, since it may be gone at the next step. Failed attempt: exactly one predator is beside a prey
that is not captured; with ``penalty_when="any_uncaptured"``, one or more.

An episode begins with predators and prey on cells of their own, uniform over the grid, no prey beside a predator.

Arguments
    predators        A, 1 or more
    prey             1 or more
    size             G, 2 or more
    view             side of the window, odd, 1 or more
    max_steps        1 or more
    capture          "surrounded", or the least number of predators (1 to 4) that must be beside the prey: ma-gym has 2
    walls_block      whether the border helps to surround. The texts differ in nothing but this: a prey that cannot move
                     anywhere (True), or one with predators on all four sides (False)
    penalty_when     "one" or "any_uncaptured"
    capture_reward, penalty, step_cost   any finite numbers; what is added, so costs are negative
    render_mode      None or "rgb_array"

`predator_prey(variant)` makes it by name: "cacl" (as above), "ma-gym" (ma-gym's ``PredatorPrey7x7``: two predators
capture, +5, window of 5, 100 steps), "ic3net" (another game of the same name, ``envs.grid.ic3_predator_prey``).

Source: rules of ma-gym (Koul 2019, github.com/koulanurag/ma-gym) with the changes of Lo and Sengupta 2022 (EmeCom
workshop) and Lo et al. 2024 (arXiv 2307.01403): 7 x 7, window of 3, capture by surrounding, +10, 200 steps. Unlike
ma-gym, the last row and column are used at the start too. Chosen here where the texts say nothing: what a failed
attempt is when two or three are beside the prey, and that prey are no obstacles. Left out: ma-gym's shared full
observation.

Version 0: as above.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs.grid.arguments import choice
from envs.grid.face import GridEnv
from envs.grid.ic3_predator_prey import IC3PredatorPrey
from envs.grid.predator_prey_core import PredatorPreyCore


class PredatorPrey(GridEnv):
    """The hunt that takes several; the module is the documentation page."""

    metadata = {"name": "predator_prey_v0", "render_modes": ["rgb_array"], "is_parallelizable": True}

    def __init__(
        self,
        *,
        predators: int = 4,
        prey: int = 2,
        size: int = 7,
        view: int = 3,
        max_steps: int = 200,
        capture: str | int = "surrounded",
        walls_block: bool = True,
        penalty_when: str = "one",
        capture_reward: float = 10.0,
        penalty: float = -0.5,
        step_cost: float = -0.01,
        render_mode: str | None = None,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "predators": predators,
            "prey": prey,
            "size": size,
            "view": view,
            "max_steps": max_steps,
            "capture": capture,
            "walls_block": walls_block,
            "penalty_when": penalty_when,
            "capture_reward": capture_reward,
            "penalty": penalty,
            "step_cost": step_cost,
        }
        super().__init__(render_mode)

    def batched(self, num_envs: int) -> PredatorPreyCore:
        return PredatorPreyCore(num_envs, **self._arguments)


MA_GYM: Mapping[str, Any] = {"capture": 2, "capture_reward": 5.0, "view": 5, "max_steps": 100}
VARIANTS: Mapping[str, tuple[type[GridEnv], Mapping[str, Any]]] = {
    "cacl": (PredatorPrey, {}),
    "ma-gym": (PredatorPrey, MA_GYM),
    "ic3net": (IC3PredatorPrey, {}),
}


def predator_prey(variant: str = "cacl", **arguments: Any) -> GridEnv:
    """Predator-Prey by the name of its variant; arguments are those of its class and go before its figures."""
    game, preset = VARIANTS[choice("variant", variant, tuple(VARIANTS))]
    return game(**{**preset, **arguments})
