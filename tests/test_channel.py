"""The message channel: who hears what and when, what is lost on the way, and what is no message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chaos.inject import tries
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st
from mpe2 import simple_reference_v3
from parallel_fixture import Scripted
from pettingzoo.test import parallel_api_test, parallel_seed_test

from envs.channel import CommChannel
from envs.errors import BadEnv
from envs.grid import Beacon

STAY = 4


def said(value: float, width: int = 2, **others: float) -> dict[str, Any]:
    """Everybody in the scripted environment says this number, but for the others."""
    return {
        agent: {"act": 0, "msg": np.full(width, others.get(agent, value), np.float32)}
        for agent in ("a", "b", "c")
    }


def talk(channel: CommChannel, steps: int) -> list[dict[str, np.ndarray]]:
    """Inboxes of a at reset and after each step, where a, b, c say t/100, t/10 and 1 in step t."""
    observations, _ = channel.reset(seed=0)
    heard = [channel.heard("a", observations["a"])]
    for time in range(1, steps + 1):
        actions = said(1.0, a=time / 100, b=time / 10)
        observations, *_ = channel.step({agent: actions[agent] for agent in channel.agents})
        heard.append(channel.heard("a", observations["a"]))
    return heard


def test_spaces() -> None:
    channel = CommChannel(Scripted(), 2)
    assert channel.observation_space("b") == Dict(
        {"obs": Box(0, 1, (3,), np.float32), "msgs": Box(0, 1, (4,), np.float32)}
    )
    assert channel.action_space("b") == Dict({"act": Discrete(3), "msg": Box(0, 1, (2,), np.float32)})
    bits = CommChannel(Scripted(), 2, discrete=True)
    assert bits.action_space("b")["msg"] == MultiDiscrete([2, 2])


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_messages_are_heard_delay_steps_later_in_the_order_of_agents(delay: int) -> None:
    heard = talk(CommChannel(Scripted(), 2, delay=delay), 5)
    for time, inbox in enumerate(heard):
        assert list(inbox) == ["b", "c"]
        spoken = time - delay + 1
        assert inbox["b"] == pytest.approx(max(0, spoken) / 10)
        assert inbox["c"] == pytest.approx(float(spoken > 0))


def test_those_who_left_are_heard_as_zeros_or_keep_their_last_word() -> None:
    """b leaves in step 6; in step 9 a is terminated and c cut off, so that what c said is heard and a's is not."""
    heard = talk(CommChannel(Scripted(), 2), 9)
    assert heard[5]["b"] == pytest.approx(0.5) and not any(inbox["b"].any() for inbox in heard[6:])
    assert heard[9]["c"].tolist() == [1, 1]
    kept = talk(CommChannel(Scripted(), 2, keep_last=True), 9)
    assert [inbox["b"][0] for inbox in kept[6:]] == pytest.approx([0.6] * 4)


def test_what_the_last_observations_hear() -> None:
    channel = CommChannel(Scripted(), 1)
    channel.reset(seed=0)
    for _ in range(9):
        observations, _, terminated, truncated, _ = channel.step({a: said(0.5, 1)[a] for a in channel.agents})
    assert terminated == {"a": True, "c": False} and truncated == {"a": False, "c": True}
    assert observations["a"]["msgs"].tolist() == [0, 0.5] and observations["c"]["msgs"].tolist() == [0, 0]


def test_no_message_reaches_the_next_episode() -> None:
    channel = CommChannel(Scripted(), 2, delay=3, keep_last=True)
    talk(channel, 5)
    observations, _ = channel.reset(seed=1)
    assert not any(seen["msgs"].any() for seen in observations.values())
    for _ in range(2):
        observations, *_ = channel.step(said(1.0))
        assert not any(seen["msgs"].any() for seen in observations.values())


def test_topologies() -> None:
    timetable = {agent: (0, 9, "truncated") for agent in "abcd"}
    ring = CommChannel(Scripted(timetable), 1, topology="ring")
    assert ring.hears_AA.astype(int).tolist() == [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    own = np.zeros((4, 4), bool)
    own[0, 3] = own[1, 1] = True
    channel = CommChannel(Scripted(timetable), 1, topology=own)
    channel.reset(seed=0)
    observations, *_ = channel.step({a: {"act": 0, "msg": np.ones(1, np.float32)} for a in "abcd"})
    inboxes = [observations[agent]["msgs"].tolist() for agent in "abcd"]
    assert inboxes == [[0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert CommChannel(Scripted({"a": (0, 3, ""), "b": (0, 3, "")}), 1, topology="ring").hears_AA.sum() == 2


def test_drops_and_noise() -> None:
    timetable = {agent: (0, 4000, "truncated") for agent in "abc"}

    def heard(**options: Any) -> np.ndarray:
        channel = CommChannel(Scripted(timetable), 2, **options)
        channel.reset(seed=0)
        return np.array([channel.step(said(0.5))[0]["a"]["msgs"] for _ in range(2000)])

    dropped = heard(drop_prob=0.3)
    assert set(np.unique(dropped)) == {0.0, 0.5}
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert (dropped[:, 0] == dropped[:, 1]).all(), "a message is lost as a whole"
    assert abs(np.corrcoef(dropped[:, 0], dropped[:, 2])[0, 1]) < 0.08, "each on its own way"
    noisy = heard(noise=0.1)
    assert noisy.mean() == pytest.approx(0.5, abs=0.01) and noisy.std() == pytest.approx(0.1, abs=0.01)
    wild = heard(noise=5.0)
    assert wild.min() == 0 and wild.max() == 1
    assert not np.array_equal(heard(noise=0.1), heard(noise=0.2)) and np.array_equal(noisy, heard(noise=0.1))
    assert heard(drop_prob=1.0).max() == 0


def test_the_world_below_is_the_same() -> None:
    """Drops and noise take nothing from the environment's randomness; without a width it is the environment itself."""
    env, plain = Beacon(nuisance=4), CommChannel(Beacon(nuisance=4), 0)
    channel = CommChannel(Beacon(nuisance=4), 3, drop_prob=0.5, noise=0.2)
    assert plain.observation_space("agent_0") == env.observation_space("agent_0")
    seen, under = env.reset(seed=5)[0], channel.reset(seed=5)[0]
    bare = plain.reset(seed=5)[0]
    message = np.full(3, 0.5, np.float32)
    while env.agents:
        for agent in env.agents:
            assert np.array_equal(seen[agent], under[agent]["obs"]) and np.array_equal(
                seen[agent], bare[agent]
            )
        seen, rewards, *_ = env.step(dict.fromkeys(env.agents, STAY))
        bare, same, *_ = plain.step(dict.fromkeys(plain.agents, STAY))
        under, also, *_ = channel.step({agent: {"act": STAY, "msg": message} for agent in channel.agents})
        assert rewards == same == also and env.agents == channel.agents == plain.agents


@pytest.mark.parametrize(
    "make",
    [
        lambda: CommChannel(Beacon(), 4),
        lambda: CommChannel(Beacon(), 0),
        lambda: CommChannel(Beacon(), 3, discrete=True, drop_prob=0.1),
        lambda: CommChannel(simple_reference_v3.env(), 2, noise=0.1),
    ],
)
def test_pettingzoo_finds_nothing(make: Any) -> None:
    parallel_api_test(make(), 100)
    parallel_seed_test(make, 50)


def test_places_that_are_empty_for_the_moment_are_silent() -> None:
    class Resting(Scripted):
        def step(self, actions: dict[str, int]) -> Any:
            returned = super().step(actions)
            returned[4]["b"] = {"active": self.time != 2}
            return returned

    heard = talk(CommChannel(Resting(), 2), 3)
    assert [float(inbox["b"][0]) for inbox in heard] == pytest.approx([0, 0.1, 0, 0.3])


WRONG = [
    np.zeros(3),
    np.zeros((1, 2)),
    np.array([0.5, np.nan]),
    np.array([0, np.inf]),
    np.array([-0.1, 0]),
    "ab",
    None,
]
WRONG += [np.array([0, 1.01]), 0.5, []]


@pytest.mark.fault("E7", tries=100)
@settings(max_examples=tries(100, 1000), deadline=None)
@given(
    message=st.sampled_from(WRONG),
    step=st.integers(1, 5),
    agent=st.sampled_from("abc"),
    seed=st.integers(0, 99),
)
def test_what_is_no_message(message: Any, step: int, agent: str, seed: int) -> None:
    channel = CommChannel(Scripted(), 2)
    channel.reset(seed=seed)
    for _ in range(step - 1):
        channel.step(said(0.5))
    actions = said(0.5)
    actions[agent]["msg"] = message
    with pytest.raises(
        BadEnv, match=rf"with a channel: message of {agent} at step {step} \(seed {seed}\): expected"
    ):
        channel.step(actions)


@pytest.mark.fault("E7", tries=5)
def test_messages_after_death_missing_or_of_another_form() -> None:
    channel = CommChannel(Scripted(), 2)
    channel.reset(seed=0)
    for _ in range(6):
        channel.step(said(0.5))
    with pytest.raises(BadEnv, match=r"message of b at step 7 .*got 'one, though it has left"):
        channel.step(said(0.5))
    channel.reset(seed=0)
    with pytest.raises(BadEnv, match=r"message of c at step 1 .*got 'none'"):
        channel.step({agent: said(0.5)[agent] for agent in "ab"})
    with pytest.raises(BadEnv, match=r"message of a .*expected an action"):
        channel.step({"a": 1, "b": 1, "c": 1})
    bits = CommChannel(Scripted(), 2, discrete=True)
    bits.reset(seed=0)
    with pytest.raises(BadEnv, match="expected bits of shape"):
        bits.step(said(0.5))
    with pytest.raises(BadEnv, match="expected numbers from 0 to 1"):
        bits.step({agent: {"act": 0, "msg": np.array([0, 2])} for agent in "abc"})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"width": -1}, "width = -1"),
        ({"delay": 0}, "delay = 0"),
        ({"drop_prob": 1.5}, "drop_prob = 1.5"),
        ({"noise": float("nan")}, "noise = nan"),
        ({"topology": "star"}, "topology = 'star' must be"),
        ({"topology": np.ones((2, 2), bool)}, r"must be .* a \(3, 3\) array of booleans"),
        ({"discrete": 1}, "discrete = 1"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadEnv, match=named):
        CommChannel(Scripted(), **({"width": 2} | arguments))
    with pytest.raises(BadEnv, match="takes two or more"):
        CommChannel(Scripted({"a": (0, 3, "truncated")}), 2)
