"""Predator-Prey does what its page says: a literal transcription, scripted hunts, draws, 10^5 steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from grid_rules import check_face, random_walk

from envs.checks import check_parallel
from envs.errors import BadEnv
from envs.grid import IC3PredatorPrey, PredatorPrey, PredatorPreyCore, predator_prey
from envs.grid.predator_prey import MA_GYM

DOWN, LEFT, UP, RIGHT, STAY = range(5)
MOVED = {DOWN: (1, 0), LEFT: (0, -1), UP: (-1, 0), RIGHT: (0, 1), STAY: (0, 0)}
Cell = tuple[int, int]


class Recorded(PredatorPreyCore):
    """Keeps the moves that the prey thought of."""

    def _prey_draws(self) -> np.ndarray:
        self.draws_BPD = super()._prey_draws()
        return self.draws_BPD


def beside(cell: Cell) -> list[Cell]:
    return [(cell[0] + MOVED[move][0], cell[1] + MOVED[move][1]) for move in (DOWN, LEFT, UP, RIGHT)]


def cells(core: PredatorPreyCore, flat: np.ndarray) -> list[Cell]:
    return list(zip(*(axis.tolist() for axis in core._places(flat)), strict=True))


class Literal:
    """One copy, animal by animal, as the page words it."""

    def __init__(self, core: PredatorPreyCore, copy: int) -> None:
        self.rules, self.time = core, int(core.time_B[copy])
        self.predators = cells(core, core.predators_BA[copy])
        alive = core.alive_BP[copy].tolist()
        self.prey = [
            cell if lives else None
            for cell, lives in zip(cells(core, core.prey_BP[copy]), alive, strict=True)
        ]

    def free(self, cell: Cell) -> bool:
        inside = all(0 <= axis < self.rules.size for axis in cell)
        return inside and cell not in self.predators and cell not in self.prey

    def goes(self, cell: Cell, move: int) -> Cell:
        there = (cell[0] + MOVED[move][0], cell[1] + MOVED[move][1])
        return there if self.free(there) else cell

    def hunters(self, cell: Cell) -> int:
        return sum(neighbour in self.predators for neighbour in beside(cell))

    def is_captured(self, cell: Cell) -> bool:
        if self.rules.capture != "surrounded":
            return self.hunters(cell) >= self.rules.capture
        walls = sum(not all(0 <= axis < self.rules.size for axis in place) for place in beside(cell))
        return self.hunters(cell) + (walls if self.rules.walls_block else 0) == 4

    def step(self, actions: list[int], draws: list[list[int]]) -> tuple[float, bool, bool]:
        reward = self.rules.step_cost
        for agent, action in enumerate(actions):
            self.predators[agent] = self.goes(self.predators[agent], action)
        for index, cell in enumerate(self.prey):
            if cell is None:
                continue
            if self.is_captured(cell):
                reward += self.rules.capture_reward
                self.prey[index] = None
                continue
            hunters = self.hunters(cell)
            if hunters == 1 or (hunters > 1 and self.rules.penalty_when == "any_uncaptured"):
                reward += self.rules.penalty
            chosen = STAY
            for move in draws[index]:
                if self.hunters((cell[0] + MOVED[move][0], cell[1] + MOVED[move][1])) == 0:
                    chosen = move
                    break
            self.prey[index] = self.goes(cell, chosen)
        self.time += 1
        over = all(cell is None for cell in self.prey)
        return reward, over, not over and self.time >= self.rules.max_steps

    def seen(self, agent: int) -> list[float]:
        row, column = self.predators[agent]
        half, span = self.rules.view // 2, self.rules.size - 1
        window = [
            float((row + down, column + across) in self.prey)
            for down in range(-half, half + 1)
            for across in range(-half, half + 1)
        ]
        return [row / span, column / span, *window, self.time / self.rules.max_steps]


def chase(world: Literal, draw: np.random.Generator) -> list[int]:
    """Half at random, half towards the nearest prey, so that the hunt succeeds at times."""
    actions = draw.integers(5, size=len(world.predators)).tolist()
    prey = [cell for cell in world.prey if cell is not None]
    for agent, (row, column) in enumerate(world.predators):
        if draw.random() < 0.5:
            to = min(prey, key=lambda cell: abs(cell[0] - row) + abs(cell[1] - column))
            across = abs(to[1] - column) > abs(to[0] - row)
            actions[agent] = (RIGHT if to[1] > column else LEFT) if across else (DOWN if to[0] > row else UP)
    return actions


SETTINGS: list[tuple[dict[str, Any], bool]] = [  # and whether some episode is won
    ({"max_steps": 60}, False),
    ({"size": 4, "predators": 4, "prey": 2, "max_steps": 100}, True),
    ({"size": 3, "predators": 2, "prey": 1, "penalty_when": "any_uncaptured"}, True),
    ({"size": 5, "predators": 6, "walls_block": False, "penalty_when": "any_uncaptured", "view": 1}, False),
    ({**MA_GYM, "size": 6, "predators": 3, "prey": 4}, True),
    ({"capture": 1, "penalty": -2.0, "step_cost": 0.0, "view": 7, "size": 9, "prey": 6}, True),
]


@pytest.mark.parametrize(("settings", "won"), SETTINGS)
def test_rules_are_those_of_the_page(settings: dict[str, Any], won: bool) -> None:
    core, draw = Recorded(6, **settings), np.random.default_rng(2)
    core.reset(seed=2)
    agents, wins, caught = len(core.possible_agents), 0, 0
    for _ in range(300):
        worlds = [Literal(core, copy) for copy in range(6)]
        actions_BA = np.array([chase(world, draw) for world in worlds])
        step = core.step(actions_BA)
        for copy, world in enumerate(worlds):
            left = sum(cell is not None for cell in world.prey)
            reward, terminated, truncated = world.step(
                actions_BA[copy].tolist(), core.draws_BPD[copy].tolist()
            )
            assert step.rewards_BA[copy] == pytest.approx([reward] * agents, abs=1e-5)
            assert step.terminated_BA[copy].tolist() == [terminated] * agents
            assert step.truncated_BA[copy].tolist() == [truncated] * agents
            moment = step.last if terminated or truncated else step.now
            assert moment is not None
            seen = np.array([world.seen(agent) for agent in range(agents)], np.float32)
            assert np.array_equal(moment.observations_BAO[copy], seen)
            if terminated or truncated:
                captured = sum(cell is None for cell in world.prey)
                assert step.measures["captured"][copy] == captured
                assert step.measures["success"][copy] == terminated == (captured == core.num_prey)
            wins += terminated
            caught += left - sum(cell is not None for cell in world.prey)
    assert caught > 0 and (wins > 0 or not won)


def lay(core: PredatorPreyCore, predators: list[Cell], prey: list[Cell]) -> None:
    """Every copy of the core with everybody on these cells."""
    core.reset(seed=0)
    width = core.size + 4
    core.predators_BA[:] = [(row + 2) * width + column + 2 for row, column in predators]
    core.prey_BP[:] = [(row + 2) * width + column + 2 for row, column in prey]
    core._board_BF[:] = core._empty_F
    core._board_BF[:, core.predators_BA[0]] = 1
    core._board_BF[:, core.prey_BP[0]] = 2


AWAY = [(6, 6), (6, 5), (6, 4), (6, 3)]


@pytest.mark.parametrize(
    ("prey", "hunters", "walls_block", "reward"),
    [
        ((0, 0), [(0, 1), (1, 0)], True, 10.0),
        ((0, 0), [(0, 1), (1, 0)], False, 0.0),
        ((0, 0), [(0, 1)], True, -0.5),
        ((0, 3), [(0, 2), (0, 4), (1, 3)], True, 10.0),
        ((0, 3), [(0, 2), (0, 4), (1, 3)], False, 0.0),
        ((0, 3), [(0, 2), (0, 4)], True, 0.0),
        ((3, 3), [(2, 3), (4, 3), (3, 2), (3, 4)], True, 10.0),
        ((3, 3), [(2, 3), (4, 3), (3, 2), (3, 4)], False, 10.0),
        ((3, 3), [(2, 3), (4, 3), (3, 2)], True, 0.0),
        ((3, 3), [(2, 3)], True, -0.5),
        ((3, 3), [(2, 2), (4, 4)], True, 0.0),  # corners of the window are not beside it
    ],
)
@pytest.mark.parametrize("penalty_when", ["one", "any_uncaptured"])
def test_who_is_captured(
    prey: Cell, hunters: list[Cell], walls_block: bool, reward: float, penalty_when: str
) -> None:
    core = PredatorPreyCore(3, prey=1, walls_block=walls_block, penalty_when=penalty_when, step_cost=0.0)
    lay(core, [*hunters, *AWAY][:4], [prey])
    step = core.step(np.full((3, 4), STAY))
    if penalty_when == "any_uncaptured" and reward == 0.0 and (2, 2) not in hunters:
        reward = -0.5
    assert (step.rewards_BA == reward).all()
    assert step.done_B.tolist() == [reward == 10.0] * 3


def test_predators_move_in_order() -> None:
    core = PredatorPreyCore(1)
    lay(core, [(0, 0), (0, 1), (0, 2), (3, 3)], [(6, 0), (6, 6)])
    core.step(np.array([[RIGHT, RIGHT, DOWN, UP]]))  # 0 and 1 are in each other's way, 2 makes room too late
    assert cells(core, core.predators_BA[0]) == [(0, 0), (0, 1), (1, 2), (2, 3)]
    lay(core, [(0, 2), (0, 1), (0, 0), (3, 3)], [(3, 4), (6, 6)])
    core.step(
        np.array([[RIGHT, RIGHT, RIGHT, RIGHT]])
    )  # the first makes room for the next; a prey is in the way
    assert cells(core, core.predators_BA[0]) == [(0, 3), (0, 2), (0, 1), (3, 3)]
    core.step(np.array([[UP, UP, UP, STAY]]))
    assert cells(core, core.predators_BA[0])[:3] == [(0, 3), (0, 2), (0, 1)]


def test_a_captured_prey_is_out_of_the_way() -> None:
    core = PredatorPreyCore(400, size=3, predators=2, prey=2)
    lay(core, [(0, 1), (1, 0)], [(0, 0), (2, 2)])
    first = core.step(np.full((400, 2), STAY))
    assert first.rewards_BA == pytest.approx(10.0 - 0.01)
    core.step(np.tile([LEFT, STAY], (400, 1)))
    assert cells(core, core.predators_BA[0])[0] == (0, 0), "its cell is free"


def test_how_prey_move() -> None:
    core = PredatorPreyCore(20_000, prey=1, predators=1, size=9)
    lay(core, [(0, 0)], [(4, 4)])
    core.step(np.full((20_000, 1), STAY))
    went = np.bincount(np.array(cells(core, core.prey_BP[:, 0])) @ [9, 1] - 40 + 9, minlength=19) / 20_000
    assert went[[18, 8, 0, 10, 9]] == pytest.approx([0.175, 0.175, 0.175, 0.175, 0.3], abs=0.012)
    lay(
        core, [(4, 5)], [(4, 4)]
    )  # staying is refused, and so is the occupied cell if it had a predator beside it
    core.step(np.full((20_000, 1), STAY))
    # Of one draw: stay is refused (a predator beside); right leads onto the predator, which has none beside it, and
    # the occupied cell lets nobody in; the other three lead away.
    at = np.array(cells(core, core.prey_BP[:, 0]))
    stays = (at == (4, 4)).all(1).mean()
    assert stays == pytest.approx(0.175 / 0.7 * (1 - 0.3**5) + 0.3**5, abs=0.012)


def test_draws_of_an_episode() -> None:
    core = PredatorPreyCore(20_000, predators=2, prey=1, size=4)
    core.reset(seed=0)
    for who in (*core.predators_BA.T, core.prey_BP[:, 0]):
        assert len(set(cells(core, who))) == 16, "the last row and column too"
    for who in core.predators_BA.T:
        row, column = core._places(who)
        assert np.bincount(4 * row + column) / 20_000 == pytest.approx(1 / 16, abs=0.008)
    distance = [
        abs(np.subtract(core._places(p), core._places(core.prey_BP[:, 0]))).sum(0)
        for p in core.predators_BA.T
    ]
    assert (np.stack(distance) > 1).all() and (core.predators_BA[:, 0] != core.predators_BA[:, 1]).all()
    # Where predators stand in opposite corners, ten cells are away from both, all alike.
    row_BA, column_BA = core._places(core.predators_BA)
    chosen = ((row_BA == [0, 3]) & (column_BA == [0, 3])).all(1)
    row, column = core._places(core.prey_BP[chosen, 0])
    shares = np.bincount(4 * row + column, minlength=16) / chosen.sum()
    assert (shares > 0).sum() == 10 and shares.max() < 0.25


def test_crowds_are_laid_out_or_refused() -> None:
    core = PredatorPreyCore(200, predators=5, prey=2, size=3)
    with pytest.raises(BadEnv, match="5 predators and 2 prey were laid out 1000 times on 3 x 3 cells"):
        core.reset(seed=0)
    core = PredatorPreyCore(500, predators=4, prey=2, size=4)  # sometimes there is no room: laid out anew
    core.reset(seed=0)
    for predators, prey in zip(core.predators_BA, core.prey_BP, strict=True):
        everywhere = cells(core, predators) + cells(core, prey)
        assert len(set(everywhere)) == 6
        assert not any(cell in everywhere[:4] for one in everywhere[4:] for cell in beside(one))


def test_invariants_over_many_steps() -> None:
    core = PredatorPreyCore(100, max_steps=50, capture=2)
    spans = np.zeros(100, int)
    prey_before, alive_before = core.prey_BP.copy(), core.alive_BP.copy()
    for index, (_, _, step) in enumerate(random_walk(core, 1000)):
        spans += 1
        assert (step.done_B | (spans < 50)).all() and (spans <= 50).all()
        spans[step.done_B] = 0
        board = core._board_BF
        assert ((board == 1).sum(1) == 4).all() and np.array_equal((board == 2).sum(1), core.alive_BP.sum(1))
        copies = np.arange(100)[:, None]
        assert (board[copies, core.predators_BA] == 1).all()
        assert (board[copies, core.prey_BP][core.alive_BP] == 2).all()
        assert np.array_equal(board == 3, np.tile(core._empty_F == 3, (100, 1))), "walls stay"
        going = ~step.done_B
        if index:
            assert (alive_before[going] >= core.alive_BP[going]).all(), "nobody comes back to life"
            moved = going[:, None] & core.alive_BP & (core.prey_BP != prey_before)
            copy, prey = moved.nonzero()
            around = core.prey_BP[copy, prey][:, None] + core._move_N[:4]
            assert not (board[copy[:, None], around] == 1).any(), "no prey walks up to a predator"
        prey_before, alive_before = core.prey_BP.copy(), core.alive_BP.copy()
        assert (step.rewards_BA == step.rewards_BA[:, :1]).all()
        parts = np.round(np.unique(step.rewards_BA) + 0.01, 4)
        assert set(parts) <= {10.0 * k - 0.5 * m for k in range(3) for m in range(3 - k)}


@pytest.mark.parametrize("settings", [{}, {**MA_GYM}, {"size": 5, "predators": 2, "prey": 1, "capture": 2}])
def test_face(settings: dict[str, Any]) -> None:
    check_face(lambda: PredatorPrey(**settings))
    check_parallel(
        lambda: PredatorPrey(**settings, render_mode="rgb_array"),
        episodes=1,
        max_episode_steps=200,
        reward_range=(-1.02, 20.0),
    )


def test_variants() -> None:
    sizes = {
        name: predator_prey(name).observation_space("predator_0").shape
        for name in ("cacl", "ma-gym", "ic3net")
    }
    assert sizes == {"cacl": (12,), "ma-gym": (28,), "ic3net": (29,)}
    assert isinstance(predator_prey("ic3net", mode="cooperative"), IC3PredatorPrey)
    game = predator_prey("ma-gym", max_steps=7).batched(1)
    assert (game.capture, game.capture_reward, game.max_steps) == (2, 5.0, 7)
    with pytest.raises(BadEnv, match="variant = 'magym' must be one of 'cacl', 'ma-gym', 'ic3net'"):
        predator_prey("magym")


def test_facts_and_pictures() -> None:
    env = PredatorPrey(render_mode="rgb_array")
    _, infos = env.reset(seed=4)
    assert set(infos["predator_0"]) == {"active", "row", "column", "prey_left"}
    assert infos["predator_3"]["prey_left"] == 2
    picture = env.render()
    assert picture is not None and picture.shape == (168, 168, 3) and picture.dtype == np.uint8
    middle = (24 * infos["predator_1"]["row"] + 12, 24 * infos["predator_1"]["column"] + 12)
    assert tuple(picture[middle]) == (230, 159, 0)
    assert (picture == (70, 170, 90)).all(-1).sum() == 2 * 23 * 23, "two prey"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"view": 4}, "view = 4 must be odd"),
        ({"size": 1}, "size = 1 must be a whole number, 2 or more"),
        ({"predators": 0}, "predators = 0"),
        ({"prey": 1.5}, "prey = 1.5"),
        ({"capture": "around"}, "capture = 'around' must be a whole number, from 1 to 4"),
        ({"capture": 5}, "capture = 5"),
        ({"walls_block": 1}, "walls_block = 1 must be True or False"),
        ({"penalty_when": "two"}, "penalty_when = 'two' must be one of 'one', 'any_uncaptured'"),
        ({"penalty": float("nan")}, "penalty = nan"),
        ({"render_mode": "human"}, "render_mode = 'human'"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadEnv, match=named):
        PredatorPrey(**arguments)


def test_speed() -> None:
    """64 copies well under two milliseconds of processor time (about 0.4 ms on a quiet core)."""
    core, draw = PredatorPreyCore(64), np.random.default_rng(0)
    core.reset(seed=0)
    times = []
    for _ in range(4):
        actions = draw.integers(5, size=(50, 64, 4))
        begun = time.process_time()
        for actions_BA in actions:
            core.step(actions_BA)
        times.append((time.process_time() - begun) / 50)
    assert min(times) < 2e-3
