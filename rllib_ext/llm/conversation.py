"""Playing text environments with an engine: many conversations, one batched engine call a turn.

A conversation keeps the exact ids of the whole sequence: the prompt, what was sampled, what the environment said.
Conversations whose engine call was refused drop out alone. Scoring comes once, at the end, in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.text import Sample, TextEnv
from envs.text.rewards import as_score
from rllib_ext.errors import BadEnv
from rllib_ext.llm.engine import Engine, Generated, Refused, Sampling
from rllib_ext.llm.prompting import Prompting


@dataclass
class Turn:
    """observation_ids: what the environment added before it; token_ids and logps: what the policy sampled."""

    observation: Any
    observation_ids: np.ndarray
    token_ids: np.ndarray
    logps: np.ndarray
    text: str
    finished: bool


@dataclass
class Conversation:
    """One episode in the making. score None and unscored: why; refused: why nothing was generated."""

    index: int
    env: Any
    observation: Any
    info: dict[str, Any]
    prompt: Any
    pending_ids: np.ndarray
    turns: list[Turn] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    sample: Sample | None = None
    done: bool = False
    truncated: bool = False
    final_observation: Any = ""
    score: float | None = None
    unscored: str | None = None
    refused: str | None = None

    def sequence(self) -> list[int]:
        """All ids so far, in order, ending with what the environment said last."""
        ids: list[int] = []
        for turn in self.turns:
            ids.extend(turn.observation_ids.tolist())
            ids.extend(turn.token_ids.tolist())
        ids.extend(self.pending_ids.tolist())
        return ids


def open_conversations(
    make_env: Any, prompting: Prompting, indices: Sequence[int], samples: int
) -> tuple[list[Conversation], dict[int, str]]:
    """``samples`` fresh conversations for every prompt index; prompts that cannot be used come back with the reason."""
    conversations, refused = [], {}
    for index in indices:
        encoded = None
        for _ in range(samples):
            env = make_env()
            observation, info = env.reset(seed=index, options={"index": index})
            prompt = env.unwrapped.task(index).prompt if isinstance(env.unwrapped, TextEnv) else observation
            if not isinstance(prompt, str | tuple | list):
                raise BadEnv(
                    f"reset() of {type(env.unwrapped).__name__} returned {type(observation).__name__} as its observation "
                    "for prompt {index}; a text environment returns a string or a list of chat messages"
                )
            encoded = prompting.prompt_ids(prompt) if encoded is None else encoded
            if isinstance(encoded, str):
                refused[index] = encoded
                break
            conversations.append(Conversation(index, env, observation, info, prompt, encoded))
    return conversations, refused


def play(
    conversations: list[Conversation], engine: Engine, prompting: Prompting, sampling: Sampling, max_turns: int
) -> None:
    """Run every conversation to its end, in place. All samples of a prompt share the first call's prompt."""
    for number in range(max_turns):
        live = [c for c in conversations if not c.done and c.refused is None]
        if not live:
            return
        for conversation, result in zip(live, _generate(live, engine, sampling, number), strict=True):
            if isinstance(result, Refused):
                conversation.refused = result.reason
            else:
                _advance(conversation, result, prompting, last=number == max_turns - 1)


def _generate(live: list[Conversation], engine: Engine, sampling: Sampling, number: int) -> list[Generated | Refused]:
    """One engine call for the turn. First turn: one request a prompt with K samples; later: one a conversation."""
    if number == 0:
        starts = list(range(0, len(live), sampling.samples))
        results = engine.generate([live[start].sequence() for start in starts], sampling)
        return [r for result in results for r in (result if isinstance(result, list) else [result] * sampling.samples)]
    later = Sampling(
        sampling.temperature, sampling.max_new_tokens, 1, (sampling.seed + number) % 2**31, sampling.eos_ids
    )
    results = engine.generate([c.sequence() for c in live], later)
    return [result[0] if isinstance(result, list) else result for result in results]


def _advance(conversation: Conversation, generated: Generated, prompting: Prompting, *, last: bool) -> None:
    text = prompting.text(generated.token_ids)
    conversation.turns.append(
        Turn(
            conversation.observation,
            conversation.pending_ids,
            generated.token_ids,
            generated.logps,
            text,
            generated.finished,
        )
    )
    env = conversation.env
    if isinstance(env.unwrapped, TextEnv):
        step = env.unwrapped.advance(text)
        observation, reward, terminated, truncated = step.observation, 0.0, step.terminated, step.truncated
        conversation.sample = step.sample
    else:
        observation, reward, terminated, truncated, info = env.step(text)
        conversation.info = {**conversation.info, **info}
    conversation.rewards.append(reward)
    conversation.done, conversation.truncated = bool(terminated or truncated or last), bool(truncated or not terminated)
    conversation.final_observation = observation if isinstance(observation, str) else ""
    if not conversation.done:
        conversation.observation = observation
        conversation.pending_ids = prompting.observation_ids(conversation.prompt, observation)


def score(conversations: list[Conversation]) -> dict[str, int]:
    """Score all finished conversations, one batch a reward object. Returns reason -> count of the unscored."""
    batches: dict[int, list[Conversation]] = {}
    for conversation in conversations:
        if conversation.refused is not None:
            continue
        if conversation.sample is not None:
            batches.setdefault(id(conversation.env.unwrapped.reward), []).append(conversation)
        elif isinstance(conversation.env.unwrapped, TextEnv):
            conversation.unscored = "the episode reached max_turns before the environment ended it"
        else:
            total, reason = 0.0, None
            for reward in conversation.rewards:
                value, why = as_score(reward)
                total, reason = total + (value or 0.0), reason or why
            conversation.score, conversation.unscored = (None, reason) if reason else (total, None)
    for batch in batches.values():
        reward = batch[0].env.unwrapped.reward
        for conversation, outcome in zip(batch, reward.outcomes([c.sample for c in batch]), strict=True):
            conversation.score, conversation.unscored = outcome.score, outcome.reason
    failures: dict[str, int] = {}
    for conversation in conversations:
        if conversation.unscored is not None:
            failures[conversation.unscored] = failures.get(conversation.unscored, 0) + 1
    return failures


def settle_missing_eos(conversation: Conversation, policy: str, penalty: float) -> None:
    """Apply the missing-EOS rule to the score: 'replace' it by -penalty, 'subtract' penalty, or 'keep' it.

    Unscored stays unscored: an absent score is not a bad one.
    """
    if conversation.score is None or not conversation.turns or conversation.turns[-1].finished:
        return
    if policy == "replace":
        conversation.score = -penalty
    elif policy == "subtract":
        conversation.score -= penalty
