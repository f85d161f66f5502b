"""Beacon does what its page says: rules against a literal transcription, draws against their distribution, speed."""

from __future__ import annotations

import time

import numpy as np
import pytest
from grid_rules import check_face, random_walk

from envs.errors import BadEnv
from envs.grid import Beacon, BeaconCore

MOVED = {0: (0, 1), 1: (1, 0), 2: (0, -1), 3: (-1, 0), 4: (0, 0)}  # right, down, left, up, stay


class Literal:
    """One copy, agent by agent, as the page words it."""

    def __init__(self, core: BeaconCore, copy: int) -> None:
        self.size, self.max_steps, self.time = core.size, core.max_steps, int(core.time_B[copy])
        self.cells = [tuple(map(int, cell)) for cell in core.cells_BA2[copy]]
        self.goal = tuple(map(int, core.goals_B2[copy]))
        self.sighted = [bool(told) for told in core.sighted_BA[copy]]
        self.arrived = [bool(there) for there in core.arrived_BA[copy]]

    def step(self, actions: list[int]) -> tuple[list[float], bool, bool]:
        rewards = [0.0] * len(actions)
        for agent, action in enumerate(actions):
            if self.arrived[agent]:
                continue
            row, column = self.cells[agent]
            down, right = MOVED[action]
            if 0 <= row + down < self.size and 0 <= column + right < self.size:
                self.cells[agent] = (row + down, column + right)
            if self.cells[agent] == self.goal:
                self.arrived[agent] = True
                rewards[agent] += 1.0
            else:
                rewards[agent] -= 0.02
        self.time += 1
        if all(self.arrived):
            return [reward + 2.0 for reward in rewards], True, False
        return rewards, False, self.time >= self.max_steps

    def seen(self, agent: int) -> list[float]:
        def one_hot(at: int | None) -> list[float]:
            return [float(at == i) for i in range(self.size)]

        row, column = self.goal if self.sighted[agent] else (None, None)
        own_row, own_column = self.cells[agent]
        own = [*one_hot(own_row), *one_hot(own_column)]
        return [*own, *one_hot(row), *one_hot(column), float(self.arrived[agent])]


@pytest.mark.parametrize(("agents", "size", "max_steps"), [(3, 5, 12), (2, 2, 5), (5, 3, 30)])
def test_rules_are_those_of_the_page(agents: int, size: int, max_steps: int) -> None:
    core = BeaconCore(6, agents=agents, size=size, max_steps=max_steps)
    draw = np.random.default_rng(agents)
    core.reset(seed=agents)
    over = 0
    for _ in range(400):
        worlds = [Literal(core, copy) for copy in range(6)]
        actions_BA = draw.integers(5, size=(6, agents))
        step = core.step(actions_BA)
        for copy, world in enumerate(worlds):
            rewards, terminated, truncated = world.step(actions_BA[copy].tolist())
            assert step.rewards_BA[copy] == pytest.approx(rewards)
            assert step.terminated_BA[copy].tolist() == [terminated] * agents
            assert step.truncated_BA[copy].tolist() == [truncated] * agents
            moment = step.last if terminated or truncated else step.now
            assert moment is not None
            assert moment.observations_BAO[copy].tolist() == [world.seen(agent) for agent in range(agents)]
            over += terminated
    assert over > 0


def test_invariants_over_many_steps() -> None:
    core, spans = BeaconCore(100, nuisance=3), np.zeros(100, int)
    for before, _, step in random_walk(core, 1000):
        spans += 1
        assert (spans[step.done_B] <= 12).all() and (spans <= 12).all()
        assert (step.done_B | (spans < 12)).all()
        spans[step.done_B] = 0
        seen = step.now.observations_BAO
        assert (seen[..., :5].sum(-1) == 1).all() and (seen[..., 5:10].sum(-1) == 1).all()
        told = seen[..., 10:15].sum(-1)
        assert np.array_equal(told, core.sighted_BA) and np.array_equal(told, seen[..., 15:20].sum(-1))
        assert ((told.sum(1) >= 1) & (told.sum(1) < 3)).all()
        going = ~step.done_B
        assert (seen[going, :, 20] >= before.observations_BAO[going, :, 20]).all(), "who has arrived stays so"
        assert (step.measures["success"][step.done_B] == step.terminated_BA[step.done_B, 0]).all()


def test_draws_of_an_episode() -> None:
    core = BeaconCore(20_000, agents=3, size=4)
    core.reset(seed=0)
    assert (abs(core.cells_BA2 - core.goals_B2[:, None]).sum(-1) > 1).all()
    goals = np.bincount(core.goals_B2 @ [4, 1], minlength=16) / 20_000
    assert goals == pytest.approx(1 / 16, abs=0.008)
    assert np.bincount(core.sighted_BA.sum(1), minlength=4) / 20_000 == pytest.approx(
        [0, 0.5, 0.5, 0], abs=0.015
    )
    assert core.sighted_BA.mean(0) == pytest.approx(0.5, abs=0.015)
    corner = (core.goals_B2 == 0).all(1)  # three cells are too near; the other 13 are alike
    starts = np.bincount((core.cells_BA2[corner] @ [4, 1]).ravel(), minlength=16)
    assert set(np.flatnonzero(starts == 0)) == {0, 1, 4}
    assert starts[starts > 0] / starts.sum() == pytest.approx(1 / 13, abs=0.02)


def test_goal_that_moves() -> None:
    core = BeaconCore(500, max_steps=20, goal_every=6)
    core.reset(seed=1)
    changed = []
    for _ in range(13):
        before = core.goals_B2.copy()
        going_B = ~core.step(np.full((500, 3), 4)).done_B
        changed.append((core.goals_B2 != before).any(1)[going_B & (core.time_B == len(changed) + 1)].mean())
    assert [i + 1 for i, share in enumerate(changed) if share > 0] == [6, 12]
    assert changed[5] == pytest.approx(24 / 25, abs=0.04)


def test_nuisance_is_fresh_bits() -> None:
    core = BeaconCore(200, nuisance=4)
    first = core.reset(seed=1).observations_BAO[..., 21:]
    second = core.step(np.full((200, 3), 4)).now.observations_BAO[..., 21:]
    assert set(np.unique(first)) == {0.0, 1.0}
    assert (first == second).mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("options", [{}, {"agents": 2, "size": 4, "nuisance": 2, "goal_every": 3}])
def test_face(options: dict[str, int]) -> None:
    check_face(lambda: Beacon(**options))


def test_facts_and_pictures() -> None:
    env = Beacon(render_mode="rgb_array")
    _, infos = env.reset(seed=4)
    assert set(infos["agent_0"]) == {"active", "sighted", "arrived", "goal_row", "goal_column"}
    picture = env.render()
    assert picture is not None and picture.shape == (120, 120, 3) and picture.dtype == np.uint8
    row, column = infos["agent_0"]["goal_row"], infos["agent_0"]["goal_column"]
    cell = picture[24 * row + 1 : 24 * row + 24, 24 * column + 1 : 24 * column + 24]
    assert (cell == (70, 170, 90)).all(), "nobody starts on the goal"
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 6, "ground, lines, goal, three agents"
    assert Beacon().render() is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"agents": 1}, "agents = 1 must be a whole number, 2 or more"),
        ({"size": 2.0}, "size = 2.0"),
        ({"max_steps": 0}, "max_steps = 0"),
        ({"nuisance": -1}, "nuisance = -1"),
        ({"goal_every": True}, "goal_every = True"),
        ({"render_mode": "human"}, "render_mode = 'human' must be one of None, 'rgb_array'"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(BadEnv, match=named):
        Beacon(**arguments)  # type: ignore[arg-type]


def test_actions_are_refused_by_name() -> None:
    env, core = Beacon(), BeaconCore(2)
    with pytest.raises(BadEnv, match="before reset"):
        core.step(np.zeros((2, 3), int))
    env.reset(seed=0)
    core.reset(seed=0)
    with pytest.raises(BadEnv, match="agent_2 is 5; it must be in Discrete"):
        env.step({"agent_0": 0, "agent_1": 0, "agent_2": 5})
    with pytest.raises(BadEnv, match=r"\['agent_1', 'agent_2'\] none was given"):
        env.step({"agent_0": 0})
    with pytest.raises(BadEnv, match=r"\['ghost'\] were given"):
        env.step({"agent_0": 0, "agent_1": 0, "agent_2": 0, "ghost": 0})
    with pytest.raises(BadEnv, match="agent_1 in copy 1 is -1; it must be from 0 to 4"):
        core.step(np.array([[0, 0, 0], [0, -1, 0]]))
    with pytest.raises(BadEnv, match="of shape"):
        core.step(np.zeros((3, 2), int))


def test_speed() -> None:
    """64 copies well under a millisecond of processor time (about 0.15 ms on a quiet core)."""
    core, draw = BeaconCore(64), np.random.default_rng(0)
    core.reset(seed=0)
    actions = draw.integers(5, size=(200, 64, 3))
    times = []
    for of_round in np.split(actions, 4):
        begun = time.process_time()
        for actions_BA in of_round:
            core.step(actions_BA)
        times.append((time.process_time() - begun) / 50)
    assert min(times) < 1e-3
