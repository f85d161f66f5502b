"""Atari100k as Gymnasium environments: their checkers, episode ends, what RLlib's own runner gets of them."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import rllib_ext
from envs.atari import AtariCopies
from envs.atari_games import NAMES
from envs.atari_gym import AtariSingle, AtariVector
from envs.errors import BadEnv
from rllib_ext import registry
from rllib_ext.errors import BadConfig

EXACT = {"noop_max": 0, "num_threads": 1}


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    rllib_ext.register()


def test_gymnasiums_checker_finds_nothing() -> None:
    check_env(gymnasium.make("rllib_ext/Atari100k-Breakout-v0", **EXACT).unwrapped, skip_render_check=True)


def test_all_games_are_known_by_both_names() -> None:
    from ray.tune.registry import ENV_CREATOR, _global_registry

    names = registry.atari_names()
    assert len(names) == 26 and names[20] == "Atari100k/Pong"
    assert all(_global_registry.contains(ENV_CREATOR, name) for name in names)
    assert all(f"rllib_ext/Atari100k-{game}-v0" in gymnasium.registry for game in NAMES)
    many = gymnasium.make_vec("rllib_ext/Atari100k-Freeway-v0", num_envs=2, purpose="evaluate")
    assert isinstance(many, AtariVector) and many.single_action_space.n == 3
    assert many.copies.flags["clip_rewards"] is False


def test_wrong_names_and_keys_are_answered_by_the_nearest() -> None:
    with pytest.raises(BadConfig, match="Atari100k/Breakout"):
        registry.create_atari("Atari100k/Brekout", {})
    with pytest.raises(BadConfig, match="noop_max"):
        registry.create_atari("Atari100k/Pong", {"nop_max": 3})
    with pytest.raises(BadEnv, match="sticky"):
        registry.create_atari("Atari100k/Pong", {"sticky": 7})
    assert isinstance(registry.create_atari("Atari100k/Pong", {}), AtariSingle)
    assert isinstance(registry.create_atari("Atari100k/Pong", {"num_envs": 2}), AtariVector)


def test_a_single_game_goes_on_after_a_lost_life_and_shows_the_last_frames() -> None:
    env, copies = AtariSingle("Breakout", **EXACT), AtariCopies("Breakout", **EXACT)
    seen_4HW, _ = env.reset(seed=0)
    copies.reset(0)
    draw, lost, over = np.random.default_rng(0), 0, 0
    for _ in range(500):
        action = int(draw.integers(4))
        before_4HW = copies.stack_B4HW[0].copy()
        assert np.array_equal(seen_4HW, before_4HW)
        moment = copies.step(np.array([action]))
        seen_4HW, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated) == (moment.reward_B[0], moment.terminated_B[0], False)
        assert info["points"] == moment.raw_reward_B[0] and info["game_over"] == moment.game_over_B[0]
        assert np.array_equal(seen_4HW[:3], before_4HW[1:])
        if terminated:
            lost, over = lost + info["life_lost"], over + info["game_over"]
            assert (info["game_length"] > 0) == info["game_over"]
            seen_4HW, _ = env.reset()
            assert not seen_4HW[:3].any()
    assert lost > over > 0
    assert env.render().shape == (84, 84, 3)


def test_copies_follow_gymnasiums_next_step_restart() -> None:
    env = AtariVector("Breakout", 3, **EXACT)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    before, _ = env.reset(seed=[1, 2, 3])
    draw, ended_B, restarts = np.random.default_rng(0), np.zeros(3, bool), 0
    for _ in range(300):
        seen, rewards_B, terminated_B, truncated_B, info = env.step(draw.integers(4, size=3))
        assert env.observation_space.contains(seen) and rewards_B.dtype == np.float32
        assert not (terminated_B | truncated_B)[ended_B].any() and not rewards_B[ended_B].any()
        assert not info["points"][ended_B].any() and not seen[ended_B, :3].any()
        assert np.array_equal(seen[~ended_B, :3], before[~ended_B, 1:])
        restarts += ended_B.sum()
        before, ended_B = seen, terminated_B | truncated_B
    assert restarts > 10
    env.close()


def test_a_game_cut_off_shows_its_last_frame_and_then_the_next_game() -> None:
    env = AtariVector("Pong", 2, max_frames=40, **EXACT)
    env.reset(seed=0)
    for step in range(1, 12):
        seen, _, terminated_B, truncated_B, info = env.step(np.array([2, 3]))
        assert not terminated_B.any() and truncated_B.all() == (step == 10)
        if step == 10:
            assert info["game_length"].tolist() == [10, 10] and seen[:, :3].any()
    idle = AtariCopies("Pong", 2, **EXACT)
    idle.reset(0)
    assert not seen[:, :3].any() and np.array_equal(seen[:, 3], idle.step(np.zeros(2, int)).frame_BHW)


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
def test_rllibs_own_runner_samples_from_them(mode: str) -> None:
    """Without a Ray session: the runner is built here, with random actions."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module import RLModuleSpec
    from ray.rllib.core.rl_module.torch import TorchRLModule
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    class Unasked(TorchRLModule):
        """The runner builds a module and asks it nothing: the actions are random."""

    config = (
        PPOConfig()
        .environment("Atari100k/Breakout", env_config={"noop_max": 3, "num_threads": 1})
        .env_runners(gym_env_vectorize_mode=mode, num_envs_per_env_runner=2, rollout_fragment_length=40)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=Unasked))
        .debugging(seed=3)
    )
    runner = SingleAgentEnvRunner(config=config, worker_index=1, num_workers=1)
    episodes = runner.sample(num_timesteps=160, random_actions=True)
    assert sum(len(episode) for episode in episodes) >= 160
    assert any(episode.is_terminated for episode in episodes)
    for episode in episodes:
        observations = np.stack(episode.get_observations())
        assert observations.dtype == np.uint8 and observations.shape[1:] == (4, 84, 84)
        assert np.array_equal(observations[1:, :3], observations[:-1, 1:])  # one stack flows into the next
    runner.stop()
