"""A generation engine that answers by a script, and a tokenizer of words to talk to it: no model anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.text import TextEnv
from rllib_ext.llm.conversation import Conversation, open_conversations, play
from rllib_ext.llm.engine import Generated, Refused, Sampling
from rllib_ext.llm.from_scratch import word_tokenizer
from rllib_ext.llm.prompting import Prompting

WORDS = [*"abcdefghijklmnop", "more", "stop"]
EOS = len(WORDS) + 1  # after PAD
Script = Callable[[list[int], int, int], "list[int] | str"]  # ids so far, sample, call -> ids, or why refused


def words(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


def word_prompting(longest: int = 50) -> Prompting:
    return Prompting(word_tokenizer(WORDS), max_prompt_tokens=longest, overflow="drop")


@dataclass
class ScriptedEngine:
    """calls: (prompts, sampling) of every call. Log-probabilities are -(call + sample + position / 100)."""

    script: Script
    calls: list[tuple[list[list[int]], Sampling]] = field(default_factory=list)
    name: str = "scripted"

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Generated] | Refused]:
        self.calls.append(([list(prompt) for prompt in prompts], sampling))
        results: list[list[Generated] | Refused] = []
        for prompt in prompts:
            answers = [self.script(list(prompt), k, len(self.calls) - 1) for k in range(sampling.samples)]
            refused = next((answer for answer in answers if isinstance(answer, str)), None)
            results.append(
                Refused(refused)
                if refused
                else [self._one(ids, k, sampling) for k, ids in enumerate(answers)]
            )
        return results

    def _one(self, ids: list[int], sample: int, sampling: Sampling) -> Generated:
        logps = -np.float32(len(self.calls) - 1 + sample) - np.arange(len(ids), dtype=np.float32) / 100
        return Generated(np.array(ids, np.int32), logps, ids[-1] in sampling.eos_ids)


def echo(prompt: list[int], sample: int, call: int) -> list[int]:
    """Repeats the last word of what was said, once a sample, and stops."""
    return [prompt[-1]] * (sample + 1) + [EOS]


def run(
    env: Any,
    prompts: Sequence[int | tuple[int, int]],
    script: Any = echo,
    *,
    samples: int = 1,
    turns: int = 1,
    longest: int = 50,
) -> tuple[list[Conversation], dict[int, str], ScriptedEngine]:
    """Open, play and return; ``env`` is a TextEnv to spawn from or a function that makes environments."""
    make = env.spawn if isinstance(env, TextEnv) else env
    pairs = [(0, p) if isinstance(p, int) else p for p in prompts]
    prompting, engine = word_prompting(longest), ScriptedEngine(script)
    conversations, refused = open_conversations(make, prompting, pairs, samples)
    play(conversations, engine, prompting, Sampling(1.0, 9, samples, 7, (EOS,)), turns)
    return conversations, refused, engine
