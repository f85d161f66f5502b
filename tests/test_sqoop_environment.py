"""SqoopEnv: a bandit whose rewards are the truth, and which never shows in training what is kept for examinations."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo import ParallelEnv

import rllib_ext
from envs.checks import check_parallel
from envs.errors import BadEnv
from envs.sqoop import SqoopEnv
from envs.sqoop.vocabulary import holds
from rllib_ext import registry


class OneAgent(ParallelEnv):
    """A Gymnasium environment as a game of one player, so that the conformance checks of games can look at it."""

    metadata = {"name": "sqoop_v0", "render_modes": ["rgb_array"]}
    possible_agents = ["agent"]

    def __init__(self, **arguments: Any) -> None:
        self.env = SqoopEnv(render_mode="rgb_array", **arguments)
        self.agents, self.render_mode = [], "rgb_array"

    def observation_space(self, agent: str) -> Any:
        return self.env.observation_space

    def action_space(self, agent: str) -> Any:
        return self.env.action_space

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = ["agent"]
        observation, info = self.env.reset(seed=seed, options=options)
        return {"agent": observation}, {"agent": info}

    def step(self, actions: dict[str, Any]) -> Any:
        if not self.agents:
            return {}, {}, {}, {}, {}
        observation, reward, terminated, truncated, info = self.env.step(actions["agent"])
        self.agents = [] if terminated or truncated else ["agent"]
        outcome = (observation, reward, terminated, truncated, info)
        return tuple({"agent": part} for part in outcome)

    def render(self) -> Any:
        return self.env.render()


def answered(env: SqoopEnv, policy: Any, questions: int, seed: int = 0) -> tuple[np.ndarray, list[dict]]:
    """Rewards and infos of so many answers of ``policy(observation)``."""
    rewards, infos = [], []
    observation, _ = env.reset(seed=seed)
    while len(rewards) < questions:
        observation, reward, over, cut, info = env.step(policy(observation))
        rewards.append(reward)
        infos.append(info)
        assert not cut
        if over:
            observation, _ = env.reset()
    return np.array(rewards), infos


@pytest.mark.parametrize("questions_per_episode", [1, 32])
def test_c3_rl_01_a_uniform_policy_is_right_half_of_the_time(questions_per_episode: int) -> None:
    env, draw = SqoopEnv(questions_per_episode=questions_per_episode), np.random.default_rng(1)
    rewards, infos = answered(env, lambda _: int(draw.integers(2)), 10_000)
    assert set(np.unique(rewards)) == {0.0, 1.0}
    assert abs(rewards.mean() - 0.5) < 3 * 0.5 / 100
    assert abs(np.mean([info["answer"] for info in infos]) - 0.5) < 3 * 0.5 / 100


def test_c3_rl_02_who_reads_the_scene_is_always_right() -> None:
    env = SqoopEnv(renderer="onehot", glyph_size=1)

    def look(seen: dict[str, np.ndarray]) -> int:
        y, x, shape = np.nonzero(seen["image"])
        positions = np.stack([x, y], axis=1)[None]
        return int(holds(positions, shape[None], seen["question"][None], True, 8)[0])

    rewards, infos = answered(env, look, 2000)
    assert (rewards == 1.0).all() and all(info["correct"] for info in infos)
    assert {info["relation"] for info in infos} == {"left_of", "right_of", "above", "below"}


@pytest.mark.parametrize("observation", ["dict", "flat"])
@pytest.mark.parametrize("questions_per_episode", [1, 3])
def test_c3_rl_03_gymnasiums_checker_and_ours_find_nothing(
    observation: str, questions_per_episode: int
) -> None:
    rllib_ext.register()
    arguments = {"observation": observation, "questions_per_episode": questions_per_episode}
    check_env(gymnasium.make("rllib_ext/SQOOP-v0", **arguments).unwrapped, skip_render_check=True)
    check_env(gymnasium.make("rllib_ext/SQOOP-v0", render_mode="rgb_array", **arguments).unwrapped)
    walked = check_parallel(
        lambda: OneAgent(**arguments), max_episode_steps=questions_per_episode, reward_range=(0.0, 1.0)
    )
    assert walked >= 9 * questions_per_episode


def test_c3_rl_04_training_never_asks_about_an_unseen_pair() -> None:
    env = SqoopEnv(rhs_per_lhs=1, glyph_size=1, min_sep=1, renderer="onehot", num_objects=4, image_size=5)
    seen = np.zeros((8, 8), int)
    env.reset(seed=0)
    for _ in range(100_000):
        x, _, y = env.reset()[0]["question"]
        seen[x, y] += 1
    trained = np.zeros((8, 8), bool)
    trained[tuple(env.pairs.train.T)] = True
    assert ((seen > 0) == trained).all()
    assert np.ptp(seen[trained]) < 8 * np.sqrt(100_000 / 8)
    env._allowed.clear()
    with pytest.raises(BadEnv, match="none of split"):
        env.reset()


def test_splits_ask_about_their_own_pairs() -> None:
    for split in ("seen", "unseen_val", "unseen_test"):
        env = SqoopEnv(split=split)
        asked = {info["pair"] for info in answered(env, lambda _: 0, 600)[1]}
        assert asked == {tuple(pair) for pair in env.pairs.of(split).tolist()}


def test_a_seed_gives_the_same_questions_and_copies_go_on_alike() -> None:
    env, other = SqoopEnv(), SqoopEnv()
    first, again = env.reset(seed=3)[0], other.reset(seed=3)[0]
    assert all((first[key] == again[key]).all() for key in first)
    env.step(0)
    copied = pickle.loads(pickle.dumps(env))
    for _ in range(300):  # past the end of a block of scenes
        one, two = env.reset()[0], copied.reset()[0]
        assert (one["image"] == two["image"]).all() and (one["question"] == two["question"]).all()
    assert (env.reset(seed=4)[0]["image"] != first["image"]).any()


def test_a_pool_is_all_there_is_and_comes_in_another_order() -> None:
    env = SqoopEnv(pool_size=64, pool_seed=1)
    orders = []
    for _ in range(3):
        orders.append([env.reset()[0]["image"].tobytes() for _ in range(64)])
    assert set(orders[0]) == set(orders[1]) == set(orders[2]) and len(set(orders[0])) == 64
    assert orders[0] != orders[1]
    same = SqoopEnv(pool_size=64, pool_seed=1, pairs_seed=0)
    assert {same.reset(seed=9)[0]["image"].tobytes() for _ in range(64)} <= set(orders[0])


def test_a_flat_observation_says_what_the_two_parts_say() -> None:
    parts, flat = SqoopEnv(), SqoopEnv(observation="flat")
    both, one = parts.reset(seed=2)[0], flat.reset(seed=2)[0]
    assert one.shape == (24 * 24 + 3 * 12,) and one.dtype == np.float32
    assert (np.round(one[:576] * 255).astype(int).reshape(24, 24, 1) == both["image"]).all()
    assert (one[576:].reshape(3, 12).argmax(1) == both["question"]).all() and one[576:].sum() == 3


def test_words_and_pictures_of_a_question() -> None:
    env = SqoopEnv(render_mode="ansi")
    assert env.render() is None
    env.reset(seed=0)
    question, answer = env.render().split("? ")
    assert question.split()[0] == "is" and answer in ("yes", "no")
    assert env.step(int(answer == "yes"))[1] == 1.0
    with pytest.raises(BadEnv, match="reset"):
        env.step(0)
    paid = SqoopEnv(reward_wrong=-1.0)
    assert set(answered(paid, lambda _: 0, 64)[0]) == {-1.0, 1.0}


def test_wrong_arguments_are_named() -> None:
    for arguments, named in [
        ({"split": "test"}, "split"),
        ({"rhs_per_lhs": 7, "split": "unseen_val"}, "rhs_per_lhs"),
        ({"observation": "text"}, "observation"),
        ({"imagesize": 3}, "Did you mean 'image_size'"),
        ({"preset": "large"}, "preset"),
        ({"questions_per_episode": 0}, "questions_per_episode"),
        ({"pool_size": 3}, "even number"),
        ({"render_mode": "human"}, "render_mode"),
    ]:
        with pytest.raises(BadEnv, match=named):
            SqoopEnv(**arguments)
    env = SqoopEnv()
    env.reset()
    with pytest.raises(BadEnv, match="0 \\(no\\) or 1 \\(yes\\)"):
        env.step(2)


def test_the_table_of_names_builds_it() -> None:
    env = registry.create_environment("SQOOP", {"preset": "mini", "rhs_per_lhs": 2})
    assert isinstance(env, SqoopEnv) and len(env.pairs.train) == 16
    assert registry.gymnasium_environment("SQOOP") is SqoopEnv
