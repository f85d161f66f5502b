"""Playing text environments with an engine: many conversations, one batched engine call a turn.

A conversation keeps the exact ids of the whole sequence: the prompt, what was sampled, what the environment
said. What goes wrong with one conversation (the engine refuses it, its environment raises) costs that one
alone. Scoring comes afterwards (``llm/scoring.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import gymnasium as gym
import numpy as np

from envs.text import Sample, TextEnv
from rllib_ext.errors import BadEnv, RllibExtError
from rllib_ext.llm.engine import Engine, EngineDead, Generated, Refused, Sampling
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
    """One episode in the making. score None and unscored: why; refused: why nothing was generated.

    slot: which of the ticket's prompts it answers; a round may hold one index twice, of two epochs.
    """

    slot: int
    epoch: int
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
        parts = [ids for turn in self.turns for ids in (turn.observation_ids, turn.token_ids)]
        return np.concatenate([*parts, self.pending_ids]).tolist()


def open_conversations(
    make_env: Callable[[], gym.Env],
    prompting: Prompting,
    prompts: Sequence[tuple[int, int]],
    samples: int,
    *,
    seed_offset: int = 0,
) -> tuple[list[Conversation], dict[int, str]]:
    """``samples`` fresh conversations for every (epoch, index), and index -> why a prompt cannot be used."""
    conversations: list[Conversation] = []
    refused: dict[int, str] = {}
    for slot, (epoch, index) in enumerate(prompts):
        group: list[Conversation] = []
        for _ in range(samples):
            one = _open(make_env(), prompting, slot, epoch, index, seed_offset, group[0] if group else None)
            if isinstance(one, str):
                group, refused[index] = [], one
                break
            group.append(one)
        conversations += group
    return conversations, refused


def _open(
    env: gym.Env,
    prompting: Prompting,
    slot: int,
    epoch: int,
    index: int,
    seed_offset: int,
    first: Conversation | None,
) -> Conversation | str:
    """One conversation, or why the prompt cannot be used. first: an earlier sample of the same prompt."""
    name = type(env.unwrapped).__name__
    try:
        observation, info = env.reset(seed=seed_offset + index, options={"index": index})
    except RllibExtError:
        raise
    except Exception as error:
        return f"reset() of {name} raised {type(error).__name__}: {error}"
    prompt = env.unwrapped.task(index).prompt if isinstance(env.unwrapped, TextEnv) else observation
    if not isinstance(prompt, str | tuple | list):
        raise BadEnv(
            f"reset() of {name} returned {type(observation).__name__} as its observation for prompt "
            f"{index}; a text environment returns a string or a list of chat messages"
        )
    if first is None:
        encoded = prompting.prompt_ids(prompt)
        if isinstance(encoded, str):
            return encoded
    elif prompt != first.prompt:
        raise BadEnv(
            f"reset() of {name} returned two different prompts for seed {seed_offset + index}; the samples "
            "of a prompt are compared, so equal seeds must give equal prompts (draw from self.np_random "
            "after super().reset(seed=seed))"
        )
    else:
        encoded = first.pending_ids
    return Conversation(slot, epoch, index, env, observation, info, prompt, encoded)


def play(
    conversations: list[Conversation],
    engine: Engine,
    prompting: Prompting,
    sampling: Sampling,
    max_turns: int,
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


def _generate(
    live: list[Conversation], engine: Engine, sampling: Sampling, number: int
) -> list[Generated | Refused]:
    """One engine call for the turn, results in the order of ``live``. First turn: one request a prompt."""
    if number > 0:
        sampling = replace(sampling, samples=1, seed=(sampling.seed + number) % 2**31)
    groups = [list(group) for _, group in groupby(live, key=id if number else lambda c: c.slot)]
    results = engine.generate([group[0].sequence() for group in groups], sampling)
    answers: list[Generated | Refused] = []
    for group, result in zip(groups, results, strict=True):
        if isinstance(result, list) and len(result) < len(group):
            raise EngineDead(f"the engine returned {len(result)} completions where {len(group)} were asked")
        answers += [result] * len(group) if isinstance(result, Refused) else result[: len(group)]
    return answers


def _advance(conversation: Conversation, generated: Generated, prompting: Prompting, *, last: bool) -> None:
    text = prompting.text(generated.token_ids)
    heard = (conversation.observation, conversation.pending_ids)
    conversation.turns.append(Turn(*heard, generated.token_ids, generated.logps, text, generated.finished))
    try:
        observation, reward, terminated, truncated = _step(conversation, text)
    except RllibExtError:
        raise
    except Exception as error:
        conversation.unscored = f"the environment raised {type(error).__name__}: {error}"
        observation, reward, terminated, truncated = "", float("nan"), False, True
    conversation.rewards.append(reward)
    conversation.done = bool(terminated or truncated or last)
    conversation.truncated = bool(truncated or not terminated)
    conversation.final_observation = observation if isinstance(observation, str) else ""
    if not conversation.done:
        if not isinstance(observation, str):
            name = type(conversation.env.unwrapped).__name__
            raise BadEnv(
                f"step() of {name} returned {type(observation).__name__} as its observation for prompt "
                f"{conversation.index}; an environment answers with a string"
            )
        conversation.observation = observation
        conversation.pending_ids = prompting.observation_ids(
            conversation.prompt, observation, finished=generated.finished
        )


def _step(conversation: Conversation, text: str) -> tuple[Any, Any, bool, bool]:
    """Observation, reward, terminated, truncated; a TextEnv is scored later, in one batch with the others."""
    env = conversation.env
    if isinstance(env.unwrapped, TextEnv):
        step = env.unwrapped.advance(text)
        conversation.sample = step.sample
        return step.observation, 0.0, step.terminated, step.truncated
    observation, reward, terminated, truncated, info = env.step(text)
    conversation.info = {**conversation.info, **info}
    return observation, reward, terminated, truncated
