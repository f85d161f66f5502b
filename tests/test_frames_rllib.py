"""Frames as RLlib's offline episodes, and the files of them decoded as RLlib decodes them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from frames_fixture import episode, frame, write

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames.rllib_episodes import rllib_episodes, write_rllib_episodes
from rllib_ext.frames.store import FrameStore


def read(folder: Path) -> list:
    """As `OfflinePreLearner` does with ``input_read_episodes=True``."""
    import msgpack
    import msgpack_numpy as mnp
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode

    items = [item for path in sorted(folder.iterdir()) for item in pq.read_table(path)["item"].to_pylist()]
    return [SingleAgentEpisode.from_state(msgpack.unpackb(item, object_hook=mnp.decode)) for item in items]


def test_episodes_are_the_games(tmp_path: Path) -> None:
    games = [
        episode(0, 12),
        episode(1, 9, end="truncated"),
        episode(2, 8, start=30, end="none"),
        episode(3, 1, end="none"),  # a frame and nothing done: no step to learn from
    ]
    store = FrameStore(write(tmp_path / "data", *games))
    over, cut, middle = rllib_episodes(store)
    assert [len(each) for each in (over, cut, middle)] == [12, 8, 4]
    assert [(each.is_terminated, each.is_truncated) for each in (over, cut, middle)] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    blank = np.zeros((84, 84), np.uint8)
    for each, number, start in ((over, 0, 0), (cut, 1, 0), (middle, 2, 33)):
        stacks, rows = each.get_observations(), games[number]
        assert stacks.shape == (len(each) + 1, 4, 84, 84) and stacks.dtype == np.uint8
        for step in range(len(each)):
            t = start + step
            wanted = [
                frame(number, s) if s >= (0 if number < 2 else 30) else blank for s in range(t - 3, t + 1)
            ]
            assert np.array_equal(stacks[step], np.stack(wanted))
        offset = start - int(rows["t"][0])
        assert each.get_actions().tolist() == rows["action"][offset : offset + len(each)].tolist()
        assert each.get_rewards().tolist() == np.sign(rows["reward"][offset : offset + len(each)]).tolist()
    assert np.array_equal(over.get_observations(12)[3], frame(0, 11))  # never drawn: the last one stands in
    assert np.array_equal(cut.get_observations(8)[3], frame(1, 8))  # the last frame, whose action is left out
    assert len({each.id_ for each in (over, cut, middle)}) == 3


def test_points_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    store = FrameStore(write(tmp_path / "data", episode(0, 6)))
    (each,) = rllib_episodes(store, clip_rewards=False)
    assert each.get_rewards().tolist() == episode(0, 6)["reward"].tolist()


def test_files_hold_what_rllib_reads(tmp_path: Path) -> None:
    store = FrameStore(write(tmp_path / "data", *(episode(number, 5 + number) for number in range(3))))
    assert write_rllib_episodes(store, tmp_path / "rllib", episodes_per_file=2) == 3
    assert len(list((tmp_path / "rllib").iterdir())) == 2
    for read_back, made in zip(read(tmp_path / "rllib"), rllib_episodes(store), strict=True):
        assert read_back.id_ == made.id_ and read_back.is_terminated
        assert np.array_equal(read_back.get_observations(), made.get_observations())
        assert np.array_equal(read_back.get_actions(), made.get_actions())


def test_missing_packers_are_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgpack_numpy", None)  # an import of it fails
    store = FrameStore(write(tmp_path / "data", episode(0, 5)))
    with pytest.raises(BadConfig, match="pip install msgpack"):
        write_rllib_episodes(store, tmp_path / "rllib")
    assert not (tmp_path / "rllib").exists()


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    store = FrameStore(write(tmp_path / "data", episode(0, 1, end="none")))
    assert list(rllib_episodes(store)) == []
    with pytest.raises(BadConfig, match="exists"):
        write_rllib_episodes(store, tmp_path)
    with pytest.raises(BadConfig, match="episodes_per_file"):
        write_rllib_episodes(store, tmp_path / "other", episodes_per_file=0)
    with pytest.raises(BadData, match="no game"):
        write_rllib_episodes(store, tmp_path / "rllib")
