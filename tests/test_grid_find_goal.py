"""Find-Goal does what its page says: rules against a literal transcription, layouts, reachability, arguments."""

from __future__ import annotations

import time

import numpy as np
import pytest
from grid_rules import check_face, random_walk

from envs.errors import BadEnv
from envs.grid import FindGoal, FindGoalCore

MOVED = {0: (0, 1), 1: (1, 0), 2: (0, -1), 3: (-1, 0), 4: (0, 0)}  # right, down, left, up, stay


class Literal:
    """One copy, cell by cell, as the page words it; agents move in any order."""

    def __init__(self, core: FindGoalCore, copy: int, order: np.ndarray) -> None:
        size, wide, margin = core.size, core.size + 2 * (core.view // 2), core.view // 2
        walls = core.walls_BG[copy].reshape(wide, wide)
        self.walls = {(r, c) for r in range(size) for c in range(size) if walls[r + margin, c + margin]}
        self.size, self.view, self.order, self.reward = size, core.view, order, core.reward
        self.goal = divmod(int(core.goals_B[copy]), size)
        self.cells = [divmod(int(cell), size) for cell in core.cells_BA[copy]]
        self.arrivals = [int(at) for at in core.arrivals_BA[copy]]
        self.time, self.max_steps = int(core.time_B[copy]), core.max_steps

    def step(self, actions: list[int]) -> tuple[list[float], bool, bool]:
        self.time += 1
        rewards = [0.0] * len(actions)
        for agent in self.order:
            if self.arrivals[agent]:
                continue
            row, column = self.cells[agent]
            target = (row + MOVED[actions[agent]][0], column + MOVED[actions[agent]][1])
            if target not in self.walls:
                self.cells[agent] = target
            if self.cells[agent] == self.goal:
                self.arrivals[agent] = self.time
                for other in range(len(actions)):
                    if self.reward == "share" or other == agent:
                        rewards[other] += 1
        over = all(self.arrivals)
        if over and self.reward == "cacl":
            rewards = [reward + 5 for reward in rewards]
        return rewards, over, not over and self.time >= self.max_steps

    def seen(self, agent: int) -> list[float]:
        found: list[float] = []
        row, column = self.cells[agent]
        half = self.view // 2
        for r in range(row - half, row + half + 1):
            for c in range(column - half, column + half + 1):
                outside = not (0 <= r < self.size and 0 <= c < self.size)
                others = [cell for i, cell in enumerate(self.cells) if i != agent]
                if outside or (r, c) in self.walls:
                    found += [0, 1, 0, 0]
                elif (r, c) == self.goal:
                    found += [0, 0, 1, 0]
                else:
                    found += [0, 0, 0, 1] if (r, c) in others else [1, 0, 0, 0]
        found += [float(row == i) for i in range(self.size)] + [float(column == i) for i in range(self.size)]
        return [*found, float(self.arrivals[agent] > 0)]


@pytest.mark.parametrize(
    ("agents", "size", "view", "walls", "reward"),
    [(3, 7, 3, 0.15, "cacl"), (2, 5, 5, 0.0, "share"), (4, 6, 1, 0.3, "cacl"), (3, 6, 3, 0.1, "share")],
)
def test_rules_are_those_of_the_page(agents: int, size: int, view: int, walls: float, reward: str) -> None:
    core = FindGoalCore(4, agents=agents, size=size, view=view, walls=walls, reward=reward, max_steps=60)
    draw, over = np.random.default_rng(agents), 0
    core.reset(seed=size)
    for _ in range(300):
        worlds = [Literal(core, copy, draw.permutation(agents)) for copy in range(4)]
        actions_BA = draw.integers(5, size=(4, agents))
        step = core.step(actions_BA)
        for copy, world in enumerate(worlds):
            rewards, terminated, truncated = world.step(actions_BA[copy].tolist())
            assert step.rewards_BA[copy].tolist() == rewards
            assert step.terminated_BA[copy].tolist() == [terminated] * agents
            assert step.truncated_BA[copy].tolist() == [truncated] * agents
            moment = step.last if terminated or truncated else step.now
            assert moment is not None
            assert moment.observations_BAO[copy].tolist() == [world.seen(agent) for agent in range(agents)]
            if terminated or truncated:
                mean = np.mean([at or 60 for at in world.arrivals])
                assert step.measures["arrival"][copy] == pytest.approx(mean)
                assert step.measures["success"][copy] == terminated
            over += terminated
    assert over > 0


def test_invariants_over_many_steps() -> None:
    core = FindGoalCore(50, size=9, max_steps=40)
    for before, _, step in random_walk(core, 2000):
        row, column = np.divmod(core.cells_BA, 9)
        assert ((row > 0) & (row < 8) & (column > 0) & (column < 8)).all()
        on_wall = np.take_along_axis(core.walls_BG, core._on_map(core.cells_BA), 1)
        assert not on_wall.any()
        seen = step.now.observations_BAO
        assert (seen[..., :36].reshape(50, 3, 9, 4).sum(-1) == 1).all()
        assert (seen[..., 36:45].sum(-1) == 1).all() and (seen[..., 45:54].sum(-1) == 1).all()
        goal_seen = seen[..., :36].reshape(50, 3, 9, 4)[..., 2].any(-1)
        assert np.array_equal(goal_seen, core.facts()["sees_goal"])
        going = ~step.done_B
        assert (seen[going, :, -1] >= before.observations_BAO[going, :, -1]).all(), "who has arrived stays so"
        inner = core.walls_BG.reshape(50, 11, 11)[:, 2:9, 2:9]
        assert (inner.sum((1, 2)) == int(0.15 * 49)).all()


def test_the_published_size() -> None:
    env = FindGoal()
    assert env.observation_space("agent_0").shape == (67,) and env.batched(1).num_walls == 25


def test_layouts_are_uniform() -> None:
    core = FindGoalCore(20_000, size=5, walls=0.3, agents=1)
    core.reset(seed=0)
    walls = core.walls_BG.reshape(-1, 7, 7)[:, 2:5, 2:5].reshape(-1, 9).mean(0)
    assert walls == pytest.approx(2 / 9, abs=0.012)
    for cells in (core.goals_B, core.cells_BA[:, 0]):
        inner = (cells // 5 - 1) * 3 + cells % 5 - 1
        assert np.bincount(inner, minlength=9) / 20_000 == pytest.approx(1 / 9, abs=0.012)
    assert (core.goals_B[:, None] != core.cells_BA).all()


def reaches(world: Literal, start: tuple[int, int]) -> bool:
    """Search by breadth, cell by cell."""
    found, edge = {start}, [start]
    while edge:
        row, column = edge.pop()
        for down, right in MOVED.values():
            cell = (row + down, column + right)
            if cell not in world.walls and cell not in found:
                found.add(cell)
                edge.append(cell)
    return world.goal in found


def test_reachable_layouts() -> None:
    shares = {}
    for reachable in (False, True):
        core = FindGoalCore(300, size=8, walls=0.4, reachable=reachable)
        core.reset(seed=0)
        worlds = [Literal(core, copy, np.arange(3)) for copy in range(300)]
        literal = np.array([all(reaches(world, cell) for cell in world.cells) for world in worlds])
        assert np.array_equal(literal, core._all_reach(np.arange(300)))
        shares[reachable] = literal.mean()
    assert shares[False] < 0.7 and shares[True] == 1
    with pytest.raises(BadEnv, match="no layout was found in 1000 draws"):
        FindGoalCore(50, size=10, walls=0.8, agents=12, reachable=True).reset(seed=0)


@pytest.mark.parametrize(
    "options", [{"max_steps": 50}, {"agents": 2, "size": 7, "view": 5, "reachable": True}]
)
def test_face(options: dict[str, int]) -> None:
    check_face(lambda: FindGoal(**options))


def test_picture() -> None:
    env = FindGoal(size=7, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None and picture.shape == (168, 168, 3)
    assert (picture[1:24, 1:24] == 70).all(), "the corner is wall"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"agents": 0}, "agents = 0"),
        ({"size": 4}, "size = 4 must be a whole number, 5 or more"),
        ({"view": 4}, "view = 4 must be odd"),
        ({"walls": 0.95}, "walls = 0.95 must be a finite number from 0 to 0.9"),
        ({"walls": float("nan")}, "walls = nan"),
        ({"walls": 0.9, "size": 5}, "walls = 0.9 of 9 inner cells leave no room"),
        ({"reward": "team"}, "reward = 'team' must be one of 'cacl', 'share'"),
        ({"reachable": 1}, "reachable = 1 must be True or False"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(BadEnv, match=named):
        FindGoal(**arguments)  # type: ignore[arg-type]


def test_speed() -> None:
    """64 copies of the published size in about a millisecond of processor time."""
    core, draw = FindGoalCore(64), np.random.default_rng(0)
    core.reset(seed=0)
    times = []
    for _ in range(4):
        begun = time.process_time()
        for actions_BA in draw.integers(5, size=(25, 64, 3)):
            core.step(actions_BA)
        times.append((time.process_time() - begun) / 25)
    assert min(times) < 3e-3
