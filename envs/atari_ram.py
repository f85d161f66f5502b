"""The console's memory beside the frames, and where three games keep what a probe asks for.

`MEMORY` names bytes of the 128 of an Atari 2600, after the annotations of AtariARI (Anand et al. 2019,
arXiv 1906.08226): positions and scores, for Pong, Breakout and Freeway. ``low`` and ``high`` bound what random play shows
(the tests measure it); a probe scales by them.

ALE's vector environment does not show the memory. `MemoryCopies` plays the same actions on emulators of its own, one a
copy, and reads it there: without sticky actions the console is deterministic, so they stay in step, and frames, lives and
points are compared all the way. It costs a second emulation in a loop over copies: for probes and data sets, not for
training. Left out: the other 23 games.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.atari import AtariCopies, AtariMoment
from envs.errors import BadEnv

RAM_BYTES = 128


class Byte(NamedTuple):
    """One byte of the memory: its address, and the values that it takes in play."""

    address: int
    low: int
    high: int


MEMORY: dict[str, dict[str, Byte]] = {
    "Pong": {
        "player_y": Byte(51, 38, 203),
        "enemy_y": Byte(50, 0, 208),
        "ball_x": Byte(49, 0, 207),
        "ball_y": Byte(54, 0, 207),
        "enemy_score": Byte(13, 0, 21),
        "player_score": Byte(14, 0, 21),
    },
    "Breakout": {
        "player_x": Byte(72, 55, 191),
        "ball_x": Byte(99, 0, 205),
        "ball_y": Byte(101, 0, 212),
        "blocks_hit_count": Byte(77, 0, 108),
    },
    "Freeway": {
        "player_y": Byte(14, 6, 177),
        "score": Byte(103, 0, 99),
        **{f"car_{lane}_x": Byte(108 + lane, 0, 159) for lane in range(10)},
    },
}


class MemoryCopies:
    """`AtariCopies` whose memory can be read: the same interface, and ``ram_BX`` (B, 128) uint8 at the newest frame.

    Everything but ``ram_BX`` is passed through. Raises BadEnv for sticky actions, a fire at the start, and where the two
    emulations differ.
    """

    def __init__(self, copies: AtariCopies) -> None:
        flags = copies.flags
        if flags["sticky"] or flags["fire_reset"]:
            raise BadEnv(
                f"the memory of {copies.game.name} cannot be followed with sticky={flags['sticky']} and fire_reset="
                f"{flags['fire_reset']}: set sticky=0 and fire_reset=False."
            )
        from ale_py import ALEInterface, LoggerMode, roms

        ALEInterface.setLoggerMode(LoggerMode.Error)
        self._copies = copies
        rom: Any = roms.get_rom_path(copies.game.rom)
        self._emulators = [ALEInterface() for _ in range(copies.num_envs)]
        for emulator in self._emulators:
            emulator.setFloat("repeat_action_probability", 0.0)
            emulator.loadROM(rom)
        full = flags["full_action_space"]
        first = self._emulators[0]
        self._actions = first.getLegalActionSet() if full else first.getMinimalActionSet()
        self.ram_BX = np.zeros((copies.num_envs, RAM_BYTES), np.uint8)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._copies, name)

    def reset(self, seed: int | None = None) -> NDArray[np.uint8]:
        """As of `AtariCopies`."""
        frame_BHW = self._copies.reset(seed)
        for copy in range(len(self._emulators)):
            self._begin(copy)
        return frame_BHW

    def step(self, actions_B: NDArray[Any]) -> AtariMoment:
        """As of `AtariCopies`."""
        moment = self._copies.step(actions_B)
        anew_B = moment.game_over_B | moment.truncated_B
        for copy, emulator in enumerate(self._emulators):
            points = self._follow(emulator, self._actions[int(actions_B[copy])])
            if points != moment.raw_reward_B[copy] or emulator.game_over() != moment.game_over_B[copy]:
                self._differ(copy)
            if anew_B[copy]:
                self._begin(copy)
            else:
                self._read(copy)
        return moment

    def _follow(self, emulator: Any, action: Any) -> float:
        points, flags = 0.0, self._copies.flags
        for _ in range(flags["frame_skip"]):
            points += emulator.act(action)
            if emulator.game_over() or emulator.getEpisodeFrameNumber() >= flags["max_frames"]:
                break
        return points

    def _begin(self, copy: int) -> None:
        emulator = self._emulators[copy]
        emulator.reset_game()
        for _ in range(int(self._copies.game_frames_B[copy])):
            emulator.act(self._actions[0])
        self._read(copy)

    def _read(self, copy: int) -> None:
        emulator = self._emulators[copy]
        if emulator.getEpisodeFrameNumber() != self._copies.game_frames_B[copy]:
            self._differ(copy)
        self.ram_BX[copy] = emulator.getRAM()

    def _differ(self, copy: int) -> None:
        raise BadEnv(
            f"the two emulations of {self._copies.game.name} (copy {copy}) differ: the memory cannot be read for this "
            "game. Record without it (ram=False)."
        )
