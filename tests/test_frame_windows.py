"""Windows of frames: against a reader of rows one by one, masks, goals, epochs, exact resume, the thread."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from frames_fixture import episode, frame, write

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames import windows as windows_module
from rllib_ext.frames.epochs import WindowStream
from rllib_ext.frames.store import FrameStore
from rllib_ext.frames.windows import WindowReader

BLANK = np.zeros((84, 84), np.uint8)


def games() -> list[dict]:
    """Ended, cut off, a single step, without its beginning, with lost lives, without its end."""
    return [
        episode(0, 30),
        episode(1, 12, end="truncated"),
        episode(2, 1),
        episode(3, 20, start=40),
        episode(4, 25, lost=(5, 6, 17)),
        episode(5, 9, end="none"),
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    return FrameStore(write(tmp_path_factory.mktemp("frames") / "data", *games()))


def lives_of(rows: dict, life_loss: str) -> list[range]:
    """Steps of each episode of learning of one game, counted from its first row."""
    ends = [i for i in range(len(rows["t"])) if life_loss == "terminal" and rows["life_lost"][i]]
    bounds = [0, *(end + 1 for end in ends), len(rows["t"])]
    return [range(a, b) for a, b in itertools.pairwise(bounds) if a < b]


def expected(rows: dict, life: range, i: int, horizon: int, life_loss: str) -> dict:
    """The window at row i of a game, put together row by row."""
    number, start = int(rows["episode_id"][0]), int(rows["t"][0])

    def picture(j: int) -> np.ndarray:
        return BLANK if j < life[0] else frame(number, start + min(j, life[-1]))

    steps = range(i, i + horizon)
    ended = rows["terminated"] | (rows["life_lost"] if life_loss == "terminal" else False)
    return {
        "frames": np.stack([picture(j) for j in range(i - 3, i + horizon + 1)]),
        "actions": [int(rows["action"][j]) if j in life else 0 for j in steps],
        "rewards": [float(rows["reward"][j]) if j in life else 0.0 for j in steps],
        "terminals": [bool(j in life and ended[j]) for j in steps],
        "valid": [j + 1 in life for j in steps],
        "goal": lambda offset: np.stack([picture(min(i + offset, life[-1]) + j) for j in (-3, -2, -1, 0)]),
        "goal_valid": lambda offset: i + offset in life,
    }


@pytest.mark.parametrize(("horizon", "life_loss"), [(5, "ignore"), (1, "ignore"), (8, "terminal")])
def test_windows_are_those_put_together_row_by_row(store: FrameStore, horizon: int, life_loss: str) -> None:
    reader = WindowReader(store, horizon=horizon, goal=(2, 9), life_loss=life_loss)
    found = reader.fetch(reader.anchors, np.random.default_rng(0))
    row, anchors = 0, []
    for rows in games():
        for life in lives_of(rows, life_loss):
            for i in life:
                known = rows["t"][0] == 0 or life[0] > 0 or i - life[0] >= 3
                if life[-1] > i and known:
                    b, wanted = len(anchors), expected(rows, life, i, horizon, life_loss)
                    anchors.append(row + i)
                    offset = int(found.goal_offset_B[b])
                    assert np.array_equal(found.frames_BFHW[b], wanted["frames"])
                    assert found.actions_BK[b].tolist() == wanted["actions"]
                    assert found.rewards_BK[b].tolist() == wanted["rewards"]
                    assert found.terminals_BK[b].tolist() == wanted["terminals"]
                    assert found.valid_BK[b].tolist() == wanted["valid"]
                    assert np.array_equal(found.goal_frames_B4HW[b], wanted["goal"](offset))
                    assert found.goal_valid_B[b] == wanted["goal_valid"](offset)
        row += len(rows["t"])
    assert reader.anchors.tolist() == anchors
    assert found.frames_BFHW.shape[1] == horizon + 4 and found.actions_BK.dtype == np.int64


def test_the_mask_is_the_product_of_one_minus_the_terminals(store: FrameStore) -> None:
    reader = WindowReader(store, horizon=6, goal=None)
    found = reader.fetch(reader.anchors)
    ended = np.isin(store.rows.episode_id_N[reader.anchors], [0, 2, 4])  # by their rules, not by a cut
    product = np.cumprod(1 - found.terminals_BK, axis=1).astype(bool)
    assert np.array_equal(found.valid_BK[ended], product[ended])
    assert (found.valid_BK <= product).all() and found.goal_frames_B4HW is None and found.ram_BX is None


def test_goals_are_drawn_uniformly_and_some_lie_behind_the_end(store: FrameStore) -> None:
    reader = WindowReader(store, horizon=1, goal=(2, 6))
    anchors_B = np.repeat(reader.anchors, 200)
    found = reader.fetch(anchors_B, np.random.default_rng(1))
    share = np.bincount(found.goal_offset_B, minlength=7) / len(anchors_B)
    assert share[:2].sum() == 0 and np.abs(share[2:] - 0.2).max() < 0.02
    assert 0.3 < found.goal_valid_B.mean() < 1


def test_several_stores_read_as_one(store: FrameStore, tmp_path: Path) -> None:
    other = FrameStore(write(tmp_path / "more", episode(0, 17), episode(9, 5)), in_memory_bytes=0)
    both = WindowReader([store, other], horizon=4, goal=(2, 5))
    alone = [WindowReader(each, horizon=4, goal=(2, 5)) for each in (store, other)]
    assert len(both.anchors) == sum(len(reader.anchors) for reader in alone)
    order = np.random.default_rng(0).permutation(both.anchors)
    mixed = both.fetch(order, np.random.default_rng(3))
    offset = dict(zip(order.tolist(), mixed.goal_offset_B.tolist(), strict=True))
    for reader, shift in zip(alone, (0, len(store)), strict=True):
        for anchor in reader.anchors:
            b = int(np.flatnonzero(order == anchor + shift)[0])
            single = reader.fetch(np.array([anchor]), Fixed(offset[int(anchor) + shift]))
            for name in ("frames_BFHW", "actions_BK", "valid_BK", "goal_frames_B4HW", "goal_valid_B"):
                assert np.array_equal(getattr(mixed, name)[b], getattr(single, name)[0]), name


class Fixed:
    """A generator that draws one number."""

    def __init__(self, value: int) -> None:
        self.value = value

    def integers(self, low: int, high: int, size: int) -> np.ndarray:
        return np.full(size, self.value)


def test_ram_comes_with_the_windows(tmp_path: Path) -> None:
    rows = episode(0, 40)
    ram = np.random.default_rng(0).integers(0, 256, (40, 128), dtype=np.uint8)
    reader = WindowReader(
        FrameStore(write(tmp_path / "data", {**rows, "ram": ram}, ram=True)), horizon=2, goal=None
    )
    assert np.array_equal(reader.fetch(np.array([7, 3])).ram_BX, ram[[7, 3]])


def test_windows_without_masked_steps_can_be_asked_for(store: FrameStore) -> None:
    reader = WindowReader(store, horizon=5, goal=None, min_later=5)
    assert reader.fetch(reader.anchors).valid_BK.all()
    assert len(reader.anchors) < len(WindowReader(store, horizon=5, goal=None).anchors)


def same(one, other) -> bool:
    pairs = ((getattr(one, name), getattr(other, name)) for name in vars(one))
    return all(np.array_equal(a, b) if a is not None else b is None for a, b in pairs)


def test_every_anchor_comes_once_an_epoch_in_another_order(store: FrameStore) -> None:
    reader = WindowReader(store, horizon=2, goal=None)
    count = len(reader.anchors)
    stream = WindowStream(reader, batch_size=7, seed=3, prefetch=0)
    seen = np.concatenate([next(stream).anchors_B for _ in range(count)])  # seven epochs
    epochs = seen.reshape(7, count)
    assert all(np.array_equal(np.sort(epoch), reader.anchors) for epoch in epochs)
    assert len({epoch.tobytes() for epoch in epochs}) == 7 and stream.epoch == 7.0
    other = WindowStream(reader, batch_size=7, seed=4, prefetch=0)
    assert not np.array_equal(next(other).anchors_B, seen[:7])


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_resumed_stream_gives_the_batches_that_would_have_come(store: FrameStore, prefetch: int) -> None:
    reader = WindowReader(store, horizon=3, goal=(2, 9))
    straight = [
        next(stream) for stream in [WindowStream(reader, batch_size=16, prefetch=0)] for _ in range(14)
    ]
    first = WindowStream(reader, batch_size=16, prefetch=prefetch)
    begun = [next(first) for _ in range(6)]
    state = first.state_dict()
    first.close()
    second = WindowStream(reader, batch_size=16, prefetch=prefetch)
    next(second)
    second.load_state_dict(state)
    rest = [next(second) for _ in range(8)]
    second.close()
    assert all(same(a, b) for a, b in zip(straight, [*begun, *rest], strict=True))


def test_a_stream_of_other_data_or_settings_does_not_go_on(store: FrameStore, tmp_path: Path) -> None:
    reader = WindowReader(store, horizon=3, goal=None)
    state = WindowStream(reader, batch_size=16).state_dict()
    with pytest.raises(BadConfig, match="batch_size"):
        WindowStream(reader, batch_size=8).load_state_dict(state)
    with pytest.raises(BadConfig, match="seed"):
        WindowStream(reader, batch_size=16, seed=1).load_state_dict(state)
    other = FrameStore(write(tmp_path / "data", *games()[:5], episode(6, 9, end="none")))
    with pytest.raises(BadConfig, match="data"):
        WindowStream(WindowReader(other, horizon=3, goal=None), batch_size=16).load_state_dict(state)


def test_an_error_of_the_thread_reaches_the_caller(store: FrameStore, monkeypatch) -> None:
    reader = WindowReader(store, horizon=3, goal=None)
    stream = WindowStream(reader, batch_size=4, prefetch=2)
    next(stream)
    monkeypatch.setattr(windows_module, "_take", lambda *_: (_ for _ in ()).throw(OSError("disk gone")))
    with pytest.raises(OSError, match="disk gone"):
        for _ in range(10):
            next(stream)
    with pytest.raises(OSError, match="disk gone"):
        next(stream)
    stream.close()


def test_wrong_settings_are_refused(store: FrameStore, tmp_path: Path) -> None:
    other = FrameStore(write(tmp_path / "other", episode(0, 9), about={"game": "Breakout"}))
    with pytest.raises(BadData, match="different games"):
        WindowReader([store, other], horizon=1)
    short = FrameStore(write(tmp_path / "short", episode(0, 3)))
    with pytest.raises(BadData, match="later steps"):
        WindowReader(short, horizon=5, min_later=5)
    for wrong in ({"horizon": 0}, {"horizon": 1, "goal": (5, 2)}, {"horizon": 1, "life_loss": "maybe"}):
        with pytest.raises(BadConfig):
            WindowReader(store, **wrong)
    with pytest.raises(BadConfig, match="generator"):
        WindowReader(store, horizon=1).fetch(np.array([0]))
    with pytest.raises(BadConfig, match="batch_size"):
        WindowStream(WindowReader(store, horizon=1), batch_size=0)
