"""IC3Net's Predator-Prey does what its page says: a literal transcription, the published sizes, 10^5 steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from grid_rules import check_face, random_walk

from envs.checks import check_parallel
from envs.errors import BadEnv
from envs.grid import IC3PredatorPrey, IC3PredatorPreyCore

MOVED = {0: (-1, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1), 4: (0, 0)}  # up, right, down, left, stay


class Literal:
    """One copy, predator by predator, as the page words it."""

    def __init__(self, core: IC3PredatorPreyCore, copy: int) -> None:
        self.rules, self.time = core, int(core.time_B[copy])
        self.predators = [tuple(map(int, cell)) for cell in core.cells_BA2[copy]]
        self.prey = tuple(map(int, core.prey_B2[copy]))

    def step(self, actions: list[int]) -> tuple[list[float], bool, bool]:
        for agent, action in enumerate(actions):
            row, column = self.predators[agent]
            there = (row + MOVED[action][0], column + MOVED[action][1])
            if (row, column) != self.prey and all(0 <= axis < self.rules.size for axis in there):
                self.predators[agent] = there
        arrived = [cell == self.prey for cell in self.predators]
        number = sum(arrived)
        prize = {"mixed": 0.0, "cooperative": 0.05 * number, "competitive": 0.05 / max(number, 1)}
        rewards = [prize[self.rules.mode] if there else -0.05 for there in arrived]
        self.time += 1
        over = all(arrived) and self.rules.mode == "mixed"
        return rewards, over, not over and self.time >= self.rules.max_steps

    def seen(self, agent: int) -> list[float]:
        size, vision = self.rules.size, self.rules.vision
        numbers: list[float] = []
        for down in range(-vision, vision + 1):
            for across in range(-vision, vision + 1):
                cell = (self.predators[agent][0] + down, self.predators[agent][1] + across)
                of_cell = [0.0] * (size * size + 4)
                if all(0 <= axis < size for axis in cell):
                    of_cell[cell[0] * size + cell[1]] = 1.0
                else:
                    of_cell[size * size + 1] = 1.0
                of_cell[size * size + 2] = float(cell == self.prey)
                of_cell[size * size + 3] = float(self.predators.count(cell))
                numbers += of_cell
        return numbers


@pytest.mark.parametrize("mode", ["mixed", "cooperative", "competitive"])
@pytest.mark.parametrize(("size", "vision", "predators"), [(3, 0, 3), (4, 1, 2), (5, 2, 4), (2, 1, 1)])
def test_rules_are_those_of_the_page(mode: str, size: int, vision: int, predators: int) -> None:
    core = IC3PredatorPreyCore(4, predators=predators, size=size, vision=vision, mode=mode, max_steps=40)
    draw, shared = np.random.default_rng(3), 0
    core.reset(seed=3)
    for _ in range(150):
        worlds = [Literal(core, copy) for copy in range(4)]
        actions_BA = draw.integers(5, size=(4, predators))
        step = core.step(actions_BA)
        for copy, world in enumerate(worlds):
            rewards, terminated, truncated = world.step(actions_BA[copy].tolist())
            assert step.rewards_BA[copy] == pytest.approx(rewards)
            assert step.terminated_BA[copy].tolist() == [terminated] * predators
            assert step.truncated_BA[copy].tolist() == [truncated] * predators
            moment = step.last if terminated or truncated else step.now
            assert moment is not None
            assert moment.observations_BAO[copy].tolist() == [world.seen(agent) for agent in range(predators)]
            number = world.predators.count(world.prey)
            if terminated or truncated:
                assert step.measures["arrived"][copy] == number
                assert step.measures["success"][copy] == (number == predators)
            shared = max(shared, number)
    assert shared == predators, "all were on the prey together at some time"


@pytest.mark.parametrize(
    ("size", "vision", "length"), [(5, 0, 29), (10, 1, 9 * 104), (20, 1, 9 * 404), (5, 2, 25 * 29)]
)
def test_sizes_are_the_published_ones(size: int, vision: int, length: int) -> None:
    env = IC3PredatorPrey(size=size, vision=vision)
    assert env.observation_space("predator_0").shape == (length,)
    highest = env.observation_space("predator_0").high.reshape(-1, size**2 + 4)
    assert (highest[:, -1] == 3).all() and (highest[:, :-1] == 1).all()


def test_invariants_over_many_steps() -> None:
    core = IC3PredatorPreyCore(100, vision=1)
    spans = np.zeros(100, int)
    for before, _, step in random_walk(core, 1000):
        spans += 1
        assert (step.done_B | (spans < 20)).all() and (spans <= 20).all()
        spans[step.done_B] = 0
        seen = step.now.observations_BAO.reshape(100, 3, 9, 29)
        assert (seen[..., :27].sum(-1) == 1).all(), "each place is one cell or outside"
        assert (seen[:, :, 4, 28] >= 1).all(), "a predator counts itself"
        on_prey = seen[:, :, 4, 27] == 1
        assert np.array_equal(on_prey, core.arrived_BA)
        was = before.observations_BAO.reshape(100, 3, 9, 29)[:, :, 4, 27] == 1
        assert (on_prey | ~was)[~step.done_B].all(), "who is on the prey stays"
        assert set(np.unique(step.rewards_BA)) <= {np.float32(-0.05), np.float32(0.0)}


def test_draws_of_an_episode() -> None:
    core = IC3PredatorPreyCore(20_000, predators=2, size=3)
    core.reset(seed=0)
    everywhere = np.concatenate([core.cells_BA2, core.prey_B2[:, None]], axis=1) @ [3, 1]
    assert (np.sort(everywhere, axis=1)[:, 1:] > np.sort(everywhere, axis=1)[:, :-1]).all()
    for place in everywhere.T:
        assert np.bincount(place, minlength=9) / 20_000 == pytest.approx(1 / 9, abs=0.01)


@pytest.mark.parametrize("settings", [{}, {"vision": 1, "mode": "cooperative", "predators": 5, "size": 6}])
def test_face(settings: dict[str, Any]) -> None:
    check_face(lambda: IC3PredatorPrey(**settings))
    check_parallel(
        lambda: IC3PredatorPrey(**settings, render_mode="rgb_array"),
        max_episode_steps=20,
        reward_range=(-0.051, 0.251),
    )


def test_facts_and_pictures() -> None:
    env = IC3PredatorPrey(render_mode="rgb_array")
    _, infos = env.reset(seed=1)
    assert set(infos["predator_0"]) == {"active", "arrived", "prey_row", "prey_column"}
    picture = env.render()
    assert picture is not None and picture.shape == (120, 120, 3)
    row, column = infos["predator_0"]["prey_row"], infos["predator_0"]["prey_column"]
    assert tuple(picture[24 * row + 12, 24 * column + 12]) == (70, 170, 90)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 6, "ground, lines, prey, three predators"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"predators": 25}, "predators = 25 must be at most 24"),
        ({"mode": "mix"}, "mode = 'mix' must be one of 'mixed', 'cooperative', 'competitive'"),
        ({"vision": -1}, "vision = -1"),
        ({"size": 1}, "size = 1"),
        ({"max_steps": 0}, "max_steps = 0"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadEnv, match=named):
        IC3PredatorPrey(**arguments)


def test_speed() -> None:
    """64 copies well under two milliseconds of processor time (about 0.4 ms on a quiet core)."""
    core, draw = IC3PredatorPreyCore(64, predators=5, size=10, vision=1), np.random.default_rng(0)
    core.reset(seed=0)
    times = []
    for _ in range(4):
        actions = draw.integers(5, size=(50, 64, 5))
        begun = time.process_time()
        for actions_BA in actions:
            core.step(actions_BA)
        times.append((time.process_time() - begun) / 50)
    assert min(times) < 2e-3
