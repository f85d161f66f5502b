"""Atari copies: the protocols' flags, equivalence with gymnasium's wrappers, ends, lives, restarts, refusals."""

from __future__ import annotations

import ast
from dataclasses import fields

import ale_py
import numpy as np
import pytest

from envs.atari import AtariCopies, AtariMoment, resolve_flags
from envs.atari_flags import PROTOCOLS
from envs.atari_games import ATARI_100K, NAMES, find_game
from envs.errors import BadEnv

EXACT = {"noop_max": 0, "sticky": 0.0, "num_threads": 1}


def play(copies: AtariCopies, steps: int, seed: int = 0) -> list[AtariMoment]:
    """Moments under random actions, from a reset on."""
    copies.reset(seed)
    draw = np.random.default_rng(seed)
    return [copies.step(draw.integers(copies.num_actions, size=copies.num_envs)) for _ in range(steps)]


def same(one: AtariMoment, other: AtariMoment) -> bool:
    pairs = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(AtariMoment))
    return all(np.array_equal(a, b) if a is not None else b is None for a, b in pairs)


def peer(game: str, **settings):
    """gymnasium's own single environment of a game, with the frame skip and the stack of its wrappers."""
    import gymnasium
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    gymnasium.register_envs(ale_py)
    plain = gymnasium.make(f"ALE/{game}-v5", frameskip=1, repeat_action_probability=0.0, **settings)
    return FrameStackObservation(AtariPreprocessing(plain, noop_max=0, frame_skip=4), 4, padding_type="zero")


@pytest.mark.parametrize("game", ["Breakout", "Pong", "Qbert"])
def test_f8_08_copies_are_gymnasiums_frames_rewards_and_ends(game: str) -> None:
    copies = AtariCopies(game, purpose="evaluate", **EXACT)
    env = peer(game)
    copies.reset(3)
    stack_4HW, _ = env.reset(seed=3)
    assert np.array_equal(copies.stack_B4HW[0], stack_4HW)
    draw, ends = np.random.default_rng(0), 0
    for _ in range(1000):
        action = int(draw.integers(copies.num_actions))
        moment = copies.step(np.array([action]))
        stack_4HW, reward, terminated, truncated, _ = env.step(action)
        assert moment.raw_reward_B[0] == reward
        assert (moment.terminated_B[0], moment.truncated_B[0]) == (terminated, truncated)
        if terminated or truncated:
            stack_4HW, _ = env.reset()
            ends += 1
        assert np.array_equal(copies.stack_B4HW[0], stack_4HW)
    assert ends > 0


@pytest.mark.parametrize("game", ["Breakout", "MsPacman", "Qbert"])
def test_lost_lives_are_those_of_ales_own_flag(game: str) -> None:
    from gymnasium.vector import AutoresetMode

    copies = AtariCopies(game, **EXACT)
    flagged = ale_py.AtariVectorEnv(
        find_game(game).rom,
        1,
        noop_max=0,
        use_fire_reset=False,
        life_loss_info=True,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    copies.reset(0)
    flagged.reset(seed=0)
    draw, lost = np.random.default_rng(1), 0
    for _ in range(1200):
        action_B = draw.integers(copies.num_actions, size=1)
        moment = copies.step(action_B)
        _, reward_B, ended_B, truncated_B, _ = flagged.step(action_B)
        assert np.array_equal(moment.terminated_B, ended_B) and np.array_equal(
            moment.truncated_B, truncated_B
        )
        assert np.array_equal(moment.reward_B, reward_B)  # ALE's own clipping too
        lost += int(moment.life_lost_B[0])
    assert lost > 0


def test_a_lost_life_empties_the_stack_and_the_game_goes_on() -> None:
    copies = AtariCopies("Breakout", 4, num_threads=1)
    copies.reset(0)
    draw, lost, over = np.random.default_rng(0), 0, 0
    returns_B, lengths_B = np.zeros(4), np.zeros(4, int)
    for _ in range(700):
        before_B4HW = copies.stack_B4HW.copy()
        moment = copies.step(draw.integers(4, size=4))
        stack_B4HW = copies.stack_B4HW
        returns_B += moment.raw_reward_B
        lengths_B += 1
        assert np.array_equal(stack_B4HW[:, -1], moment.frame_BHW)
        assert not stack_B4HW[moment.started_B, :-1].any()
        assert np.array_equal(stack_B4HW[~moment.started_B, :-1], before_B4HW[~moment.started_B, 1:])
        assert np.array_equal(moment.terminated_B, moment.life_lost_B | moment.game_over_B)
        assert not (moment.life_lost_B & moment.game_over_B).any()
        over_B = moment.game_over_B
        assert np.array_equal(moment.episode_return_B, np.where(over_B, returns_B, 0))
        assert np.array_equal(moment.episode_length_B, np.where(over_B, lengths_B, 0))
        returns_B[over_B], lengths_B[over_B] = 0, 0
        lost, over = lost + moment.life_lost_B.sum(), over + over_B.sum()
    assert lost >= 4 * over > 0  # five lives a game, the fifth ends it


def test_evaluation_reports_lost_lives_and_ends_no_episode_with_them() -> None:
    moments = play(AtariCopies("Breakout", 2, purpose="evaluate", num_threads=1), 300)
    assert sum(moment.life_lost_B.sum() for moment in moments) > 0
    assert all(np.array_equal(moment.terminated_B, moment.game_over_B) for moment in moments)


def test_rewards_are_clipped_to_their_sign_and_points_are_kept() -> None:
    moments = play(AtariCopies("MsPacman", 2, num_threads=1), 200)
    points = np.concatenate([moment.raw_reward_B for moment in moments])
    assert points.max() >= 10
    assert np.array_equal(np.concatenate([moment.reward_B for moment in moments]), np.sign(points))


def test_a_game_is_cut_off_at_the_limit_and_its_last_frame_kept() -> None:
    copies = AtariCopies("Pong", 2, max_frames=40, **EXACT)
    moments = play(copies, 25)
    cut = [index for index, moment in enumerate(moments) if moment.truncated_B.any()]
    assert cut == [9, 19]  # 40 frames are ten steps of four
    for index in cut:
        assert moments[index].truncated_B.all() and not moments[index].terminated_B.any()
        assert moments[index].started_B.all() and (moments[index].episode_length_B == 10).all()
        assert not np.array_equal(moments[index].last_frame_BHW, moments[index].frame_BHW)
    assert moments[0].last_frame_BHW is None


def test_the_same_seed_gives_the_same_game_and_copies_differ() -> None:
    one, other = (play(AtariCopies("MsPacman", 3, num_threads=1), 30, seed=5) for _ in range(2))
    assert all(same(a, b) for a, b in zip(one, other, strict=True))
    third = play(AtariCopies("MsPacman", 3, num_threads=1), 30, seed=6)
    assert not all(same(a, b) for a, b in zip(one, third, strict=True))
    starts_BHW = AtariCopies("MsPacman", 8, num_threads=1).reset(0)
    assert len(np.unique(starts_BHW.reshape(8, -1), axis=0)) > 1  # idle starts of different lengths


def test_the_moments_arrays_are_not_overwritten() -> None:
    copies = AtariCopies("Breakout", 1, **EXACT)
    copies.reset(0)
    first = copies.step(np.array([1]))
    kept = first.frame_BHW.copy()
    for _ in range(10):
        copies.step(np.array([1]))
    assert np.array_equal(first.frame_BHW, kept)
    with pytest.raises(ValueError, match="read-only"):
        copies.stack_B4HW[0] = 0


def test_the_table_of_games_is_ales() -> None:
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)
    assert len(NAMES) == len(set(NAMES)) == 26 and list(NAMES) == sorted(NAMES)
    for game in ATARI_100K:
        emulator = ALEInterface()
        emulator.loadROM(roms.get_rom_path(game.rom))
        assert (len(emulator.getMinimalActionSet()), emulator.lives()) == (game.actions, game.lives), (
            game.name
        )
        assert game.human > game.random


def test_flags_are_resolved_and_named() -> None:
    train, evaluate = resolve_flags(), resolve_flags(purpose="evaluate")
    assert (train["sticky"], train["life_loss"], train["clip_rewards"], train["max_frames"]) == (
        0,
        "terminal",
        True,
        108000,
    )
    assert (evaluate["life_loss"], evaluate["clip_rewards"], evaluate["noop_max"]) == ("ignore", False, 30)
    assert resolve_flags("standard")["sticky"] == 0.25
    assert set(PROTOCOLS) == {"100k", "standard"}
    copies = AtariCopies("ms_pacman", full_action_space=True, fire_reset=True, sticky=0.1)
    assert copies.flags == resolve_flags(full_action_space=True, fire_reset=True, sticky=0.1) | {
        "game": "MsPacman"
    }
    assert copies.num_actions == 18 and AtariCopies("Pong").action_meanings[:2] == ("NOOP", "FIRE")
    assert ast.literal_eval(repr(copies.flags)) == copies.flags  # plain values, fit for JSON


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"game": "Brekout"}, "Breakout"),
        ({"protocol": "100K"}, "100k"),
        ({"purpose": "test"}, "evaluate"),
        ({"sticky": 1.5}, "sticky"),
        ({"frame_skip": 0}, "frame_skip"),
        ({"life_loss": True}, "life_loss"),
        ({"num_envs": 0}, "num_envs"),
        ({"clip_rewards": 1}, "clip_rewards"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict, what: str) -> None:
    with pytest.raises(BadEnv, match=what):
        AtariCopies(**settings)


@pytest.mark.parametrize("actions", [[6, 0], [-1, 0], [0], [0.0, 1.0], [[0, 1]]])
def test_wrong_actions_are_refused(actions: list) -> None:
    copies = AtariCopies("Pong", 2, num_threads=1)
    copies.reset(0)
    with pytest.raises(BadEnv, match="action"):
        copies.step(np.array(actions))


def test_a_step_before_the_first_reset_is_refused() -> None:
    with pytest.raises(BadEnv, match="reset"):
        AtariCopies("Pong").step(np.array([0]))
