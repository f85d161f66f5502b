"""Sequence replay agrees with a loop that reads one game step by step: windows, returns, masks, priorities, restarts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.errors import BadConfig, BadData, CheckpointCorrupt
from rllib_ext.sgi.replay import FrameSequenceReplayBuffer
from rllib_ext.sgi.replay.sum_tree import SumTree

GAMMA = 0.9


class Played:
    """Random games, kept whole: what a loop can look everything up in."""

    def __init__(self, seed: int, steps: int, games: int, end: float = 0.15) -> None:
        random = np.random.default_rng(seed)
        self.steps, self.games = steps, games
        self.frame = random.integers(1, 256, (steps, games, 2, 3)).astype(np.uint8)
        self.action = random.integers(0, 18, (steps, games))
        self.reward = random.normal(size=(steps, games)).astype(np.float32)
        self.terminated = random.random((steps, games)) < end
        self.truncated = (random.random((steps, games)) < end / 4) & ~self.terminated
        self.ended = self.terminated | self.truncated
        self.started = np.concatenate([np.ones((1, games), bool), self.ended[:-1]])

    def into(self, buffer: FrameSequenceReplayBuffer, first: int = 0) -> FrameSequenceReplayBuffer:
        for t in range(first, self.steps):
            self.step_into(buffer, t)
        return buffer

    def step_into(self, buffer: FrameSequenceReplayBuffer, t: int) -> None:
        columns = (self.frame, self.started, self.action, self.reward, self.terminated, self.truncated)
        buffer.add(*(column[t] for column in columns))

    def stack(self, t: int, game: int) -> np.ndarray:
        """Four frames, zeros from before the episode began."""
        frames = [np.zeros((2, 3), np.uint8)] * 4
        for back in range(4):
            if t - back < 0:
                break
            frames[3 - back] = self.frame[t - back, game]
            if self.started[t - back, game]:
                break
        return np.stack(frames)

    def last_of_episode(self, t: int, game: int, steps: int) -> int:
        """The time ``steps`` later, or the last one of the episode of ``t``."""
        for k in range(steps):
            if self.ended[t + k, game]:
                return t + k
        return t + steps

    def loses_frame(self, t: int, game: int, steps: int) -> bool:
        for k in range(steps):
            if self.terminated[t + k, game]:
                return False
            if self.truncated[t + k, game]:
                return True
        return False

    def n_step(self, t: int, game: int, n: int) -> tuple[float, float]:
        total = 0.0
        for k in range(n):
            total += GAMMA**k * float(self.reward[t + k, game])
            if self.ended[t + k, game]:
                return total, 0.0
        return total, GAMMA**n


def buffer_of(capacity: int, games: int, window: int, **settings: object) -> FrameSequenceReplayBuffer:
    return FrameSequenceReplayBuffer(capacity, games=games, window=window, shape=(2, 3), **settings)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31), steps=st.integers(14, 70), games=st.integers(1, 3), length=st.integers(14, 40),
    n=st.integers(1, 6), spr=st.integers(1, 6),
)  # fmt: skip
def test_f8_07_windows_never_cross_episodes_and_returns_equal_the_loop(
    seed, steps, games, length, n, spr
) -> None:
    played, window = Played(seed, steps, games), max(n, spr)
    buffer = played.into(buffer_of(length * games, games, window))
    leaves = buffer.tree.values().reshape(length, games)
    for t in range(steps):
        for game in range(games):
            overwritten = steps > length and t - 3 < steps - length
            known = t + window < steps and t >= max(0, steps - length)
            wanted = known and not overwritten and not played.loses_frame(t, game, window)
            if t >= steps - length:
                assert (leaves[t % length, game] > 0) == wanted, (t, game)
            if not wanted:
                continue
            got = buffer.windows(
                np.array([t]), np.array([game]), np.ones(1), spr_steps=spr, n_step=n, gamma=GAMMA
            )
            total, discount = played.n_step(t, game, n)
            assert got.returns_N[0] == pytest.approx(total, abs=1e-5)
            assert got.discounts_N[0] == pytest.approx(discount)
            assert got.actions_NK[0].tolist() == played.action[t : t + spr, game].tolist()
            after = played.last_of_episode(t, game, n)
            assert (got.next_stack_NSHW[0] == played.stack(after, game)).all()
            for k in range(spr + 1):
                at = played.last_of_episode(t, game, k)
                inside = at == t + k
                if k:
                    assert got.masks_NK[0, k - 1] == float(inside)
                if inside:
                    assert (got.frames_NFHW[0, k : k + 4] == played.stack(t + k, game)).all()
                else:  # the last frame of the episode again, never one of the next episode
                    assert (got.frames_NFHW[0, k + 3] == played.frame[at, game]).all()


def test_a_frame_is_kept_once_and_100k_of_them_take_706_megabytes() -> None:
    buffer = FrameSequenceReplayBuffer(100_000)
    kept = sum(column.nbytes for column in buffer._columns().values())
    assert buffer.ring.frames_TBHW.nbytes == 100_000 * 7056
    assert kept < 1.002 * 100_000 * 7056


def test_after_a_cut_no_window_spans_the_gap() -> None:
    played = Played(0, 40, 1, end=0.0)
    buffer = played.into(buffer_of(100, 1, 5))
    buffer.cut()
    later = Played(1, 40, 1, end=0.0)
    later.into(buffer)
    values = buffer.tree.values()
    assert (values[:35] > 0).all()
    assert (values[35:40] == 0).all()
    assert (values[40:75] > 0).all()


# ----- priorities


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=70), seed=st.integers(0, 2**31))
def test_the_tree_finds_what_a_running_sum_finds(values, seed) -> None:
    random, tree = np.random.default_rng(seed), SumTree(len(values))
    order = random.permutation(len(values))
    for part in np.array_split(order, 3):
        tree.set(part, np.array(values)[part])
    assert tree.total == pytest.approx(sum(values))
    if tree.total == 0:
        return
    mass = random.random(50) * tree.total
    edges = np.cumsum(values)
    for leaf, at in zip(tree.find(mass), mass, strict=True):
        assert values[leaf] > 0
        slack = 1e-9 * tree.total
        assert edges[leaf] - values[leaf] - slack <= at <= edges[leaf] + slack


def test_a_tree_refilled_from_its_leaves_is_the_same_to_the_bit() -> None:
    random = np.random.default_rng(0)
    tree, again = SumTree(1000), SumTree(1000)
    for _ in range(50):
        tree.set(random.integers(0, 1000, 32), random.random(32))
    again.set(np.arange(1000), tree.values())
    assert (tree._nodes == again._nodes).all()


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_priority_that_would_poison_the_sums_is_refused(value: float) -> None:
    with pytest.raises(BadData, match="priorities must be finite"):
        SumTree(4).set(np.array([1]), np.array([value]))


def test_steps_are_drawn_in_proportion_to_priority_to_the_alpha() -> None:
    played = Played(0, 26, 2, end=0.0)
    buffer = played.into(buffer_of(60, 2, 5, alpha=0.5, seed=1))
    arguments = {"spr_steps": 5, "n_step": 5, "gamma": GAMMA, "beta": 1.0}
    index = np.unique(np.concatenate([buffer.sample(32, **arguments).index_N for _ in range(50)]))
    assert len(index) == 2 * 21
    buffer.update_priorities(index, np.arange(1.0, 43.0))
    drawn = np.concatenate([buffer.sample(64, **arguments).index_N for _ in range(500)])
    share = np.array([(drawn == one).mean() for one in index])
    expected = np.sqrt(np.arange(1.0, 43.0))
    np.testing.assert_allclose(share, expected / expected.sum(), atol=0.004)


def test_importance_weights_undo_the_drawing_and_the_largest_is_one() -> None:
    buffer = Played(0, 26, 1, end=0.0).into(buffer_of(60, 1, 5, alpha=1.0))
    buffer.update_priorities(np.arange(21), np.arange(1.0, 22.0))
    got = buffer.sample(21, spr_steps=5, n_step=5, gamma=GAMMA, beta=0.4)
    np.testing.assert_allclose(
        got.weights_N, ((got.index_N + 1.0) / (got.index_N + 1.0).min()) ** -0.4, rtol=1e-6
    )
    assert got.weights_N.max() == 1.0


def test_new_steps_begin_with_the_largest_priority_ever_given() -> None:
    played = Played(0, 40, 1, end=0.0)
    buffer = buffer_of(60, 1, 5, alpha=1.0)
    for t in range(20):
        played.step_into(buffer, t)
    assert set(buffer.tree.values()[:15]) == {1.0}
    buffer.update_priorities(np.array([3]), np.array([7.0]))
    played.into(buffer, first=20)
    assert set(buffer.tree.values()[15:35]) == {7.0}


def test_a_step_that_was_overwritten_takes_no_priority() -> None:
    played = Played(0, 60, 1, end=0.0)
    buffer = played.into(buffer_of(30, 1, 5))
    before = buffer.tree.values()
    buffer.update_priorities(np.array([10, 12]), np.array([99.0, 99.0]))  # their slots hold 40 and 42 now
    assert (buffer.tree.values() == before).all()
    buffer.update_priorities(np.array([40]), np.array([99.0]))
    assert buffer.tree.values()[10] == pytest.approx(99.0**0.5)


# ----- restarts and refusals


def test_a_restored_buffer_draws_the_same_batches() -> None:
    played = Played(3, 70, 2)
    buffer = played.into(buffer_of(60, 2, 5, seed=5))
    arguments = {"spr_steps": 3, "n_step": 5, "gamma": GAMMA, "beta": 0.5}
    buffer.update_priorities(buffer.sample(16, **arguments).index_N, np.linspace(0.1, 3, 16))
    arrays, state = buffer.state()
    again = buffer_of(60, 2, 5, seed=99)
    again.restore({name: array.copy() for name, array in arrays.items()}, state)
    for extra in range(3):
        ours, theirs = buffer.sample(8, **arguments), again.sample(8, **arguments)
        for name, column in ours.columns().items():
            assert (column == theirs.columns()[name]).all(), (extra, name)
        one = Played(extra, 8, 2)
        one.into(buffer), one.into(again)


def test_a_buffer_of_another_size_is_refused_by_name() -> None:
    arrays, state = Played(3, 30, 1).into(buffer_of(60, 1, 5)).state()
    with pytest.raises(CheckpointCorrupt, match="length=60, this run 40"):
        buffer_of(40, 1, 5).restore(arrays, state)


def test_what_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(BadConfig, match="needs at least 36"):
        buffer_of(20, 2, 10)
    buffer = buffer_of(60, 1, 5)
    with pytest.raises(BadData, match="nothing can be drawn"):
        buffer.sample(4, spr_steps=5, n_step=5, gamma=GAMMA, beta=1.0)
    Played(0, 20, 1, end=0.0).into(buffer)
    with pytest.raises(BadConfig, match="windows of 5 steps"):
        buffer.sample(4, spr_steps=5, n_step=6, gamma=GAMMA, beta=1.0)
