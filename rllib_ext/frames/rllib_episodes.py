"""A folder of frames as RLlib's offline episodes, for its own algorithms (BC, MARWIL, CQL).

RLlib reads rows with a column ``item``, each one a `SingleAgentEpisode` as msgpack, with
``config.offline_data(input_=[folder], input_read_episodes=True)``; it is what ``output_write_episodes=True`` writes. An
episode there holds every stack whole and one observation more than actions, four times the bytes before compression.
SGI's own losses read windows (`rllib_ext.frames.windows`); this is for what cannot.

* A game that ended by its rules: the frame after the last step was never drawn; the last stack stands in for it. No value
  is taken of it.
* A game that was cut off, or whose recording stopped: its last frame is the observation that a value may be taken of, and
  the action taken there is left out. It is truncated, because RLlib takes only episodes that are done.
* A game whose beginning is missing: its first three frames only fill the stack.

Rewards are clipped to their sign unless ``clip_rewards`` is False. Left out: lost lives as ends. Needs ray, msgpack and
msgpack_numpy, which RLlib's offline data need themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames.layout import SIZE
from rllib_ext.frames.store import FrameStore
from rllib_ext.frames.windows import STACK
from rllib_ext.runtime.storage import storage_errors

EPISODES_PER_FILE = 16


def write_rllib_episodes(
    store: FrameStore,
    folder: Path | str,
    *,
    clip_rewards: bool = True,
    episodes_per_file: int = EPISODES_PER_FILE,
) -> int:
    """Write every game of ``store`` that has a step to learn from; how many. The folder must not exist yet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    if folder.exists():
        raise BadConfig(f"{folder} exists; give a folder that does not exist yet.")
    if episodes_per_file < 1:
        raise BadConfig(f"episodes_per_file = {episodes_per_file} must be 1 or more.")
    written, items = 0, []
    packed = _packed(store, clip_rewards)
    first = next(packed, None)  # before a folder is made
    if first is None:
        raise BadData(f"{store.folder} holds no game with a step to learn from.")
    with storage_errors(folder, "writing episodes"):
        folder.mkdir(parents=True)
        for item in itertools.chain([first], packed):
            items.append(item)
            written += 1
            if len(items) == episodes_per_file:
                pq.write_table(
                    pa.table({"item": items}), folder / f"{written:08d}.parquet", compression="zstd"
                )
                items = []
        if items:
            pq.write_table(pa.table({"item": items}), folder / f"{written:08d}.parquet", compression="zstd")
    return written


def _packed(store: FrameStore, clip_rewards: bool) -> Iterator[bytes]:
    try:
        import msgpack
        import msgpack_numpy
    except ImportError as error:
        raise BadConfig(
            f"RLlib packs its offline episodes with {error.name}, which is not installed: "
            "pip install msgpack msgpack_numpy"
        ) from error
    for episode in rllib_episodes(store, clip_rewards=clip_rewards):
        yield msgpack.packb(episode.get_state(), default=msgpack_numpy.encode)


def rllib_episodes(store: FrameStore, *, clip_rewards: bool = True) -> Iterator[Any]:
    """A numpy'ised `SingleAgentEpisode` for every game of the store, one at a time."""
    from gymnasium.spaces import Box, Discrete
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode

    rows, meanings = store.rows, store.about.get("action_meanings")
    seen = Box(0, 255, (STACK, SIZE, SIZE), np.uint8)
    acts = Discrete(len(meanings) if meanings else int(rows.action_N.max()) + 1)
    for first, last in _games(store):
        known = rows.t_N[first] == 0
        start = first if known else first + STACK - 1
        over = bool(rows.terminated_N[last])
        stop = last + 1 if over else last  # behind the last action
        if stop <= start:
            continue
        stacks = _stacks(store, first, start, stop, last)
        rewards = rows.reward_N[start:stop]
        yield SingleAgentEpisode(
            id_=f"{store.dataset.digest[:12]}_{rows.episode_id_N[first]}_{rows.t_N[first]}",
            observations=list(stacks),
            observation_space=seen,
            actions=list(rows.action_N[start:stop].astype(np.int64)),
            action_space=acts,
            rewards=(np.sign(rewards) if clip_rewards else rewards).tolist(),
            terminated=over,
            truncated=not over,
            len_lookback_buffer=0,
        ).to_numpy()


def _games(store: FrameStore) -> Iterator[tuple[int, int]]:
    """(first row, last row) of every stretch of consecutive steps of one game."""
    rows = store.rows
    breaks = np.flatnonzero((np.diff(rows.episode_id_N) != 0) | (np.diff(rows.t_N) != 1)) + 1
    firsts = [0, *breaks.tolist()]
    yield from zip(firsts, [*(first - 1 for first in firsts[1:]), len(store) - 1], strict=True)


def _stacks(store: FrameStore, first: int, start: int, stop: int, last: int) -> NDArray[np.uint8]:
    """(stop - start + 1, 4, 84, 84): the stacks at rows start to stop; behind the last row it repeats itself."""
    at = np.minimum(np.arange(start, stop + 1), last)[:, None] + np.arange(1 - STACK, 1)
    stacks = store.frames_NHW[np.maximum(at, first)]
    stacks[at < first] = 0
    return stacks
