"""``check_parallel``: is this PettingZoo environment fit to train on? Stronger than PettingZoo's own test.

PettingZoo 1.27's ``parallel_api_test`` lets through observations of a wrong shape, dtype or value, rewards that are
NaN or text, and everything that goes wrong only later in an episode; training on such an environment fails far from
its cause, or not at all. This walks several episodes with random actions and with the first and last action of every
agent, and looks at

- every observation: in its space, by shape, dtype, bounds and finiteness; action masks that leave an action
- rewards: finite numbers, in the declared range, summing to 0 where the game is zero-sum
- endings: booleans; agents that leave only when they end, and never return; an end within ``max_episode_steps``
- infos: dictionaries that JSON can hold; spaces: the same object at each call
- what ``step`` gives when nobody is left: five empty dictionaries
- seeds: the same seed and actions give the same trajectory, from another instance, from the same one after other
  episodes, and while another one is stepped in between; different seeds give different trajectories
- pickling, ``render`` (uint8, H x W x 3, one size), ``close`` (may be called again)
- messages, where it is a `CommChannel`: zeros after reset, and from those who have left

BadEnv names environment, agent, step, seed, what was expected and what came.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from pettingzoo import AECEnv, ParallelEnv

from envs.contract import as_parallel
from envs.errors import BadEnv
from envs.walk import Trace, Walker, Wanted

PLANS = ("random", "first", "last")
CHEAP_STEPS, SEED_STEPS, OTHER_SEEDS = 50, 200, 5


def check_parallel(
    env_or_factory: Any,
    *,
    episodes: int = 3,
    steps: int = 1000,
    max_episode_steps: int | None = None,
    reward_range: tuple[float, float] = (-np.inf, np.inf),
    zero_sum: bool = False,
    joining: bool = False,
    seeded: bool = True,
    cheap: bool = False,
    seed: int = 0,
) -> int:
    """Walk through an environment, raise BadEnv at the first thing that is wrong, return how many steps were walked.

    env_or_factory      a PettingZoo environment (parallel, or AEC that is parallelizable), or what makes one at each
                        call. Of a single environment, the second instance is a pickled copy
    episodes, steps     for each of the three plans of actions: how many episodes, and how much of each at most
    max_episode_steps   an episode that is still on after so many is one that does not end; None asks nothing
    reward_range        (low, high), both allowed
    zero_sum            whether the rewards of each step must sum to 0
    joining             whether agents may come when an episode is under way
    seeded              whether different seeds must give different trajectories
    cheap               50 random steps and the seeds, without ``step({})``, pickles, pictures and closing: what a worker
                        can afford before it starts (milliseconds). A factory is called twice, its environments closed;
                        a single environment is left open and has no second instance
    seed                of the first episode; the seed of an episode is in each error
    """
    if episodes < 1 or steps < 1:
        raise BadEnv(f"episodes = {episodes} and steps = {steps} must be 1 or more.")
    wanted = Wanted(max_episode_steps, reward_range, zero_sum, joining, empty_step=not cheap)
    single = isinstance(env_or_factory, ParallelEnv | AECEnv)
    env = as_parallel(env_or_factory if single else env_or_factory())
    walker, walked = Walker(env, wanted), 0
    plans, episodes, steps = (PLANS[:1], 1, CHEAP_STEPS) if cheap else (PLANS, episodes, steps)
    for plan in plans:
        for episode in range(episodes):
            walked += len(list(walker.walk(seed + episode, steps, plan, episode))) - 1
    if not single:
        other = as_parallel(env_or_factory())
    else:
        other = None if cheap else _pickled(walker)
    _check_seeds(walker, other, seed, min(steps, SEED_STEPS), seeded)
    if not cheap:
        _pickled(walker)
        _check_render(walker, seed)
    if not (cheap and single):
        _check_close(walker, other)
    return walked


def _check_seeds(
    walker: Walker, other: ParallelEnv[str, Any, Any] | None, seed: int, steps: int, seeded: bool
) -> None:
    """The same seed gives the same; another instance neither differs nor disturbs; different seeds differ."""
    first = list(walker.walk(seed, steps))
    _compare(walker, first, list(walker.walk(seed, steps)), "as the same seed gave before")
    if other is not None:
        second = Walker(other, walker.wanted)
        _compare(
            walker, first, list(second.walk(seed, steps)), "as another instance with the same seed gives"
        )
        between, found = iter(second.walk(seed + 1, steps, actions_seed=1)), []
        for trace in walker.walk(seed, steps):
            found.append(trace)
            next(between, None)
        _compare(walker, first, found, "as without another instance that is stepped in between")
    if seeded and all(list(walker.walk(seed + 1 + i, steps)) == first for i in range(OTHER_SEEDS)):
        expected = "a trajectory that depends on the seed (seeded=False asks for none)"
        got = f"the same for seeds {seed} to {seed + OTHER_SEEDS}"
        raise walker.contract.wrong("everybody", "randomness", expected, got)


def _compare(walker: Walker, first: list[Trace], second: list[Trace], expected: str) -> None:
    for step, (one, two) in enumerate(zip(first, second, strict=False)):
        differ = sorted(agent for agent in one.keys() | two.keys() if one.get(agent) != two.get(agent))
        if differ:
            walker.contract.step = step
            raise walker.contract.wrong(
                differ[0], "trajectory", expected, "another observation, reward or ending"
            )
    if len(first) != len(second):
        got = f"an episode of {len(second) - 1} steps instead of {len(first) - 1}"
        raise walker.contract.wrong("everybody", "trajectory", expected, got)


def _pickled(walker: Walker) -> ParallelEnv[str, Any, Any]:
    try:
        copied = pickle.loads(pickle.dumps(walker.env))
    except Exception as error:  # pickling runs whatever the environment's parts define
        raise walker.contract.wrong(
            "everybody", "pickling", "a copy", f"{type(error).__name__}: {error}"
        ) from error
    return as_parallel(copied)


def _check_render(walker: Walker, seed: int) -> None:
    """Two pictures of one size, where the environment was made to give pictures."""
    if getattr(walker.env, "render_mode", None) != "rgb_array":
        return
    list(walker.walk(seed, 1))
    sizes = []
    for _ in range(2):
        picture = walker.env.render()
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape[2:] != (3,):
            got = (picture.dtype, picture.shape) if isinstance(picture, np.ndarray) else picture
            raise walker.contract.wrong("everybody", "render", "uint8 of shape (H, W, 3)", got)
        sizes.append(picture.shape)
    if sizes[0] != sizes[1]:
        raise walker.contract.wrong("everybody", "render", f"pictures of one size, {sizes[0]}", sizes[1])


def _check_close(walker: Walker, other: ParallelEnv[str, Any, Any] | None) -> None:
    for env in (walker.env, walker.env, other):
        try:
            if env is not None:
                env.close()
        except Exception as error:  # whatever a user's environment may raise
            got = f"{type(error).__name__}: {error}"
            raise walker.contract.wrong("everybody", "close", "that it may be called twice", got) from error
