"""What the tests of the grid environments share: random walks with invariants, PettingZoo's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from pettingzoo.test import parallel_api_test, parallel_seed_test

from envs.batched import BatchedEnv, Moment, Step
from envs.grid import GridEnv


def random_walk(core: BatchedEnv, steps: int, seed: int = 0) -> Iterator[tuple[Moment, np.ndarray, Step]]:
    """(moment before, actions, step) of a core under random actions, checked for what holds of every core."""
    draw, now = np.random.default_rng(seed), core.reset(seed)
    shape = (core.num_envs, len(core.possible_agents))
    assert (now.first_BA == now.active_BA).all()
    for _ in range(steps):
        actions_BA = draw.integers(core.action_counts[0], size=shape)
        step = core.step(actions_BA)
        check_step(now, step)
        yield now, actions_BA, step
        now = step.now


def check_step(before: Moment, step: Step) -> None:
    """The contract of `envs.batched` that needs no knowledge of the rules."""
    ended_BA = step.terminated_BA | step.truncated_BA
    assert not (step.terminated_BA & step.truncated_BA).any()
    assert not (ended_BA & ~before.active_BA).any()
    assert (step.rewards_BA[~before.active_BA] == 0).all()
    assert step.now.observations_BAO.dtype == np.float32
    assert (step.now.observations_BAO[~step.now.active_BA] == 0).all()
    assert (step.now.first_BA[step.done_B] == step.now.active_BA[step.done_B]).all()
    assert (step.last is not None) == bool(ended_BA.any())
    assert not np.shares_memory(before.observations_BAO, step.now.observations_BAO)
    for of_B in step.measures.values():
        assert (np.isnan(of_B) == ~step.done_B).all()


def same_walks(first: BatchedEnv, second: BatchedEnv, seeds: tuple[int, int], steps: int = 60) -> bool:
    """Whether two cores show the same arrays under the same actions."""
    draw = np.random.default_rng(9)
    moments = [first.reset(seeds[0]), second.reset(seeds[1])]
    same = np.array_equal(moments[0].observations_BAO, moments[1].observations_BAO)
    for _ in range(steps):
        actions_BA = draw.integers(first.action_counts[0], size=(first.num_envs, len(first.possible_agents)))
        one, other = first.step(actions_BA), second.step(actions_BA)
        same &= np.array_equal(one.now.observations_BAO, other.now.observations_BAO)
        same &= np.array_equal(one.rewards_BA, other.rewards_BA)
    return bool(same)


def check_face(make: Callable[[], GridEnv]) -> None:
    """PettingZoo's own tests, seeds, copies that differ, and the face against its core."""
    parallel_api_test(make(), 300)
    parallel_seed_test(make, 100)
    make_core = make().batched
    assert same_walks(make_core(4), make_core(4), (5, 5))
    assert not same_walks(make_core(4), make_core(4), (5, 6))
    first = make_core(8).reset(1).observations_BAO
    assert any(not np.array_equal(first[0], other) for other in first[1:])
    face_follows_core(make())


def face_follows_core(env: GridEnv, seed: int = 3) -> None:
    """An episode of the face shows what a core of one copy shows."""
    core, draw = env.batched(1), np.random.default_rng(seed)
    core.continues = False
    moment, (seen, infos) = core.reset(seed), env.reset(seed=seed)
    done = False
    while not done:
        assert env.agents == env.possible_agents
        for place, agent in enumerate(env.agents):
            assert env.observation_space(agent).contains(seen[agent])
            assert np.array_equal(seen[agent], moment.observations_BAO[0, place])
            assert infos[agent]["active"] == moment.active_BA[0, place]
        actions = {agent: int(draw.integers(env.action_space(agent).n)) for agent in env.agents}
        step = core.step(np.array([list(actions.values())]))
        seen, rewards, terminated, truncated, infos = env.step(actions)
        assert list(rewards.values()) == step.rewards_BA[0].tolist()
        moment, done = step.now, bool(step.done_B[0])
        assert all(terminated[agent] or truncated[agent] for agent in seen) == done
    assert env.agents == []
    assert all(info[name] == of_B[0] for info in infos.values() for name, of_B in step.measures.items())
    assert env.step({}) == ({}, {}, {}, {}, {})
