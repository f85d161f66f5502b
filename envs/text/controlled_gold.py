"""The gold reward of the controlled TL;DR: a rule over the marked keys of a prompt, exact and free.

A key is marked where the word before it is a marker. Each word of a completion is exactly one of

    correct     a marked key, for the first time             +1
                ... whose place in the prompt is later than those of all keys emitted so far    +0.25 more
    repeat      a marked key that was emitted already        -0.5
    wrong       any other word                               -0.5

so the best completion is the marked keys in order: 1.25 for each, 5.0 for four of them. The first key
always has the bonus. An empty completion scores 0. The rule reads the prompt that the policy saw: a key
that truncation cut away is a wrong word. It knows no end-of-sequence token; what a completion without one
is worth is the rollout worker's rule (``missing_eos="replace"`` makes it a fixed penalty).

Source: this package's own task; ``controlled.py`` says what it is after.
Left out: partial credit for word forms; words are compared as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from envs.text.controlled_words import KEYS, MARKERS
from envs.text.rewards import Reward
from envs.text.task import Sample

_MARKERS = frozenset(MARKERS)
_KEYS = frozenset(KEYS)


def marked_keys(prompt: str) -> list[str]:
    """The distinct keys of ``prompt`` that follow a marker, in order of their first mark."""
    pairs = pairwise(prompt.split())
    return list(dict.fromkeys(word for before, word in pairs if before in _MARKERS and word in _KEYS))


def gold_reward(prompt: str, completion: str) -> float:
    """The sum above over the whitespace-separated words of ``completion``."""
    place = {key: index for index, key in enumerate(marked_keys(prompt))}
    latest, score = -1, 0.0
    emitted: set[str] = set()
    for word in completion.split():
        here = place.get(word)
        if here is None or word in emitted:
            score -= 0.5
            continue
        score += 1.25 if here > latest else 1.0
        latest = max(latest, here)
        emitted.add(word)
    return score


def best_reward(prompt: str) -> float:
    """The largest gold reward that any completion of ``prompt`` has."""
    return 1.25 * len(marked_keys(prompt))


class GoldReward(Reward):
    """``gold_reward`` of every sample, always finite: 5.0 at most for a prompt of four keys, no least
    value.
    """

    name = "gold"

    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        return [gold_reward(_text(sample.task.prompt), sample.completion) for sample in samples]


def _text(prompt: str | tuple[dict[str, str], ...]) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
