"""Traffic-Junction does what its page says: a literal transcription with the same draws, scripted traffic, 10^5 steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from grid_rules import face_follows_core, random_walk, same_walks
from pettingzoo.test import parallel_api_test, parallel_seed_test

from envs.checks import check_parallel
from envs.errors import BadEnv
from envs.grid import TrafficJunction, TrafficJunctionCore

GAS, BRAKE = 0, 1


class Recorded(TrafficJunctionCore):
    """Keeps what was drawn for the entries."""

    def _entry_draws(self) -> Any:
        self.draws = super()._entry_draws()
        return self.draws


@dataclass
class Car:
    number: int  # of its route
    along: int = 0
    age: int = 0
    braked: bool = False


class Literal:
    """One copy, car by car, as the page words it."""

    def __init__(self, core: TrafficJunctionCore) -> None:
        self.rules, self.routes = core, core.roads.routes()
        self.places: list[Car | None] = [None] * len(core.possible_agents)
        self.braked_before = [False] * len(
            self.places
        )  # by whoever had the place: the original forgets to clear it
        self.time, self.collided, self.moved, self.driven = 0, False, 0, 0

    def cell(self, car: Car) -> tuple[int, int]:
        return self.routes[car.number][car.along]

    def step(self, actions: list[int], rate: float, draws: Any) -> tuple[list[float], list[bool], list[bool]]:
        left = [False] * len(self.places)
        acted = [car is not None for car in self.places]
        for place, car in enumerate(self.places):
            if car is None:
                continue
            car.age += 1
            self.driven += 1
            if actions[place] == BRAKE:
                car.braked = True
            else:
                self.moved += 1
                car.along += 1
                if car.along == len(self.routes[car.number]):
                    self.braked_before[place] = car.braked
                    self.places[place], left[place] = None, True
                else:
                    car.braked = False
        new = self.enter(rate, *draws)
        rewards = [0.0] * len(self.places)
        for place, car in enumerate(self.places):
            if car is None:
                continue
            others = [other for at, other in enumerate(self.places) if other is not None and at != place]
            hit = any(self.cell(other) == self.cell(car) for other in others)
            self.collided |= hit
            if acted[place] and not left[place]:
                rewards[place] = -0.01 * car.age - 10.0 * hit
        self.time += 1
        return rewards, left, new

    def enter(self, rate: float, uniform: Any, order: Any, chosen: Any) -> list[bool]:
        new = [False] * len(self.places)
        first = 0
        for entry, routes in enumerate(self.rules.roads.entries):
            empty = [place for place, car in enumerate(self.places) if car is None]
            if not empty:
                break
            if uniform[entry] < rate:
                place = max(empty, key=lambda at: order[entry, at])
                inherited = self.rules.legacy_obs and self.braked_before[place]
                self.places[place] = Car(first + int(chosen[entry]), braked=bool(inherited))
                new[place] = True
            first += len(routes)
        return new

    def seen(self, place: int) -> list[float]:
        car = self.places[place]
        if car is None:
            return [0.0] * self.rules.observation_sizes[0]
        return self.seen_legacy(car) if self.rules.legacy_obs else self.seen_clean(car)

    def window(self, car: Car) -> list[tuple[int, int]]:
        row, column = self.cell(car)
        steps = range(-self.rules.vision, self.rules.vision + 1)
        return [(row + down, column + across) for down in steps for across in steps]

    def seen_clean(self, car: Car) -> list[float]:
        row, column = self.cell(car)
        span, on_road = self.rules.roads.size - 1, {cell for route in self.routes for cell in route}
        numbers = [float(car.braked), *(float(car.number == i) for i in range(len(self.routes)))]
        numbers += [row / span, column / span]
        others = [self.cell(other) for other in self.places if other is not None and other is not car]
        for cell in self.window(car):
            numbers += [float(cell in on_road), float(others.count(cell))]
        return numbers

    def seen_legacy(self, car: Car) -> list[float]:
        size = self.rules.roads.size
        base = {"easy": 2, "medium": 4, "hard": 8}[self.rules.difficulty] * self.rules.dim
        named, count = {}, 0
        for band in self.rules.roads.bands:
            for row in band:
                for column in range(size):
                    named[row, column], count = count, count + 1
        for band in self.rules.roads.bands:
            for row in range(size):
                for column in band:
                    named[row, column], count = count, count + 1
        cars = [(0, 0) if other is None else self.cell(other) for other in self.places]
        numbers = [float(car.braked), car.number / (len(self.routes) - 1)]
        for cell in self.window(car):
            of_cell = [0.0] * (base + 3)
            of_cell[named.get(cell, base)] = 1.0
            of_cell[-1] = float(cars.count(cell))
            numbers += of_cell
        return numbers


SETTINGS: list[dict[str, Any]] = [
    {},
    {"vision": 0, "legacy_obs": True, "dim": 6, "max_cars": 3},
    {"vision": 2, "legacy_obs": True, "max_cars": 10, "max_steps": 35, "add_rate_max": 0.8},
    {"vision": 2, "max_cars": 1, "add_rate_max": 1.0},
    {"difficulty": "medium", "dim": 6, "vision": 0, "legacy_obs": True},
    {"difficulty": "medium", "add_rate_max": 0.6},
    {"difficulty": "hard", "dim": 9, "vision": 1, "legacy_obs": True, "max_cars": 6},
    {"difficulty": "hard", "dim": 9, "vision": 2, "add_rate_max": 0.3, "max_steps": 30},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_rules_are_those_of_the_page(settings: dict[str, Any]) -> None:
    core, draw = Recorded(3, **settings), np.random.default_rng(5)
    core.reset(seed=5)
    worlds, cars = [Literal(core) for _ in range(3)], len(core.possible_agents)
    hits = gone = 0
    for _ in range(120):
        actions_BA = (draw.random((3, cars)) < 0.25).astype(int)
        step = core.step(actions_BA)
        for copy, world in enumerate(worlds):
            rewards, left, new = world.step(
                actions_BA[copy].tolist(), core.rate_max, [of_B[copy] for of_B in core.draws]
            )
            assert step.rewards_BA[copy] == pytest.approx(rewards, abs=1e-5)
            assert step.terminated_BA[copy].tolist() == left
            done = world.time == core.max_steps
            assert step.done_B[copy] == done
            moment = step.last if done else step.now
            assert moment is not None
            seen = np.array([world.seen(place) for place in range(cars)], np.float32)
            assert np.array_equal(moment.observations_BAO[copy], seen)
            assert moment.active_BA[copy].tolist() == [car is not None for car in world.places]
            assert moment.first_BA[copy].tolist() == new
            hits, gone = hits + world.collided, gone + sum(left)
            if done:
                assert step.measures["success"][copy] == (not world.collided)
                assert step.measures["mean_speed"][copy] == pytest.approx(world.moved / world.driven)
                assert not step.now.active_BA[copy].any() and not step.now.observations_BAO[copy].any()
                worlds[copy] = Literal(core)
    assert gone > 0 and (hits > 0 or cars == 1)


def test_a_collision_at_the_crossing() -> None:
    core = TrafficJunctionCore(2, max_cars=2, add_rate_max=1.0, add_rate_min=1.0, max_steps=8)
    assert not core.reset(seed=0).active_BA.any()
    steps = []
    for time_ in range(8):
        actions_BA = np.full((2, 2), GAS)
        if time_ == 2:  # in the second copy the car from the left waits once
            actions_BA[1, core.route_BA[1].argmax()] = BRAKE
        steps.append(core.step(actions_BA))
        assert (np.sort(core.route_BA, axis=1) == [0, 1]).all() or time_ == 7
    hit, spared = (np.stack([step.rewards_BA[copy] for step in steps]) for copy in (0, 1))
    in_order = [0.0, -0.01, -0.02, -10.03, -0.04, -0.05, -0.06, 0.0]
    assert hit == pytest.approx(np.tile(in_order, (2, 1)).T)
    assert spared.min() == pytest.approx(-0.07) and steps[7].terminated_BA.sum(1).tolist() == [2, 1]
    assert steps[7].truncated_BA.sum(1).tolist() == [0, 1], "who did not leave was cut off"
    assert steps[7].measures["success"].tolist() == [0.0, 1.0]
    assert steps[7].measures["mean_speed"] == pytest.approx([1.0, 13 / 14])


def test_a_car_that_comes_in_onto_another() -> None:
    """The one that waited pays, the newcomer, which has not acted, does not; the episode is spoilt for both."""
    core = TrafficJunctionCore(1, max_cars=4, add_rate_max=1.0, max_steps=2)
    core.reset(seed=0)
    assert core.step(np.full((1, 4), BRAKE)).now.active_BA.sum() == 2
    waited_BA = core.inside_BA.copy()
    step = core.step(np.full((1, 4), BRAKE))
    assert (
        step.rewards_BA[waited_BA] == pytest.approx([-10.01] * 2) and (step.rewards_BA[~waited_BA] == 0).all()
    )
    assert step.last is not None and step.last.first_BA[0].tolist() == (~waited_BA)[0].tolist()
    assert step.measures["success"].tolist() == [0.0] and step.measures["mean_speed"].tolist() == [0.0]


def test_nobody_comes_in_at_rate_zero() -> None:
    core = TrafficJunctionCore(4, add_rate_max=0.0, max_steps=3)
    core.reset(seed=0)
    for _ in range(3):
        step = core.step(np.full((4, 5), 7))  # actions of empty places mean nothing
    assert step.done_B.all() and step.last is None and not step.truncated_BA.any()
    assert (step.measures["success"] == 1).all() and np.isnan(step.measures["mean_speed"]).all()


def test_draws_of_the_entries() -> None:
    core = TrafficJunctionCore(20_000, difficulty="medium", add_rate_max=0.2)
    core.reset(seed=1)
    core.step(np.zeros((20_000, 10), int))
    assert core.inside_BA.mean(0) == pytest.approx(4 * 0.2 / 10, abs=0.008), "every place alike"
    routes = np.bincount(core.route_BA[core.inside_BA], minlength=12) / 20_000
    assert routes == pytest.approx(0.2 / 3, abs=0.008)


@pytest.mark.parametrize(
    "settings", [{}, {"difficulty": "hard", "dim": 9, "max_cars": 8, "add_rate_max": 0.3}]
)
def test_invariants_over_many_steps(settings: dict[str, Any]) -> None:
    core = TrafficJunctionCore(100, **settings)
    cells_before, spoilt, spans = core.cells(), np.zeros(100, bool), 0
    road = core.roads.road().ravel()
    for before, actions_BA, step in random_walk(core, 1000 if not settings else 200):
        spans += 1
        assert (step.done_B == (spans == core.max_steps)).all()
        spoilt |= (step.rewards_BA < -9).any(1)
        assert (step.measures["success"][step.done_B] == ~spoilt[step.done_B]).all()
        if step.done_B.any():
            spans, spoilt = 0, np.zeros(100, bool)
            assert not step.now.active_BA.any()
        else:
            same_car = before.active_BA & ~step.terminated_BA
            assert (step.now.active_BA | ~same_car).all(), "nobody vanishes"
            entered = step.now.active_BA & ~same_car
            assert np.array_equal(step.now.first_BA, entered)
            assert (entered.sum(1) <= len(core.roads.entries)).all()
            rows, columns = np.divmod(np.stack([cells_before, core.cells()]), core.roads.size)
            jump = abs(np.diff(rows, axis=0))[0] + abs(np.diff(columns, axis=0))[0]
            assert np.array_equal(jump[same_car], (actions_BA == GAS)[same_car]), (
                "gas is one cell, brake none"
            )
        assert road[core.cells()[core.inside_BA]].all()
        cells_before = core.cells()


def original_rates(low: float, high: float, start: int, end: int, epochs: int) -> list[float]:
    """IC3Net's add rate after each epoch, one increment an epoch."""
    exact = rate = low
    rates = []
    for epoch in range(epochs):
        if epoch > 0 and start <= epoch < end:
            exact += (high - low) / (end - start)
            rate = 0.01 * (exact // 0.01)
        rates.append(rate)
    return rates


@pytest.mark.parametrize(("low", "high", "span"), [(0.1, 0.3, (250, 1250)), (0.05, 0.2, (0, 40))])
def test_curriculum(low: float, high: float, span: tuple[int, int]) -> None:
    core = TrafficJunctionCore(3, add_rate_min=low, add_rate_max=high, curriculum=span)
    rates = []
    for epoch in range(span[1] + 20):
        core.set_epoch(epoch)
        rates.append(core.add_rate())
    assert rates[span[0]] == low and rates[-1] == high == rates[span[1]]
    assert (np.diff(rates) >= 0).all() and np.allclose(np.array(rates) * 100 % 1 % (1 - 1e-9), 0, atol=1e-6)
    assert np.abs(np.subtract(rates, original_rates(low, high, *span, len(rates)))).max() <= 0.0101
    # An episode keeps the rate with which it began.
    core.set_epoch(0)
    core.reset(seed=0)
    core.set_epoch(span[1])
    for _ in range(20):
        assert (core.rate_B == low).all()
        step = core.step(np.zeros((3, 5), int))
    assert step.done_B.all() and (core.rate_B == high).all()


def test_face() -> None:
    for settings in (
        {},
        {"legacy_obs": True, "vision": 0},
        {"difficulty": "medium", "dim": 6, "max_steps": 25},
    ):
        env = TrafficJunction(**settings)
        parallel_api_test(env, 150)
        face_follows_core(env)
        make = partial(TrafficJunction, **settings, render_mode="rgb_array")
        check_parallel(make, max_episode_steps=25, reward_range=(-10.3, 0.0))
    parallel_seed_test(TrafficJunction, 100)
    core = TrafficJunction().batched
    assert same_walks(core(4), core(4), (5, 5)) and not same_walks(core(4), core(4), (5, 6))


def test_places_stay_until_the_episode_ends() -> None:
    env = TrafficJunction(curriculum=(0, 10), add_rate_max=0.9, add_rate_min=0.0)
    _, infos = env.reset(seed=0)
    assert infos["car_0"] == {"active": False, "route": -1, "along": -1, "collides": False, "entered": False}
    for epoch, entered in ((0, False), (10, True)):
        env.set_epoch(epoch)
        env.reset(seed=1)
        came = 0
        for step in range(20):
            assert len(env.agents) == 5
            _, _, terminated, truncated, infos = env.step(dict.fromkeys(env.agents, GAS))
            came += sum(info["entered"] for info in infos.values())
            assert not any(terminated.values()) and all(truncated.values()) == (step == 19)
        assert env.agents == [] and (came > 5) == entered
    assert {"success", "mean_speed"} <= set(infos["car_3"]) and infos["car_3"]["mean_speed"] == 1.0


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"dim": 6, "vision": 0, "legacy_obs": True}, 17),
        ({"dim": 6, "vision": 1, "legacy_obs": True}, 137),
        ({"difficulty": "medium", "dim": 6, "vision": 0, "legacy_obs": True}, 29),
        ({"difficulty": "hard", "dim": 9, "vision": 0, "legacy_obs": True}, 2 + 75),
        ({"vision": 1}, 23),
        ({"difficulty": "medium", "vision": 0}, 17),
        ({"difficulty": "hard", "vision": 1}, 77),
    ],
)
def test_sizes(settings: dict[str, Any], length: int) -> None:
    space = TrafficJunction(**settings).observation_space("car_0")
    assert space.shape == (length,) and space.low.min() == space.low.max() == 0


def test_pictures() -> None:
    env = TrafficJunction(render_mode="rgb_array", add_rate_max=1.0, max_cars=2)
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None and picture.shape == (168, 168, 3)
    assert (picture == (70, 70, 70)).all(-1).sum() == (49 - 13) * 23 * 23, "13 cells are road"
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 3, "roads are empty"
    env.step({"car_0": GAS, "car_1": GAS})
    picture = env.render()
    assert picture is not None and len(np.unique(picture.reshape(-1, 3), axis=0)) == 5, "two cars"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"difficulty": "harder"}, "difficulty = 'harder' must be one of 'easy', 'medium', 'hard'"),
        ({"dim": 7}, "dim = 7 must be a multiple of 2 at difficulty 'easy'"),
        ({"dim": 4, "vision": 1}, "dim = 4 must be a whole number, 5 or more"),
        ({"difficulty": "hard", "dim": 6}, "dim = 6 must be a whole number, 9 or more"),
        ({"difficulty": "hard", "dim": 10}, "dim = 10 must be a multiple of 3"),
        ({"max_cars": 0}, "max_cars = 0"),
        ({"add_rate_max": 1.5}, "add_rate_max = 1.5"),
        ({"add_rate_min": 0.4}, "add_rate_min = 0.4 must be a finite number from 0 to 0.3"),
        ({"curriculum": (5, 5)}, r"curriculum\[1\] = 5"),
        ({"curriculum": 5}, "curriculum = 5 must be None or"),
        ({"legacy_obs": "yes"}, "legacy_obs = 'yes'"),
        ({"vision": -1}, "vision = -1"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadEnv, match=named):
        TrafficJunction(**arguments)


def test_speed() -> None:
    """64 copies well under two milliseconds of processor time (about 0.5 ms on a quiet core)."""
    core, draw = TrafficJunctionCore(64), np.random.default_rng(0)
    core.reset(seed=0)
    times = []
    for _ in range(4):
        actions = draw.integers(2, size=(50, 64, 5))
        begun = time.process_time()
        for actions_BA in actions:
            core.step(actions_BA)
        times.append((time.process_time() - begun) / 50)
    assert min(times) < 2e-3
