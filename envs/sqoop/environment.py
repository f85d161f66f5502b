"""SQOOP: a picture and a yes/no question about it, an answer, a reward. Gymnasium id rllib_ext/SQOOP-v0.

| | |
|---|---|
| observation | "dict": image, Box(0, 255, (H, W, C), uint8), and question, MultiDiscrete([V, V, V]), the words X, R, Y; |
| | "flat": Box(0, 1, (H W C + 3 V,), float32), pixels / 255, then one-hot X, R, Y: for encoders that want one vector |
| action | Discrete(2): 0 "no", 1 "yes" |
| reward | 1 for a right answer, ``reward_wrong`` for a wrong one |
| episode end | terminated after ``questions_per_episode`` answers; never truncated |

What this is, plainly: a contextual bandit with two actions. The answer changes nothing about the next question, the
discount means nothing, and the reward tells the label, so learning from it is learning from labels with a noisier
gradient. It is here to try encoders under RL losses and to measure what reward costs against labels; the paper's results
are supervised, and so is this package's `SQOOP`.

Questions are independent: pair, relation and answer are uniform draws, each answer .5 whatever the question. One guesses
.5, the best possible is 1.

Arguments
    preset                  "mini" (the default: small bitmaps, fast) or "paper": arguments of `SqoopGenerator`
    rhs_per_lhs, pairs_seed, cover      which pairs are trained (`envs.sqoop.pairs`)
    split                   "train"; "seen": the same pairs, for examinations; "unseen_val"; "unseen_test"
    questions_per_episode   1 is the bandit; 32 or so cost a learner that counts episodes much less. Use discount 0 then
    observation             "dict" or "flat"
    reward_wrong            0, or -1
    pool_size               0: every scene is new. n: n scenes of the environment's ``pool_seed`` are all there is, as a
                            data set of n would be (even, under cell_balance "exact")
    render_mode             None, "rgb_array" (the picture), "ansi" (the question)
    anything else           an argument of `SqoopGenerator` in place of the preset's

``info`` after an answer: answer (the right one), pair (X, Y), relation, split, correct. After `reset`: split.

Version 0: as above. Source: Bahdanau et al. 2019 (arXiv 1811.12889) for the questions; the environment is this package's.
"""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from numpy.typing import NDArray

from envs.errors import BadEnv
from envs.grid.arguments import choice, real, whole
from envs.sqoop.generator import SqoopGenerator
from envs.sqoop.pairs import SPLITS
from envs.sqoop.scenes import Scenes
from envs.sqoop.vocabulary import RELATIONS

BLOCK = 256  # scenes drawn together
OBSERVATIONS = ("dict", "flat")
NO_YES = ("no", "yes")


class SqoopEnv(gymnasium.Env[Any, Any]):
    """One question after the other; the module is the documentation page."""

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}

    def __init__(
        self,
        preset: str = "mini",
        *,
        rhs_per_lhs: int = 1,
        pairs_seed: int = 0,
        cover: bool = False,
        split: str = "train",
        questions_per_episode: int = 1,
        observation: str = "dict",
        reward_wrong: float = 0.0,
        pool_size: int = 0,
        pool_seed: int = 0,
        render_mode: str | None = None,
        **generator: Any,
    ) -> None:
        known = [*inspect.signature(SqoopGenerator).parameters, *inspect.signature(SqoopEnv).parameters]
        known.remove("generator")
        for name in generator:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise BadEnv(f"{name} is no argument of SqoopEnv.{hint} Known: {', '.join(known)}.")
        self.generator = SqoopGenerator.preset(preset, **generator)
        self.pairs = self.generator.pairs(rhs_per_lhs, pairs_seed, cover=cover)
        self.split = choice("split", split, SPLITS)
        self._asked = self.pairs.of(self.split)
        self._allowed = {(int(x), int(y)) for x, y in self._asked}
        self.questions_per_episode = whole("questions_per_episode", questions_per_episode, 1)
        self.observation = choice("observation", observation, OBSERVATIONS)
        self.reward_wrong = real("reward_wrong", reward_wrong, high=1.0)
        self.render_mode = choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.observation_space: Space[Any] = self._space()
        self.action_space: Space[Any] = Discrete(2)
        self._pool: Scenes | None = None
        if whole("pool_size", pool_size, 0):
            self._pool = self.generator.sample(self._asked, pool_size, pool_seed)
        self._scenes: Scenes | None = None
        self._row = self._answered = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The first question of an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self._scenes = None
        self._answered = 0
        self._next_question()
        return self._observed(), {"split": self.split}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Answer the question. After the last one of the episode the observation stays."""
        if self._scenes is None or not 0 <= self._answered < self.questions_per_episode:
            raise BadEnv("step was called before reset, or after the episode's end; call reset.")
        if not self.action_space.contains(action):
            raise BadEnv(f"action {action!r} must be 0 (no) or 1 (yes).")
        scenes, row = self._scenes, self._row
        correct = int(action) == int(scenes.answer[row])
        x, _, y = scenes.question[row].tolist()
        info = {
            "answer": int(scenes.answer[row]),
            "pair": (x, y),
            "relation": RELATIONS[scenes.relation[row]],
            "split": self.split,
            "correct": correct,
        }
        self._answered += 1
        over = self._answered == self.questions_per_episode
        if not over:
            self._next_question()
        return self._observed(), 1.0 if correct else self.reward_wrong, over, False, info

    def question_text(self) -> str:
        """The question that is asked, in words."""
        if self._scenes is None:
            raise BadEnv("there is no question before reset; call reset.")
        x, relation, y = (self.generator.words[token] for token in self._scenes.question[self._row])
        return f"is {x} {relation.replace('_', ' ')} {y}?"

    def render(self) -> Any:
        """(H, W, 3) uint8, channels that are no colours brought together; or the question and its answer in words."""
        if self.render_mode is None or self._scenes is None:
            return None
        if self.render_mode == "ansi":
            return f"{self.question_text()} {NO_YES[self._scenes.answer[self._row]]}"
        picture = self._scenes.image[self._row]
        return (
            picture.copy()
            if picture.shape[2] == 3
            else np.repeat(picture.max(axis=2, keepdims=True), 3, axis=2)
        )

    def _next_question(self) -> None:
        self._row += 1
        if self._scenes is None or self._row == len(self._scenes):
            self._scenes, self._row = self._block(), 0
        x, _, y = self._scenes.question[self._row].tolist()
        if (x, y) not in self._allowed:
            raise BadEnv(
                f"the pair {(x, y)} is none of split = {self.split!r}: its scenes were changed from outside."
            )

    def _block(self) -> Scenes:
        """Scenes to go on with: the pool in another order, or new ones."""
        rng = self.np_random
        if self._pool is not None:
            return self._pool[rng.permutation(len(self._pool))]
        pair = rng.integers(0, len(self._asked), BLOCK)
        relation = rng.integers(0, len(RELATIONS), BLOCK)
        positive = rng.integers(0, 2, BLOCK).astype(bool)
        return self.generator.scenes_of(self._asked[pair], relation, positive, rng, pair)

    def _space(self) -> Space[Any]:
        shape, words = self.generator.shape, self.generator.num_tokens
        if self.observation == "flat":
            return Box(0.0, 1.0, (int(np.prod(shape)) + 3 * words,), np.float32)
        return Dict({"image": Box(0, 255, shape, np.uint8), "question": MultiDiscrete([words] * 3)})

    def _observed(self) -> Any:
        if self._scenes is None:
            raise BadEnv("there is nothing to see before reset; call reset.")
        image, question = self._scenes.image[self._row], self._scenes.question[self._row]
        if self.observation == "dict":
            return {"image": image.copy(), "question": question.copy()}
        words: NDArray[np.float32] = np.zeros((3, self.generator.num_tokens), np.float32)
        words[np.arange(3), question] = 1.0
        return np.concatenate([image.reshape(-1) / np.float32(255), words.reshape(-1)])
