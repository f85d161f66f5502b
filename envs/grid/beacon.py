"""Beacon: agents look for a goal that only some of them are told; a world of minutes in which messages decide.

| | |
|---|---|
| agents | "agent_0" to "agent_{A-1}", all act at once |
| action | Discrete(5): 0 right, 1 down, 2 left, 3 up, 4 stay. Moves end at the border; agents may share a cell; |
| | whoever has arrived stays where it is, whatever it does |
| observation | Box(0, 1, (4 G + 1 + nuisance,)): own row and own column (G each, one-hot), row and column of the goal |
| | (G each, one-hot; zeros for the blind), 1 if arrived, then ``nuisance`` bits drawn anew each step |
| reward | -0.02 a step for those who have not arrived (when the step is over), +1 on arrival, +2 to each when |
| | all have arrived |
| episode end | all terminated when all have arrived; all truncated after ``max_steps`` |
| infos | "active" (always), "sighted", "arrived", "goal_row", "goal_column"; at the end "success" (1 if all arrived) |

Each episode draws the goal from all cells, every agent's cell from those more than one step away from the goal, the
number of the sighted from 1 to A - 1, and who they are.

Why messages decide: the goal stays the same over the episode while the own position, which an agent may as well talk
about, changes at every step; and the blind cannot search 25 cells in 12 steps. It was made to show this one mechanism
(messages that keep what a trajectory has in common) and is no measure of difficulty.

Arguments
    agents        A, 2 or more
    size          G, 2 or more
    max_steps     1 or more
    nuisance      random bits in the observation, 0 or more: what a message could waste its room on
    goal_every    None, or the goal is drawn anew, from all cells, after every so many steps (1 or more); arrivals stay
    render_mode   None or "rgb_array"

Source: made for this package, after the setting of Lo et al. 2024 (arXiv 2307.01403). Left out: the message channel,
which is a wrapper (``envs.channel``).

Version 0: as above.
"""

from __future__ import annotations

from envs.grid.beacon_core import BeaconCore
from envs.grid.face import GridEnv


class Beacon(GridEnv):
    """The search for a goal that some are told; the module is the documentation page."""

    metadata = {"name": "beacon_v0", "render_modes": ["rgb_array"], "is_parallelizable": True}

    def __init__(
        self,
        *,
        agents: int = 3,
        size: int = 5,
        max_steps: int = 12,
        nuisance: int = 0,
        goal_every: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.num_searchers, self.size, self.max_steps = agents, size, max_steps
        self.nuisance, self.goal_every = nuisance, goal_every
        super().__init__(render_mode)

    def batched(self, num_envs: int) -> BeaconCore:
        return BeaconCore(
            num_envs,
            agents=self.num_searchers,
            size=self.size,
            max_steps=self.max_steps,
            nuisance=self.nuisance,
            goal_every=self.goal_every,
        )
