"""Find-Goal: agents search one goal among scattered walls, seeing only the cells around them.

| | |
|---|---|
| agents | "agent_0" to "agent_{A-1}", all act at once |
| action | Discrete(5): 0 right, 1 down, 2 left, 3 up, 4 stay. A move into a wall is none. Agents may share a cell; |
| | whoever has arrived stays on the goal, whatever it does |
| observation | Box(0, 1, (4 V² + 2 G + 1,)): for each cell of the V x V view, row by row, one-hot {empty, wall, goal, |
| | another agent} (the goal goes before agents on it; the own place shows what lies there), own row and own column |
| | (G each, one-hot, border included), 1 if arrived. Walls do not block the view; beyond the border all is wall |
| reward | "cacl": +1 to whoever arrives, +5 to each when all have arrived. "share": +1 to everybody for each arrival |
| episode end | all terminated when all have arrived; all truncated after ``max_steps`` |
| infos | "active" (always), "arrived", "arrived_at" (step, 0 before), "sees_goal", "goal_row", "goal_column"; at the |
| | end "success" (1 if all arrived) and "arrival" (step of arrival, mean over agents, ``max_steps`` if never) |

Each episode draws int(walls (G - 2)²) wall cells, the goal on another cell, and every agent on a cell that is neither
(the published environment may put an agent on the goal; here nobody begins there). Since agents may share cells, the
order in which they move makes no difference.

Arguments
    agents        A, 1 or more
    size          G, 5 or more: the grid with its border of walls
    max_steps     1 or more
    walls         share of the inner cells that are walls, 0 to 0.9
    view          V, odd, 1 or more
    reachable     whether layouts are drawn again until every agent can reach the goal; otherwise it may be walled in
    reward        "cacl" or "share"
    render_mode   None or "rgb_array"

Source: Lin et al. 2021 (NeurIPS, "Learning to ground multi-agent communication with autoencoders"), 15 x 15 with 25
walls, 3 agents, 512 steps, reward "share"; Lo et al. 2024 (arXiv 2307.01403) use a view of 3 x 3 and the reward
"cacl". Left out: pixels (each tile is its symbol), headings. Whether the goal is in view is told from the view that
is observed.

Version 0: as above.
"""

from __future__ import annotations

from envs.grid.face import GridEnv
from envs.grid.find_goal_core import FindGoalCore


class FindGoal(GridEnv):
    """The search among walls; the module is the documentation page."""

    metadata = {"name": "find_goal_v0", "render_modes": ["rgb_array"], "is_parallelizable": True}

    def __init__(
        self,
        *,
        agents: int = 3,
        size: int = 15,
        max_steps: int = 512,
        walls: float = 0.15,
        view: int = 3,
        reachable: bool = False,
        reward: str = "cacl",
        render_mode: str | None = None,
    ) -> None:
        self.num_searchers, self.size, self.max_steps = agents, size, max_steps
        self.walls, self.view, self.reachable, self.reward = walls, view, reachable, reward
        super().__init__(render_mode)

    def batched(self, num_envs: int) -> FindGoalCore:
        return FindGoalCore(
            num_envs,
            agents=self.num_searchers,
            size=self.size,
            max_steps=self.max_steps,
            walls=self.walls,
            view=self.view,
            reachable=self.reachable,
            reward=self.reward,
        )
