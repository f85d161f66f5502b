"""What a rollout worker asks of a generation engine; two implementations follow (vLLM, Hugging Face).

Token ids go in and token ids come out: nothing on this path decodes or encodes text. Log-probabilities are
those of the policy that was sampled from, that is of softmax(logits / temperature) over the whole vocabulary.
Truncated sampling (top-p, top-k) is left out on purpose: it changes the sampling distribution in a way the
learner's log-probabilities cannot follow, and a ratio of the two would be wrong without anyone noticing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rllib_ext.errors import BadConfig, RllibExtError
from rllib_ext.llm.weights import WeightSnapshot


class EngineDead(RllibExtError):
    """The engine failed as a whole; the worker that owns it must be replaced."""

    exit_code = 4


LEAST_TEMPERATURE = 0.01


@dataclass(frozen=True)
class Sampling:
    """How to sample. samples: completions a prompt. seed: of the whole call.

    temperature: >= 0.01 (vLLM raises lower ones to that). max_new_tokens: >= 1.
    """

    temperature: float
    max_new_tokens: int
    samples: int
    seed: int
    eos_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.temperature >= LEAST_TEMPERATURE:
            raise BadConfig(
                f"temperature is {self.temperature}; the least is {LEAST_TEMPERATURE}, which is greedy but for ties"
            )
        if self.max_new_tokens < 1 or self.samples < 1:
            raise BadConfig(f"max_new_tokens={self.max_new_tokens} and samples={self.samples} must be >= 1")


@dataclass(frozen=True)
class Generated:
    """One completion. token_ids: (T,) int32, with the EOS id where the model emitted one. logps: (T,)
    float32, nats.
    """

    token_ids: np.ndarray
    logps: np.ndarray
    finished: bool


@dataclass(frozen=True)
class Refused:
    """A prompt that the engine will not generate for, and why. The other prompts of the call are unaffected."""

    reason: str


class Engine(Protocol):
    """A generation engine inside a rollout worker. Not thread-safe: one caller at a time."""

    name: str

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Generated] | Refused]:
        """``sampling.samples`` completions for each prompt, in the order of the prompts."""
        ...

    def load_weights(self, snapshot: WeightSnapshot) -> None:
        """Serve ``snapshot`` from now on; whatever was cached under older weights is dropped."""
        ...

    def close(self) -> None: ...


def refusal(
    prompt: Sequence[int], *, max_new_tokens: int, context_length: int, vocabulary: int
) -> Refused | None:
    """Why a prompt cannot be generated for, or None. Checked before an engine sees it, so that it never fails
    one.
    """
    if len(prompt) == 0:
        return Refused("the prompt has no tokens")
    if len(prompt) + max_new_tokens > context_length:
        return Refused(
            f"prompt of {len(prompt)} tokens + {max_new_tokens} new tokens exceed the context of {context_length}"
        )
    low, high = min(prompt), max(prompt)
    if low < 0 or high >= vocabulary:
        return Refused(f"token id {low if low < 0 else high} is outside the vocabulary of {vocabulary}")
    return None
