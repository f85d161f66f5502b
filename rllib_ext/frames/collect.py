"""Playing a game into a folder of frames: several copies at once, any behaviour, exactly as many steps as asked for.

Every copy's rows are gathered and handed to the writer when its game ends or when there are `PIECE` of them, so a game's
rows lie together as far as possible and memory is bounded. Where the recording stops, games are cut: their last rows are
neither terminated nor truncated.

A folder whose recording was killed or interrupted is gone on with: complete files stay, new games are begun. Emulators
are not stored, so the rows differ from those of an undisturbed recording.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.atari import AtariCopies, AtariMoment
from envs.atari_ram import MemoryCopies
from rllib_ext.errors import BadConfig
from rllib_ext.frames.behaviour import REPEAT, EpsilonGreedy, Policy, RandomPlay
from rllib_ext.frames.layout import DATASET, RAM_BYTES, ROWS_PER_FILE, SIZE, read_dataset
from rllib_ext.frames.store import FrameStore
from rllib_ext.frames.writer import SCALARS, FrameWriter

PIECE = 1024  # rows of a copy that are held back: 7 MB
EVERY_S = 2.0  # between two words about progress


@dataclass(frozen=True)
class Collected:
    """What a recording has added: steps, whole games, mean points of those (NaN without any), seconds."""

    rows: int
    games: int
    mean_return: float
    seconds: float


def collect(
    folder: Path | str,
    game: str,
    steps: int,
    *,
    policy: Policy | None = None,
    policy_name: str = "policy",
    epsilon: float = 0.0,
    repeat: float = REPEAT,
    num_envs: int = 8,
    seed: int = 0,
    ram: bool = False,
    resume: bool = False,
    rows_per_file: int = ROWS_PER_FILE,
    progress: Callable[[int, int], None] | None = None,
    **flags: Any,
) -> Collected:
    """Play until the folder holds ``steps`` rows.

    policy           stacks (B, 4, 84, 84) uint8 -> actions (B,), made ``epsilon``-greedy; None plays at random, each
                     action kept on with probability ``repeat``
    ram              record the console's memory too (sticky actions must be off)
    resume           go on with a folder; one that has its steps already is left as it is
    progress         called with (rows so far, steps) every few seconds
    flags            of `envs.atari.AtariCopies`; by default those of Atari 100k, points unclipped, a game one episode

    Ctrl-C completes what was recorded, marks the folder as not complete and is raised on.
    """
    if steps < 1:
        raise BadConfig(f"steps = {steps} must be 1 or more.")
    folder = Path(folder)
    rows, games = _there(folder) if resume else (0, 0)
    if rows >= steps:
        return Collected(0, 0, float("nan"), 0.0)
    copies_seed, play_seed = np.random.SeedSequence([seed, rows]).generate_state(2) >> 1
    copies: Any = AtariCopies(game, num_envs, **{"purpose": "evaluate", "seed": int(copies_seed), **flags})
    copies = MemoryCopies(copies) if ram else copies
    play: RandomPlay | EpsilonGreedy = RandomPlay(copies.num_actions, repeat=repeat, seed=int(play_seed))
    if policy is not None:
        play = EpsilonGreedy(
            policy, copies.num_actions, epsilon=epsilon, seed=int(play_seed), name=policy_name
        )
    about = {**_about(copies), "behaviour": play.about(), "seed": seed, "num_envs": num_envs}
    writer = FrameWriter(folder, about, rows_per_file=rows_per_file, ram=ram, resume=resume)
    recorder = _Recorder(copies, writer, games, ram)
    recorder.record(play, steps, progress)
    return recorder.collected(rows)


def _there(folder: Path) -> tuple[int, int]:
    """(rows, number of the next game) of a folder that is gone on with."""
    if not (folder / DATASET).exists() or not read_dataset(folder).rows:
        return 0, 0
    store = FrameStore(folder)
    return len(store), int(store.rows.episode_id_N.max()) + 1


def _about(copies: Any) -> dict[str, Any]:
    return {
        "game": copies.game.name,
        "flags": copies.flags,
        "action_meanings": list(copies.action_meanings),
        "frame": {"height": SIZE, "width": SIZE, "colour": "gray", "resize": "area"},
        "source": "rllib-ext frames collect",
        "ale_py": importlib.metadata.version("ale-py"),
    }


class _Recorder:
    """Steps the copies and gathers their rows."""

    def __init__(self, copies: Any, writer: FrameWriter, first_game: int, ram: bool) -> None:
        count = copies.num_envs
        self._copies, self._writer, self._ram = copies, writer, ram
        self._frames = np.zeros((count, PIECE, SIZE, SIZE), np.uint8)
        self._columns: dict[str, NDArray[Any]] = {
            name: np.zeros((count, PIECE), kind) for name, kind in SCALARS.items()
        }
        if ram:
            self._columns["ram"] = np.zeros((count, PIECE, RAM_BYTES), np.uint8)
        self._held_B = np.zeros(count, np.int64)
        self._game_B = first_game + np.arange(count)
        self._t_B = np.zeros(count, np.int64)
        self._next_game = first_game + count
        self._rows = writer.rows
        self._returns: list[float] = []
        self._begun = time.monotonic()

    def record(self, play: Any, steps: int, progress: Callable[[int, int], None] | None) -> None:
        """Play until there are ``steps`` rows and complete the data; Ctrl-C completes what there is and is raised."""
        try:
            self._run(play, steps, progress)
            self._flush()
            self._writer.close()
        except KeyboardInterrupt:
            self._flush()
            self._writer.close(complete=False)
            raise
        except BaseException:
            self._writer.abandon()
            raise
        finally:
            self._copies.close()

    def _run(self, play: Any, steps: int, progress: Callable[[int, int], None] | None) -> None:
        """Play until there are ``steps`` rows; in the last step only as many copies count as are missing."""
        frame_BHW, said = self._copies.reset(), self._begun
        while self._rows < steps:
            memory = self._copies.ram_BX.copy() if self._ram else None
            actions_B = play(self._copies.stack_B4HW)
            moment = self._copies.step(actions_B)
            live = np.arange(min(len(actions_B), steps - self._rows))
            self._record(live, frame_BHW, actions_B, moment, memory)
            frame_BHW = moment.frame_BHW
            if progress is not None and time.monotonic() - said > EVERY_S:
                said = time.monotonic()
                progress(self._rows, steps)

    def _flush(self) -> None:
        """Hand everything that is held to the writer."""
        for copy in np.flatnonzero(self._held_B):
            self._hand_over(int(copy))

    def collected(self, before: int) -> Collected:
        """What was added to the rows that were there before."""
        mean = float(np.mean(self._returns)) if self._returns else float("nan")
        return Collected(self._rows - before, len(self._returns), mean, time.monotonic() - self._begun)

    def _record(
        self,
        live: NDArray[np.int64],
        frame_BHW: NDArray[np.uint8],
        actions_B: NDArray[np.int64],
        moment: AtariMoment,
        memory: NDArray[np.uint8] | None,
    ) -> None:
        place = (live, self._held_B[live])
        self._frames[place] = frame_BHW[live]
        values = {
            "action": actions_B,
            "reward": moment.raw_reward_B,
            "terminated": moment.game_over_B,
            "truncated": moment.truncated_B,
            "life_lost": moment.life_lost_B,
            "episode_id": self._game_B,
            "t": self._t_B,
        }
        for name, column_B in (values if memory is None else {**values, "ram": memory}).items():
            self._columns[name][place] = column_B[live]
        self._held_B[live] += 1
        self._rows += len(live)
        ended_B = moment.game_over_B | moment.truncated_B
        for copy in live[ended_B[live] | (self._held_B[live] == PIECE)]:
            self._hand_over(int(copy))
        ended = live[ended_B[live]]
        self._returns += moment.episode_return_B[ended].tolist()
        self._t_B += 1
        self._t_B[ended_B] = 0
        self._game_B[ended] = self._next_game + np.arange(len(ended))
        self._next_game += len(ended)

    def _hand_over(self, copy: int) -> None:
        held = int(self._held_B[copy])
        columns = {name: values[copy, :held] for name, values in self._columns.items()}
        self._writer.append(self._frames[copy, :held], **columns)
        self._held_B[copy] = 0
