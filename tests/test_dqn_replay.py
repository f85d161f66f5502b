"""Importing DQN Replay shards: rows, padding, games, and every broken file refused by its name."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from rllib_ext.errors import BadConfig, BadData, BadEnv
from rllib_ext.frames import dqn_replay
from rllib_ext.frames.dqn_replay import UNKNOWN_START, import_dqn_replay
from rllib_ext.frames.store import FrameStore


def shard(
    lengths: list[int], *, padding: int = 3, seed: int = 0, mid_game: bool = False
) -> dict[str, np.ndarray]:
    """Arrays as Dopamine logs them: games of these lengths with blank rows before each; the last one is not over."""
    draw = np.random.default_rng(seed)
    frames, actions, rewards, ends = [], [], [], []
    for number, length in enumerate(lengths):
        blank = 0 if mid_game and not number else padding
        frames.append(np.zeros((blank, 84, 84), np.uint8))
        frames.append(draw.integers(1, 256, (length, 84, 84), dtype=np.uint8))
        actions.append(np.append(np.zeros(blank), draw.integers(0, 6, length)))
        rewards.append(np.append(np.zeros(blank), draw.choice([0.0, 1.0, -1.0, 200.0], length)))
        over = np.zeros(blank + length)
        over[-1] = number + 1 < len(lengths)
        ends.append(over)
    return {
        "observation": np.concatenate(frames),
        "action": np.concatenate(actions).astype(np.int32),
        "reward": np.concatenate(rewards).astype(np.float32),
        "terminal": np.concatenate(ends).astype(np.uint8),
    }


def packed(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return gzip.compress(stream.getvalue(), 1)


def save(
    folder: Path, number: int, arrays: dict[str, np.ndarray], name: str = "$store$_{}_ckpt.{}.gz"
) -> Path:
    folder.mkdir(exist_ok=True)
    for key, array in arrays.items():
        (folder / name.format(key, number)).write_bytes(packed(array))
    return folder


@pytest.mark.parametrize("piece_rows", [dqn_replay.PIECE_ROWS, 5, 2])
def test_rows_are_the_shards_without_padding(tmp_path: Path, monkeypatch, piece_rows: int) -> None:
    monkeypatch.setattr(dqn_replay, "PIECE_ROWS", piece_rows)
    one, two = shard([20, 9, 14]), shard([7, 1, 12], seed=1, mid_game=True)
    source = save(save(tmp_path / "logs", 1, one), 25, two)
    told = import_dqn_replay(source, tmp_path / "data", "Pong", run=1)
    store = FrameStore(tmp_path / "data")
    rows = store.rows
    kept = [arrays["observation"].any(axis=(1, 2)) for arrays in (one, two)]
    for name, key in (("action_N", "action"), ("reward_N", "reward"), ("terminated_N", "terminal")):
        assert np.array_equal(getattr(rows, name), np.concatenate([one[key][kept[0]], two[key][kept[1]]])), (
            name
        )
    assert np.array_equal(
        store.frames_NHW, np.concatenate([one["observation"][kept[0]], two["observation"][kept[1]]])
    )
    assert np.array_equal(rows.episode_id_N, np.repeat(np.arange(6), [20, 9, 14, 7, 1, 12]))
    starts = [rows.t_N[rows.episode_id_N == game][0] for game in range(6)]
    assert (
        starts == [0, 0, 0, UNKNOWN_START, 0, 0] and not rows.truncated_N.any() and not rows.life_lost_N.any()
    )
    assert (told.rows, told.games, told.padding, told.nan_rewards) == (63, 6, 15, 0)
    assert store.about["flags"]["sticky"] == 0.25 and store.about["behaviour"]["checkpoints"] == [1, 25]
    assert next(file["name"] for file in store.about["files"][0]).startswith("$store$_")


def test_the_names_of_sgis_code_without_rewards(tmp_path: Path) -> None:
    arrays = shard([5, 6])
    del arrays["reward"]
    source = save(tmp_path / "logs", 50, arrays, "{}_{}.gz")
    told = import_dqn_replay(source, tmp_path / "data", "ms_pacman", checkpoints=[50])
    store = FrameStore(tmp_path / "data")
    assert (
        told.rows == len(store) == 11 and not store.rows.reward_N.any() and store.about["game"] == "MsPacman"
    )


def test_nan_rewards_become_nothing_and_are_counted(tmp_path: Path) -> None:
    arrays = shard([8])
    arrays["reward"][4] = np.nan
    told = import_dqn_replay(save(tmp_path / "logs", 1, arrays), tmp_path / "data", "Pong")
    assert told.nan_rewards == 1 and FrameStore(tmp_path / "data").rows.reward_N[1] == 0


def test_a_part_of_each_shard(tmp_path: Path) -> None:
    seen = []
    source = save(save(tmp_path / "logs", 1, shard([30])), 2, shard([30]))
    import_dqn_replay(source, tmp_path / "data", "Pong", max_frames=13, progress=lambda *at: seen.append(at))
    assert len(FrameStore(tmp_path / "data")) == 20 and seen == [(13, 26), (26, 26)]


@pytest.mark.parametrize("key", ["observation", "action", "terminal"])
def test_files_that_are_cut_short_or_damaged_are_named(tmp_path: Path, key: str) -> None:
    arrays = shard([40])
    source = save(tmp_path / "logs", 1, arrays)
    path = source / f"$store$_{key}_ckpt.1.gz"
    whole = path.read_bytes()
    longer = gzip.compress(gzip.decompress(whole) + b"\0", 1)
    broken = [whole[:size] for size in (0, 5, len(whole) // 2, len(whole) - 1)]
    broken += [
        longer,
        b"x" * 100,
        gzip.compress(b"no npy"),
        packed(arrays[key].astype(object)) if key == "action" else b"",
    ]
    checksum = bytearray(whole)
    checksum[-6] ^= 1
    for number, raw in enumerate([*broken, bytes(checksum)]):
        path.write_bytes(raw)
        with pytest.raises(BadData, match=key):
            import_dqn_replay(source, tmp_path / f"data{number}", "Pong")
            pytest.fail(str(number))


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    arrays = shard([40])
    wrong = {
        "rows and": {"action": arrays["action"][:-1]},
        "observation": {"observation": arrays["observation"][:, :80]},
        "uint8": {"observation": arrays["observation"].astype(np.float32)},
        "terminal": {"terminal": np.stack([arrays["terminal"]] * 2, 1)},
        "action": {"action": arrays["action"] + 300},
    }
    for number, (what, change) in enumerate(wrong.items()):
        source = save(tmp_path / f"logs{number}", 1, {**arrays, **change})
        with pytest.raises(BadData, match=what):
            import_dqn_replay(source, tmp_path / f"data{number}", "Pong")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    source = save(tmp_path / "logs", 1, shard([5]))
    with pytest.raises(BadData, match="no checkpoint 7"):
        import_dqn_replay(source, tmp_path / "data", "Pong", checkpoints=[7])
    with pytest.raises(BadEnv, match="Pong"):
        import_dqn_replay(source, tmp_path / "data", "Pung")
    with pytest.raises(BadConfig, match="max_frames"):
        import_dqn_replay(source, tmp_path / "data", "Pong", max_frames=0)
    (source / "$store$_terminal_ckpt.1.gz").unlink()
    with pytest.raises(BadData, match="lacks terminal"):
        import_dqn_replay(source, tmp_path / "data", "Pong")
    with pytest.raises(BadData, match="holds no files"):
        import_dqn_replay(tmp_path / "nowhere", tmp_path / "data", "Pong")
    assert not (tmp_path / "data").exists()
