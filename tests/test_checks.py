"""check_parallel lets sound environments through and catches each defect by agent, step and seed, wherever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chaos.inject import tries
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st
from mpe2 import simple_crypto_v3, simple_reference_v3, simple_speaker_listener_v4
from parallel_fixture import Scripted
from pettingzoo.test import parallel_api_test

from envs.channel import CommChannel
from envs.checks import check_parallel
from envs.errors import BadEnv
from envs.grid import Beacon

Break = Callable[[Scripted, tuple[Any, ...]], tuple[Any, ...]]


def put(part: int, value: Any) -> Break:
    """Put something in the place of b's observation, reward, ending or info (parts of what step returns)."""

    def spoil(env: Scripted, returned: tuple[Any, ...]) -> tuple[Any, ...]:
        returned[part if len(returned) == 5 or part == 0 else 1]["b"] = value
        return returned

    return spoil


def drop(part: int) -> Break:
    def spoil(env: Scripted, returned: tuple[Any, ...]) -> tuple[Any, ...]:
        del returned[part]["b"]
        return returned

    return spoil


def agents(change: Callable[[list[str]], list[str]]) -> Break:
    def spoil(env: Scripted, returned: tuple[Any, ...]) -> tuple[Any, ...]:
        env.agents = change(env.agents)
        return returned

    return spoil


def stranger(env: Scripted, returned: tuple[Any, ...]) -> tuple[Any, ...]:
    returned[0]["ghost"] = returned[0]["a"]
    return returned


def raises(env: Scripted, returned: tuple[Any, ...]) -> tuple[Any, ...]:
    raise KeyError("lost")


def right(values: Any, dtype: Any = np.float32) -> np.ndarray:
    return np.array(values, dtype)


# What is wrong -> (how, agent that is named, what is said). At reset and at any step.
ANYTIME: dict[str, tuple[Break, str, str]] = {
    "shape": (put(0, right([0, 0])), "b", r"expected shape \(3,\), got shape \(2,\)"),
    "dtype": (put(0, right([0, 0, 0], np.float64)), "b", "dtype float32, got ndarray of dtype float64"),
    "list": (put(0, [0.0, 0.0, 0.0]), "b", "dtype float32, got list"),
    "text": (put(0, "zeros"), "b", "expected numbers of dtype float32"),
    "nan": (put(0, right([0, np.nan, 0])), "b", "expected finite numbers"),
    "inf": (put(0, right([0, np.inf, 0])), "b", "expected finite numbers"),
    "bounds": (put(0, right([0, 1.5, 0])), "b", "within the space's bounds"),
    "missing observation": (drop(0), "b", "expected one, got none"),
    "info that is no dictionary": (put(4, 3), "b", "expected a dictionary, got 3"),
    "info that JSON cannot hold": (put(4, {"x": np.zeros(2)}), "b", "what JSON can hold"),
    "unknown agent": (stranger, "'ghost'", "agents out of"),
    "unknown live agent": (agents(lambda live: [*live, "ghost"]), "'ghost'", "agents out of"),
    "agent twice": (agents(lambda live: [*live, "a"]), "everybody", "each agent once"),
    "raises": (raises, "everybody", "KeyError: 'lost'"),
    "no tuple": (lambda env, returned: returned[:-1], "everybody", "a tuple of dictionaries"),
}
# Only where a step brings them.
IN_STEPS: dict[str, tuple[Break, str, str]] = {
    "nan reward": (put(1, float("nan")), "b", "expected a finite number, got nan"),
    "inf reward": (put(1, float("inf")), "b", "expected a finite number, got inf"),
    "text reward": (put(1, "1.0"), "b", "expected a finite number, got '1.0'"),
    "no reward": (put(1, None), "b", "expected a finite number, got None"),
    "array reward": (put(1, np.zeros(2)), "b", "expected a finite number"),
    "missing reward": (drop(1), "b", "expected a finite number, got nothing at all"),
    "int ending": (put(2, 0), "b", "expected True or False, got 0"),
    "missing ending": (drop(3), "b", "expected True or False, got nothing at all"),
    "vanishes": (agents(lambda live: [agent for agent in live if agent != "b"]), "b", "it has not ended"),
    "stays after its end": (put(2, True), "b", "not in env.agents after its end"),
}


def long_life(broken: tuple[int, Break] | None = None) -> Scripted:
    timetable = {agent: (0, 500, "truncated") for agent in ("a", "b", "c")}
    return Scripted(timetable, broken=broken)


@pytest.mark.parametrize("cheap", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        Scripted,
        Beacon,
        simple_reference_v3.parallel_env,
        simple_reference_v3.env,
        simple_speaker_listener_v4.parallel_env,
        simple_crypto_v3.parallel_env,
        lambda: CommChannel(Beacon(), 4, drop_prob=0.2, noise=0.1, delay=2),
        lambda: CommChannel(Scripted(), 3, discrete=True),
        lambda: CommChannel(simple_reference_v3.parallel_env(), 3),
    ],
)
def test_sound_environments_pass(make: Callable[[], Any], cheap: bool) -> None:
    walked = check_parallel(make, max_episode_steps=30, steps=60, cheap=cheap)
    assert walked >= (9 if cheap else 30)


def test_a_single_environment_is_enough() -> None:
    env = Scripted()
    assert check_parallel(env, cheap=True) == 9 and env.closed == 0
    assert check_parallel(env, episodes=2, reward_range=(0, 2)) == 6 * 9 and env.closed == 2


@pytest.mark.fault("E5", tries=40)
@pytest.mark.parametrize(
    ("name", "step"), [(name, step) for name in ANYTIME for step in (0, 2)] + [(n, 2) for n in IN_STEPS]
)
def test_every_defect_is_named(name: str, step: int) -> None:
    spoil, agent, said = (ANYTIME | IN_STEPS)[name]
    broken_at = step
    step -= name == "raises" and step > 0  # it raised in the step after this one
    where = "reset" if step == 0 else f"step {step}"
    with pytest.raises(BadEnv, match=rf"^scripted_v0: .* of {agent} at {where} \(seed 7\): .*{said}"):
        check_parallel(lambda: Scripted(broken=(broken_at, spoil)), seed=7, cheap=True)


@pytest.mark.fault("E5", tries=60)
@settings(max_examples=tries(60, 1000), deadline=None)
@given(name=st.sampled_from(sorted(ANYTIME | IN_STEPS)), step=st.integers(1, 499), seed=st.integers(0, 10**6))
def test_a_defect_at_any_step(name: str, step: int, seed: int) -> None:
    spoil, agent, said = (ANYTIME | IN_STEPS)[name]
    seen_at = step - (name == "raises")  # it raised in the step after
    where = f"step {seen_at}" if seen_at else "reset"
    with pytest.raises(BadEnv, match=rf"of {agent} at {where} \(seed {seed}\): .*{said}"):
        check_parallel(lambda: long_life((step, spoil)), seed=seed, episodes=1)


def test_what_the_public_test_lets_through() -> None:
    """The table of PettingZoo's blind spots: each of these passes its parallel_api_test."""
    for name in ("shape", "nan", "bounds", "nan reward", "text reward"):
        spoil, _, said = (ANYTIME | IN_STEPS)[name]
        parallel_api_test(Scripted(broken=(3, spoil)), 50)
        with pytest.raises(BadEnv, match=said):
            check_parallel(lambda spoil=spoil: Scripted(broken=(3, spoil)))


class Revives(Scripted):
    def step(self, actions: dict[str, int]) -> Any:
        returned = super().step(actions)
        if self.time == 8:
            self.agents.append("b")
            returned[0]["b"] = self.look("b")
        return returned


class Grows(Scripted):
    def observation_space(self, agent: str) -> Any:
        return Box(0, 1, (3,), np.float32)


class Shared(Scripted):
    draws = np.random.default_rng(0)

    def look(self, agent: str) -> Any:
        return super().look(agent) * np.float32(self.draws.random())


class Global(Scripted):
    """Instances draw from one generator, which each reset seeds."""

    draws = [np.random.default_rng(0)]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.draws[0] = np.random.default_rng(seed)
        return super().reset(seed, options)

    def look(self, agent: str) -> Any:
        return self.draws[0].random(3, dtype=np.float32)


class Unseeded(Scripted):
    def look(self, agent: str) -> Any:
        return np.zeros(3, np.float32)


class Remembers(Scripted):
    """What the last episode left is still there in the next."""

    played = 0

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.played += 1
        return super().reset(seed, options)

    def look(self, agent: str) -> Any:
        return np.full(3, min(self.played, 99) / 100, np.float32)


class Unpicklable(Scripted):
    def __init__(self) -> None:
        super().__init__()
        self.hook = lambda: None


class BadPicture(Scripted):
    shapes = [(8, 8, 3), (8, 8, 3), (9, 8, 3)]

    def render(self) -> Any:
        self.shapes = self.shapes[1:]
        return np.zeros(self.shapes[0], np.uint8)


class FloatPicture(Scripted):
    def render(self) -> Any:
        return np.zeros((8, 8, 3))


class ClosesOnce(Scripted):
    def close(self) -> None:
        super().close()
        if self.closed > 1:
            raise RuntimeError("closed already")


class NobodyRaises(Scripted):
    steps_nobody = False


class Stepless(Scripted):
    def step(self, actions: dict[str, int]) -> Any:
        return ({}, {}, {}, {}, {"all": {}}) if not self.agents else super().step(actions)


class Crashes(Scripted):
    """The last action of c is not handled."""

    def step(self, actions: dict[str, int]) -> Any:
        if actions.get("c") == 2:
            raise IndexError("no such action")
        return super().step(actions)


@pytest.mark.fault("E5", tries=14)
@pytest.mark.parametrize(
    ("make", "asked", "said"),
    [
        (Revives, {"joining": True}, r"presence of b at step 8 .*no return"),
        (
            lambda: Scripted({"a": (0, 5, "truncated"), "b": (2, 5, "truncated")}),
            {},
            "presence of b at step 2.*only leave",
        ),
        (Grows, {}, "observation_space of a .*the same Space object"),
        (Shared, {}, r"trajectory of a at reset \(seed 3\)"),
        (Global, {}, r"trajectory of a at step \d \(seed 3\): expected as without another instance"),
        (Remembers, {}, "as the same seed gave before"),
        (Unseeded, {}, r"depends on the seed \(seeded=False"),
        (Unpicklable, {}, "pickling of everybody"),
        (BadPicture, {}, r"pictures of one size, \(8, 8, 3\), got \(9, 8, 3\)"),
        (FloatPicture, {}, r"render .*expected uint8 of shape \(H, W, 3\), got .*float64"),
        (ClosesOnce, {}, "close of everybody .*closed already"),
        (Stepless, {}, r"step\(\{\}\) after the end .*five empty dictionaries"),
        (NobodyRaises, {}, r"step .* at step 9 .*RuntimeError: nobody is left"),
        (Crashes, {"steps": 1}, r"step after this point of everybody at reset .*IndexError: no such action"),
        (Scripted, {"max_episode_steps": 8}, "episode of a at step 8 .*an end within 8 steps"),
        (
            Scripted,
            {"reward_range": (0, 1)},
            r"reward of \w at step \d \(seed \d\): expected from 0 to 1, got 2.0",
        ),
        (Scripted, {"zero_sum": True}, "the sum of rewards"),
        (lambda: 3, {}, "must be a PettingZoo"),
    ],
)
def test_defects_of_the_whole(make: Callable[[], Any], asked: dict[str, Any], said: str) -> None:
    with pytest.raises(BadEnv, match=said):
        check_parallel(make, seed=3, **asked)


class Leaky(CommChannel):
    """Messages outlive a reset, or their sender."""

    outlive = "reset"

    def _clear(self) -> None:
        if self.outlive != "reset" or not hasattr(self, "_said_AD"):
            super()._clear()

    def _with_inboxes(self, observations: Any, live_A: Any) -> Any:
        return super()._with_inboxes(observations, np.ones_like(live_A))


class LeakyDeath(Leaky):
    outlive = "death"


@pytest.mark.fault("E7", tries=2)
@pytest.mark.parametrize(
    ("channel", "said"),
    [
        (Leaky, r"inbox of a at reset \(seed 1\): expected zeros from b, after reset"),
        (LeakyDeath, r"inbox of a at step 6 \(seed 0\): expected zeros from b, who has left"),
    ],
)
def test_messages_that_outlive(channel: type[CommChannel], said: str) -> None:
    with pytest.raises(BadEnv, match=said):
        timetable = {"a": (0, 9, "truncated"), "b": (0, 6 if channel is LeakyDeath else 9, "truncated")}
        check_parallel(lambda: channel(Scripted(timetable), 2))
