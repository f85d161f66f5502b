"""Our RLlib face of PettingZoo environments against each case in which RLlib's own wrapper breaks; a run of PPO."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mpe2 import simple_crypto_v3, simple_reference_v3, simple_speaker_listener_v4, simple_spread_v3
from parallel_fixture import Scripted
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv, PettingZooEnv

from envs.errors import BadEnv
from envs.games import Negotiation
from envs.lewis import LewisDrift
from rllib_ext.multi_agent import PettingZooMultiAgentEnv

MPE = [simple_reference_v3, simple_speaker_listener_v4, simple_crypto_v3]
LATE = {"a": (0, 4, "terminated"), "late": (2, 5, "terminated")}


class Strict(Scripted):
    """Must not be stepped when nobody is left."""

    steps_nobody = False


def play(env: Any, steps: int = 100) -> list[tuple[Any, ...]]:
    """What each step of an episode returned; everybody who was shown something and has not ended acts 1."""
    observations, _ = env.reset(seed=0)
    there, steps_taken = set(observations), []
    for _ in range(steps):
        returned = env.step({agent: 1 for agent in there})
        seen, _, terminated, truncated, _ = returned
        steps_taken.append(returned)
        there = {agent for agent in seen if not (terminated.get(agent) or truncated.get(agent))}
        if terminated["__all__"] or truncated["__all__"]:
            return steps_taken
    raise AssertionError("the episode did not end")


def test_staggered_and_mixed_endings() -> None:
    steps = play(PettingZooMultiAgentEnv(Strict))
    assert len(steps) == 9
    _, rewards, terminated, truncated, _ = steps[-1]
    assert terminated == {"a": True, "c": False, "__all__": False}
    assert truncated == {"a": False, "c": True, "__all__": True}
    assert set(steps[5][0]) == {"a", "b", "c"} and steps[5][3]["b"] and set(steps[6][0]) == {"a", "c"}
    assert rewards == {"a": 1, "c": 1}
    with pytest.raises(RuntimeError, match="nobody is left"):  # RLlib's wrapper does not see the end
        play(ParallelPettingZooEnv(Strict()))


def test_the_end_is_a_termination_where_all_were_terminated() -> None:
    timetable = {"a": (0, 4, "terminated"), "b": (0, 2, "terminated")}
    assert play(PettingZooMultiAgentEnv(lambda: Strict(timetable)))[-1][2] == {"a": True, "__all__": True}
    early_cut = {"a": (0, 4, "terminated"), "b": (0, 2, "truncated")}
    last = play(PettingZooMultiAgentEnv(lambda: Strict(early_cut)))[-1]
    assert last[2] == {"a": True, "__all__": False} and last[3] == {"a": False, "__all__": True}


def test_step_without_agents_after_the_end() -> None:
    env = PettingZooMultiAgentEnv(Strict)
    play(env)
    assert env.step({}) == ({}, {}, {"__all__": False}, {"__all__": True}, {})
    with pytest.raises(RuntimeError, match="nobody is left"):
        theirs = ParallelPettingZooEnv(Strict({"a": (0, 2, "terminated")}))
        play(theirs)
        theirs.step({})


def test_agents_and_spaces() -> None:
    env = PettingZooMultiAgentEnv(lambda: Strict(LATE))
    assert env.possible_agents == ["a", "late"]
    assert set(env.observation_spaces) == set(env.action_spaces) == {"a", "late"}
    assert env.get_action_space("late") is env.action_spaces["late"]
    env.reset(seed=0)
    assert env.agents == ["a"]
    env.step({"a": 0})
    seen, rewards, *_ = env.step({"a": 0})
    assert env.agents == ["a", "late"] and set(seen) == {"a", "late"} and set(rewards) == {"a"}
    theirs = ParallelPettingZooEnv(Strict(LATE))
    assert theirs.possible_agents == ["a"], "who comes late is unknown to RLlib's wrapper"
    assert theirs.observation_spaces is None


def test_order_of_agents_is_the_environments_own() -> None:
    names = [f"agent_{i}" for i in range(9)]
    below = simple_spread_v3.parallel_env(N=9)
    assert PettingZooMultiAgentEnv(below).possible_agents == names
    assert ParallelPettingZooEnv(below).possible_agents != names, (
        "a set, in the order of this process's hashes"
    )


def test_render_and_close() -> None:
    below = Strict()
    env = PettingZooMultiAgentEnv(below)
    assert env.render_mode == "rgb_array" and env.render().shape == (8, 8, 3)
    env.close()
    assert below.closed == 1
    with pytest.raises((TypeError, AttributeError)):
        ParallelPettingZooEnv(Strict()).render()


def test_the_environments_own_dictionaries_stay_as_they_are() -> None:
    kept: list[Any] = []

    class Keeps(Strict):
        def step(self, actions: dict[str, int]) -> Any:
            kept.append(super().step(actions))
            return kept[-1]

    play(PettingZooMultiAgentEnv(Keeps()))
    assert not any("__all__" in part for returned in kept for part in returned)
    with pytest.raises(RuntimeError):
        play(ParallelPettingZooEnv(Keeps()))
    assert "__all__" in kept[-1][2]


@pytest.mark.parametrize("module", MPE)
@pytest.mark.parametrize("kind", ["parallel_env", "env"])
def test_mpe_episodes_are_25_steps_whichever_face(module: ModuleType, kind: str) -> None:
    env = PettingZooMultiAgentEnv(getattr(module, kind))
    steps = play(env)
    assert len(steps) == 25
    below = module.parallel_env()
    below.reset(seed=0)
    for seen, rewards, *_ in steps:
        expected, paid, *_ = below.step({agent: 1 for agent in below.agents})
        assert list(seen) == list(expected) and rewards == pytest.approx(paid)
        assert all(np.array_equal(seen[agent], expected[agent]) for agent in seen)
    theirs = PettingZooEnv(module.env())
    theirs.reset(seed=0)
    assert 25 * len(env.possible_agents) == count_turns(theirs), "RLlib's wrapper counts every agent's move"


def count_turns(env: Any) -> int:
    turns, done = 0, False
    while not done:
        *_, truncated, _ = env.step({env.env.agent_selection: 1})
        turns, done = turns + 1, truncated["__all__"]
    return turns


def test_seeds() -> None:
    def first_views(seed: int) -> list[Any]:
        env = PettingZooMultiAgentEnv(Strict)
        views = [env.reset(seed=seed)[0]["a"]] + [env.reset()[0]["a"] for _ in range(2)]
        return np.concatenate(views).tolist()

    assert first_views(1) == first_views(1) != first_views(2)
    assert len(set(first_views(1)[::3])) == 3, "episodes after the first differ from it"


def test_agents_that_take_turns() -> None:
    env = PettingZooMultiAgentEnv(LewisDrift)
    observations, infos = env.reset(seed=0)
    assert list(observations) == list(infos) == ["speaker"]
    spoken = np.zeros_like(env.action_spaces["speaker"].sample())
    seen, rewards, terminated, truncated, _ = env.step({"speaker": spoken})
    assert list(seen) == ["listener"] and rewards == {} and not terminated["__all__"]
    seen, rewards, terminated, truncated, _ = env.step({"listener": observations["speaker"]})
    assert set(seen) == set(rewards) == {"speaker", "listener"} and set(rewards.values()) == {1.0}
    assert terminated == {"speaker": True, "listener": True, "__all__": True} and not any(truncated.values())


@pytest.mark.fault("E5", tries=3)
def test_broken_environments_are_named() -> None:
    def spoil(_: Scripted, returned: tuple[Any, ...]) -> tuple[Any, ...]:
        returned[1]["b"] = float("nan")
        return returned

    with pytest.raises(BadEnv, match=r"reward of b at step 3 \(seed 0\)"):  # before it is used at all
        PettingZooMultiAgentEnv(lambda: Strict(broken=(3, spoil)))
    env = PettingZooMultiAgentEnv(Strict(broken=(3, spoil)))
    with pytest.raises(BadEnv, match=r"reward of b at step 3 \(seed 0\)"):
        play(env)
    env.reset(seed=0)
    with pytest.raises(BadEnv, match=r"no action was given for \['b', 'c'\]"):
        env.step({"a": 1})


def test_ppo_trains_on_staggered_deaths_and_mixed_endings(ray_session: ModuleType) -> None:
    """Stock PPO with one policy an agent, vectorised; the reward is the action, so that returns must rise."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.tune import register_env

    register_env("staggered", lambda _: PettingZooMultiAgentEnv(Strict))
    config = (
        PPOConfig()
        .environment("staggered")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .learners(num_learners=0)
        .multi_agent(policies={"a", "b", "c"}, policy_mapping_fn=lambda agent, *_, **__: agent)
        .training(train_batch_size_per_learner=360, minibatch_size=180, num_epochs=6, lr=3e-3)
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    try:
        results = [algorithm.train()["env_runners"] for _ in range(4)]
    finally:
        algorithm.stop()
    lengths = [found["episode_len_mean"] for found in results]
    returns = [found["episode_return_mean"] for found in results]
    assert lengths == [9.0] * 4
    assert returns[-1] > returns[0] + 2, "of at most 48"


def test_rllib_s_own_check_passes_where_the_first_step_is_the_last(ray_session: ModuleType) -> None:
    """It asks that whoever is shown something is among ``agents``, also in the step that ends the game."""
    from ray.rllib.utils.pre_checks.env import check_multiagent_environments

    env = PettingZooMultiAgentEnv(lambda: Negotiation("none", horizon=1))
    check_multiagent_environments(env)
    assert env.agents == ["A"], "B never acted"
    assert env.step({})[2] == {"__all__": True} and env.agents == []
