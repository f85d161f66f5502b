"""Recording games: rows against the game itself, behaviours, going on, interruption, the console's memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.atari import AtariCopies
from envs.atari_ram import MEMORY, MemoryCopies
from envs.errors import BadEnv
from rllib_ext.errors import BadConfig
from rllib_ext.frames.behaviour import EpsilonGreedy, RandomPlay
from rllib_ext.frames.collect import collect
from rllib_ext.frames.layout import read_dataset
from rllib_ext.frames.store import FrameStore

SMALL = {"num_threads": 1, "num_envs": 3, "rows_per_file": 256}


class Scripted:
    """A policy whose actions are a function of how often it was asked."""

    def __init__(self, num_actions: int) -> None:
        self.num_actions, self.calls, self.stacks = num_actions, 0, []

    def __call__(self, stack_B4HW: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.stacks.append(stack_B4HW.copy())
        return (np.arange(len(stack_B4HW)) + self.calls) % self.num_actions


def test_rows_are_what_was_played(tmp_path: Path) -> None:
    policy = Scripted(4)
    told = collect(
        tmp_path / "data", "Breakout", 700, policy=policy, policy_name="scripted", noop_max=0, **SMALL
    )
    store, rows = FrameStore(tmp_path / "data"), FrameStore(tmp_path / "data").rows
    assert told.rows == len(store) == 700 and store.dataset.complete
    copies = AtariCopies("Breakout", 3, purpose="evaluate", noop_max=0, num_threads=1)
    frame_BHW, again = copies.reset(0), Scripted(4)
    game_B, t_B, next_game, ended = np.arange(3), np.zeros(3, int), 3, 0
    where = {(int(g), int(t)): n for n, (g, t) in enumerate(zip(rows.episode_id_N, rows.t_N, strict=True))}
    for step in range(234):
        actions_B = again(copies.stack_B4HW)
        moment = copies.step(actions_B)
        for copy in range(3 if step < 233 else 1):  # 700 = 233 * 3 + 1
            n = where.pop((int(game_B[copy]), int(t_B[copy])))
            assert np.array_equal(store.frames_NHW[n], frame_BHW[copy])
            assert rows.action_N[n] == actions_B[copy] and rows.reward_N[n] == moment.raw_reward_B[copy]
            assert rows.terminated_N[n] == moment.game_over_B[copy] and not rows.truncated_N[n]
            assert rows.life_lost_N[n] == moment.life_lost_B[copy]
        t_B += 1
        for copy in np.flatnonzero(moment.game_over_B):
            game_B[copy], t_B[copy], next_game, ended = next_game, 0, next_game + 1, ended + 1
        frame_BHW = moment.frame_BHW
    assert not where and told.games == ended > 0
    assert all(np.array_equal(a, b) for a, b in zip(policy.stacks, again.stacks, strict=True))
    about = store.about
    assert about["behaviour"] == {"kind": "epsilon-greedy", "policy": "scripted", "epsilon": 0.0}
    assert about["flags"]["sticky"] == 0 and about["action_meanings"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]


def test_the_same_seed_records_the_same_rows(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        collect(tmp_path / name, "Pong", 300, seed=seed, **SMALL)
    one, same, other = (FrameStore(tmp_path / name) for name in ("one", "same", "other"))
    assert np.array_equal(one.frames_NHW, same.frames_NHW)
    assert np.array_equal(one.rows.action_N, same.rows.action_N)
    assert not np.array_equal(one.rows.action_N, other.rows.action_N)


def test_an_interrupted_recording_is_gone_on_with(tmp_path: Path) -> None:
    def stop(stack_B4HW: np.ndarray) -> np.ndarray:
        if policy.calls == 50:
            raise KeyboardInterrupt
        return policy(stack_B4HW)

    policy = Scripted(6)
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path / "data", "Pong", 400, policy=stop, **SMALL)
    assert read_dataset(tmp_path / "data").rows == 150 and not read_dataset(tmp_path / "data").complete
    assert collect(tmp_path / "data", "Pong", 400, policy=Scripted(6), resume=True, **SMALL).rows == 250
    store = FrameStore(tmp_path / "data")
    assert len(store) == 400 and store.dataset.complete
    assert np.unique(store.rows.episode_id_N).tolist() == [0, 1, 2, 3, 4, 5]  # games begin anew
    assert collect(tmp_path / "data", "Pong", 400, resume=True, **SMALL).rows == 0
    with pytest.raises(BadConfig, match="already"):
        collect(tmp_path / "data", "Pong", 400, **SMALL)


def test_an_error_leaves_complete_files(tmp_path: Path) -> None:
    def fail(stack_B4HW: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        collect(tmp_path / "data", "Pong", 400, policy=fail, **SMALL)
    assert read_dataset(tmp_path / "data").rows == 0
    with pytest.raises(BadConfig, match="steps"):
        collect(tmp_path / "none", "Pong", 0)


def test_random_actions_are_kept_for_three_steps_on_average() -> None:
    play = RandomPlay(1000, seed=0)  # so many actions that a fresh one is another one
    actions = np.array([play(np.zeros((50, 1))) for _ in range(400)])
    changes = (np.diff(actions, axis=0) != 0).mean()
    assert changes == pytest.approx(1 / 3, abs=0.01)
    assert np.bincount(RandomPlay(6, repeat=0.0)(np.zeros(60_000)), minlength=6) == pytest.approx(
        1e4, rel=0.05
    )
    with pytest.raises(BadConfig, match="repeat"):
        RandomPlay(6, repeat=1.0)


def test_epsilon_replaces_a_share_of_the_actions() -> None:
    play = EpsilonGreedy(lambda stacks: np.zeros(len(stacks)), 4, epsilon=0.2)
    assert (play(np.zeros(50_000)) != 0).mean() == pytest.approx(0.2 * 3 / 4, abs=0.01)
    with pytest.raises(BadConfig, match="epsilon"):
        EpsilonGreedy(np.zeros, 4, epsilon=1.5)


@pytest.mark.parametrize("game", sorted(MEMORY))
def test_the_memory_is_the_one_of_the_game(game: str, tmp_path: Path) -> None:
    collect(tmp_path / "data", game, 240, ram=True, **SMALL)
    store = FrameStore(tmp_path / "data")
    for name, byte in MEMORY[game].items():
        values = store.ram_NX[:, byte.address]
        assert byte.low <= values.min() and values.max() <= byte.high, name
    player = MEMORY[game]["player_x" if game == "Breakout" else "player_y"]
    assert len(np.unique(store.ram_NX[:, player.address])) > 5  # it moves


def test_the_memory_is_gymnasiums() -> None:
    import ale_py
    import gymnasium
    from gymnasium.wrappers import AtariPreprocessing

    gymnasium.register_envs(ale_py)
    peer = AtariPreprocessing(
        gymnasium.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.0),
        noop_max=0,
        frame_skip=4,
    )
    copies = MemoryCopies(AtariCopies("Breakout", purpose="evaluate", noop_max=0, num_threads=1))
    copies.reset(0)
    peer.reset(seed=0)
    draw, ends = np.random.default_rng(0), 0
    for _ in range(400):
        action = int(draw.integers(4))
        copies.step(np.array([action]))
        _, _, terminated, _, _ = peer.step(action)
        if terminated:
            peer.reset()
            ends += 1
        assert np.array_equal(copies.ram_BX[0], peer.unwrapped.ale.getRAM())
    assert ends > 0 and copies.num_actions == 4


def test_the_ball_of_pong_is_where_the_memory_says() -> None:
    copies = MemoryCopies(AtariCopies("Pong", 2, purpose="evaluate", num_threads=1))
    copies.reset(0)
    play, x, pixel = RandomPlay(6, seed=0), [], []
    for _ in range(300):
        moment = copies.step(play(copies.stack_B4HW))
        court_BHW = moment.frame_BHW[:, 15:76, 14:70]  # without scores and paddles
        for copy in range(2):
            ball = np.argwhere(np.abs(court_BHW[copy].astype(int) - int(np.median(court_BHW[copy]))) > 60)
            if len(ball):
                x.append(int(copies.ram_BX[copy, MEMORY["Pong"]["ball_x"].address]))
                pixel.append(ball[:, 1].mean())
    assert len(x) > 50 and np.corrcoef(x, pixel)[0, 1] > 0.95


def test_sticky_actions_cannot_be_followed() -> None:
    with pytest.raises(BadEnv, match="sticky"):
        MemoryCopies(AtariCopies("Pong", protocol="standard"))
    with pytest.raises(BadEnv, match="fire"):
        MemoryCopies(AtariCopies("Pong", fire_reset=True))
