"""Atari: many copies of one game of the Atari 100k benchmark on ALE's native vector environment.

| | |
|---|---|
| agent | one |
| action | Discrete, the game's minimal set (3 to 18 actions; `AtariCopies.action_meanings`), or all 18 |
| observation | uint8: the newest frame, (84, 84) gray; `AtariCopies.stack_B4HW` is the last four, oldest first, with |
| | zeros before the episode's start |
| reward | points of the skipped frames summed; clipped to their sign where ``clip_rewards`` |
| episode end | game over; with ``life_loss="terminal"`` a lost life too, after which the same game goes on with an |
| | empty stack; cut off (truncated) after ``max_frames`` frames |

Protocols: what the published numbers were made with. Every flag can be set by itself.

| flag | "100k" train | "100k" evaluate | "standard" train | "standard" evaluate |
|---|---|---|---|---|
| ``sticky`` (chance that the last action is repeated) | 0 | 0 | 0.25 | 0.25 |
| ``noop_max`` (up to so many idle frames at the start) | 30 | 30 | 0 | 0 |
| ``fire_reset`` (press fire at the start) | no | no | no | no |
| ``life_loss`` | "terminal" | "ignore" | "ignore" | "ignore" |
| ``clip_rewards`` | yes | no | yes | no |
| ``frame_skip``, ``max_frames``, ``full_action_space`` | 4, 108000, no | the same | the same | the same |

"100k" is what SPR and SGI train and are scored with (Schwarzer et al. 2021), "standard" that of Machado et al. 2018 as
Dopamine runs it, which is also what the DQN Replay data were recorded with. A step emulates ``frame_skip`` frames, takes
the pixelwise maximum of the last two and scales it to 84 x 84 by area (the official code of SGI scales bilinearly).

A game that has ended begins anew within the same step, so that B copies give B transitions a step and none is lost. With
``noop_max=0`` and ``sticky=0`` the frames, rewards and ends are bit for bit those of gymnasium's
``FrameStackObservation(AtariPreprocessing(...), padding_type="zero")``, and lost lives those of ALE's own flag.

Needs ale-py (`pip install "rllib-ext[atari]"`). Left out: sound, colour, two players.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.atari_flags import FLAGS, resolve_flags
from envs.atari_games import find_game
from envs.errors import BadEnv
from envs.grid.arguments import whole

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

SIZE, STACK = 84, 4


@dataclass(frozen=True)
class AtariMoment:
    """What a step has brought, of B copies. Arrays are the caller's to keep.

    frame_BHW         (B, 84, 84) uint8: the newest frame, after the step and after the restart of a game that ended
    reward_B          (B,) float32: as the protocol clips it
    raw_reward_B      (B,) float32: points
    terminated_B      the end for learning: game over, or a life lost where the flags say so
    truncated_B       cut off at ``max_frames``; never together with ``terminated_B``
    life_lost_B       a life was lost and the game goes on; False where the game ended
    game_over_B       the game ended by its own rules
    started_B         ``frame_BHW`` opens an episode of learning: the three frames before it are zeros
    episode_return_B  (B,) float64: points of the whole game that ended here; 0 elsewhere
    episode_length_B  (B,) int64: its steps; 0 elsewhere
    last_frame_BHW    frames before the restart, None where no game ended. Of a truncated game: what a value may be taken
                      of. Of a game that is over it is stale (ALE stops before it draws) and nothing's target.
    """

    frame_BHW: Bytes
    reward_B: Floats
    raw_reward_B: Floats
    terminated_B: Bools
    truncated_B: Bools
    life_lost_B: Bools
    game_over_B: Bools
    started_B: Bools
    episode_return_B: NDArray[np.float64]
    episode_length_B: NDArray[np.int64]
    last_frame_BHW: Bytes | None = None


class AtariCopies:
    """B copies of one game; the module says what they play. Nothing here loops over copies.

    game           "Pong", "MsPacman", ...: `envs.atari_games.NAMES`
    num_envs       B, 1 or more
    protocol       "100k" or "standard"
    purpose        "train" or "evaluate"
    seed           of idle starts and sticky actions, 0 or more, or None for any
    num_threads    of the emulators; 0: as many as there are cores, or copies where those are fewer
    others         flags of the module's table; None: the protocol's

    ``flags`` is a dict of everything that was resolved, for checkpoints and data sets. ``stack_B4HW`` is a read-only view
    that the next step overwrites. ``game_frames_B`` counts the frames emulated of each copy's game.
    """

    def __init__(
        self,
        game: str = "Pong",
        num_envs: int = 1,
        *,
        protocol: str = "100k",
        purpose: str = "train",
        seed: int | None = None,
        sticky: float | None = None,
        noop_max: int | None = None,
        fire_reset: bool | None = None,
        life_loss: str | None = None,
        clip_rewards: bool | None = None,
        frame_skip: int | None = None,
        max_frames: int | None = None,
        full_action_space: bool | None = None,
        num_threads: int = 0,
    ) -> None:
        self.game = find_game(game)
        self.num_envs = whole("num_envs", num_envs, 1)
        self._seed = None if seed is None else whole("seed", seed, 0)
        single = (
            sticky,
            noop_max,
            fire_reset,
            life_loss,
            clip_rewards,
            frame_skip,
            max_frames,
            full_action_space,
        )
        given = dict(zip(FLAGS, single, strict=True))
        self.flags = {"game": self.game.name, **resolve_flags(protocol, purpose, **given)}
        self._env = _vector_env(
            self.game.rom, self.num_envs, self.flags, whole("num_threads", num_threads, 0)
        )
        self.action_meanings = tuple(action.name for action in self._env.ale.get_action_set())
        self.num_actions = len(self.action_meanings)
        self._stack_B4HW = np.zeros((self.num_envs, STACK, SIZE, SIZE), np.uint8)
        self._begun = False

    @property
    def stack_B4HW(self) -> Bytes:
        """(B, 4, 84, 84) uint8, oldest first: the observation, as a read-only view that the next step overwrites."""
        view = self._stack_B4HW.view()
        view.flags.writeable = False
        return view

    def reset(self, seed: int | None = None) -> Bytes:
        """Begin a game in every copy; its first frames (B, 84, 84).

        The same seed and the same actions give the same arrays; copies differ. Without a seed the constructor's is taken
        the first time, and later the randomness goes on.
        """
        if seed is None and not self._begun:
            seed = self._seed
        seeds_B = None
        if seed is not None:
            spread = np.random.SeedSequence(whole("seed", seed, 0))
            seeds_B = (spread.generate_state(self.num_envs) >> 1).astype(np.int64)
        frames_B1HW, info = self._env.reset(seed=seeds_B)
        self._begun = True
        self._lives_B, self.game_frames_B = info["lives"], info["episode_frame_number"]
        self._before_B = info["frame_number"] - info["episode_frame_number"]
        self._return_B = np.zeros(self.num_envs)
        self._length_B = np.zeros(self.num_envs, np.int64)
        self._stack_B4HW[:] = 0
        self._stack_B4HW[:, -1] = frames_B1HW[:, 0]
        return np.asarray(frames_B1HW[:, 0])

    def step(self, actions_B: NDArray[Any]) -> AtariMoment:
        """One step of every copy. actions_B: (B,) integers below `num_actions`. Raises BadEnv for anything else."""
        frames_B1HW, points_B, ended_B, truncated_B, info = self._env.step(self._checked(actions_B))
        before_B = info["frame_number"] - info["episode_frame_number"]
        anew_B = before_B != self._before_B  # frames of earlier games were added: another game has begun
        life_lost_B = (info["lives"] < self._lives_B) & (info["lives"] > 0) & ~anew_B
        game_over_B = ended_B & ~truncated_B
        self._before_B, self._lives_B, self.game_frames_B = (
            before_B,
            info["lives"],
            info["episode_frame_number"],
        )
        lost_B = life_lost_B if self.flags["life_loss"] == "terminal" else np.zeros_like(life_lost_B)
        terminated_B = game_over_B | lost_B
        started_B = terminated_B | truncated_B
        raw_B: Floats = points_B.astype(np.float32)
        self._return_B += raw_B
        self._length_B += 1
        frame_BHW = np.asarray(frames_B1HW[:, 0])
        self._push(frame_BHW, started_B)
        moment = AtariMoment(
            frame_BHW=frame_BHW,
            reward_B=np.sign(raw_B) if self.flags["clip_rewards"] else raw_B,
            raw_reward_B=raw_B,
            terminated_B=terminated_B,
            truncated_B=truncated_B,
            life_lost_B=life_lost_B,
            game_over_B=game_over_B,
            started_B=started_B,
            episode_return_B=np.where(anew_B, self._return_B, 0.0),
            episode_length_B=np.where(anew_B, self._length_B, 0),
            last_frame_BHW=info["final_obs"][:, 0] if anew_B.any() else None,
        )
        self._return_B[anew_B] = 0.0
        self._length_B[anew_B] = 0
        return moment

    def close(self) -> None:
        """Stop the emulators; calling it again does nothing."""
        self._env = None
        self._begun = False

    def _push(self, frame_BHW: Bytes, started_B: Bools) -> None:
        for place in range(STACK - 1):
            self._stack_B4HW[:, place] = self._stack_B4HW[:, place + 1]
        if started_B.any():
            self._stack_B4HW[started_B, :-1] = 0
        self._stack_B4HW[:, -1] = frame_BHW

    def _checked(self, actions_B: NDArray[Any]) -> NDArray[np.int64]:
        if not self._begun:
            raise BadEnv("step() of an Atari game before reset(), or after close(). Call reset(seed) first.")
        given = np.asarray(actions_B)
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise BadEnv(
                f"actions of shape {given.shape} and type {given.dtype}: expected {self.num_envs} whole numbers."
            )
        if given.min() < 0 or given.max() >= self.num_actions:
            wrong = given[(given < 0) | (given >= self.num_actions)][0]
            raise BadEnv(
                f"action {wrong} of {self.game.name}: it has the actions 0 to {self.num_actions - 1}."
            )
        return given.astype(np.int64)


def _vector_env(rom: str, num_envs: int, flags: dict[str, Any], num_threads: int) -> Any:
    """ALE's vector environment with these flags: no clipping and no lives in it, both are done here."""
    from gymnasium.vector import AutoresetMode

    try:
        from ale_py import AtariVectorEnv
    except ImportError as error:
        raise BadEnv(
            f'Atari games need ale-py ({error}). Install it: pip install "rllib-ext[atari]".'
        ) from error
    return AtariVectorEnv(
        rom,
        num_envs,
        num_threads=num_threads,
        max_num_frames_per_episode=flags["max_frames"],
        repeat_action_probability=flags["sticky"],
        full_action_space=flags["full_action_space"],
        autoreset_mode=AutoresetMode.SAME_STEP,
        img_height=SIZE,
        img_width=SIZE,
        stack_num=1,
        frameskip=flags["frame_skip"],
        noop_max=flags["noop_max"],
        use_fire_reset=flags["fire_reset"],
        episodic_life=False,
        life_loss_info=False,
        reward_clipping=False,
    )
