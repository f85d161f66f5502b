"""Conversations to padded arrays. One row is one prompt's group of completions, so that a row is never torn apart.

Columns (R rows, K completions kept a row, P prompt width, T completion width, widths of this batch alone):
  prompt_ids, prompt_mask  (R, P)     int64, left-padded: all completions start at the same column
  token_ids, token_mask    (R, K, T)  int64, all after the prompt, right-padded; mask 1 on real tokens
  action_mask              (R, K, T)  float32, 1 on tokens that the policy sampled (environment turns are 0)
  behaviour_logps          (R, K, T)  float32, log-probabilities under the policy that sampled, nats
  scores, scored           (R, K)     float32 and bool
  finished                 (R, K)     bool, whether the completion ended by itself (EOS)
  versions                 (R,)       int64, weights version that sampled
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rllib_ext.llm.played import Played

_PAD = 0  # masked everywhere, so any id of the vocabulary serves


@dataclass(frozen=True)
class Completion:
    """One conversation's tokens after the prompt. ids, logps, sampled: (T,). score None: unscored."""

    ids: np.ndarray
    logps: np.ndarray
    sampled: np.ndarray
    score: float | None
    finished: bool


@dataclass(frozen=True)
class Group:
    """All completions of one prompt. prompt: (epoch, index). prompt_ids: (P,)."""

    prompt: tuple[int, int]
    prompt_ids: np.ndarray
    completions: tuple[Completion, ...]
    version: int

    def keep(self, which: Sequence[int]) -> Group:
        """The same group reduced to the completions at these positions, in this order."""
        return Group(self.prompt, self.prompt_ids, tuple(self.completions[i] for i in which), self.version)


def completion_of(item: Played) -> tuple[np.ndarray, Completion]:
    """(prompt ids, completion) of a conversation; what the environment said later is in it, unsampled."""
    observed, tokens, logps = item.observation_ids, item.token_ids, item.logps
    ids, values, sampled = [], [], []
    for turn in range(len(tokens)):
        if turn > 0:
            ids.append(observed[turn])
            values.append(np.zeros(len(observed[turn]), np.float32))
            sampled.append(np.zeros(len(observed[turn]), np.float32))
        ids.append(tokens[turn])
        values.append(logps[turn])
        sampled.append(np.ones(len(tokens[turn]), np.float32))
    joined = (np.concatenate(ids), np.concatenate(values), np.concatenate(sampled))
    completion = Completion(*joined, item.score, bool(item.finished[-1]))
    return observed[0], completion


def groups_of(items: Sequence[Played], prompts: Sequence[tuple[int, int]]) -> list[Group]:
    """Group a round's conversations by prompt, in the order of ``prompts``.

    By epoch and index: a round that reaches into the next epoch may hold an index twice. A prompt without
    conversations has no group.
    """
    members: dict[tuple[int, int], list[Played]] = {}
    for item in items:
        members.setdefault((item.epoch, item.index), []).append(item)
    groups = []
    for prompt in prompts:
        if prompt in members:
            parts = [completion_of(item) for item in members[prompt]]
            completions = tuple(part[1] for part in parts)
            groups.append(Group(prompt, parts[0][0], completions, members[prompt][0].version))
    return groups


def score_table(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray]:
    """scores (B, K) float64 and scored (B, K) bool; a group of fewer completions is filled up, unscored."""
    widest = max((len(group.completions) for group in groups), default=1)
    scores, scored = np.zeros((len(groups), widest)), np.zeros((len(groups), widest), bool)
    for row, group in enumerate(groups):
        for k, completion in enumerate(group.completions):
            if completion.score is not None:
                scores[row, k], scored[row, k] = completion.score, True
    return scores, scored


def _width(lengths: Sequence[int], multiple: int) -> int:
    longest = max(lengths, default=1)
    return max(1, -(-longest // multiple) * multiple)


def to_columns(groups: Sequence[Group], *, multiple: int = 8) -> dict[str, np.ndarray]:
    """Pad ``groups``, all of equally many completions, to their own widths rounded up to ``multiple``."""
    rows, kept = len(groups), len(groups[0].completions)
    prompt_width = _width([len(group.prompt_ids) for group in groups], multiple)
    width = _width([len(c.ids) for group in groups for c in group.completions], multiple)
    columns = {
        "prompt_ids": np.full((rows, prompt_width), _PAD, np.int64),
        "prompt_mask": np.zeros((rows, prompt_width), np.int64),
        "token_ids": np.full((rows, kept, width), _PAD, np.int64),
        "token_mask": np.zeros((rows, kept, width), np.int64),
        "action_mask": np.zeros((rows, kept, width), np.float32),
        "behaviour_logps": np.zeros((rows, kept, width), np.float32),
        "scores": np.zeros((rows, kept), np.float32),
        "scored": np.zeros((rows, kept), bool),
        "finished": np.zeros((rows, kept), bool),
        "versions": np.zeros(rows, np.int64),
    }
    for row, group in enumerate(groups):
        start = prompt_width - len(group.prompt_ids)
        columns["prompt_ids"][row, start:] = group.prompt_ids
        columns["prompt_mask"][row, start:] = 1
        columns["versions"][row] = group.version
        for k, completion in enumerate(group.completions):
            length = len(completion.ids)
            columns["token_ids"][row, k, :length] = completion.ids
            columns["token_mask"][row, k, :length] = 1
            columns["action_mask"][row, k, :length] = completion.sampled
            columns["behaviour_logps"][row, k, :length] = completion.logps
            columns["scores"][row, k] = 0.0 if completion.score is None else completion.score
            columns["scored"][row, k] = completion.score is not None
            columns["finished"][row, k] = completion.finished
    return columns
