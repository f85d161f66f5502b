"""Scores of finished conversations: one batch a reward object, then the rule for completions without EOS.

"No score" is a value with a reason and never 0. Environments that score by themselves (plain Gymnasium ones)
add up the rewards of their steps.
"""

from __future__ import annotations

from collections import Counter

from envs.text import TextEnv
from envs.text.rewards import as_score
from rllib_ext.llm.conversation import Conversation

# Beyond it the square of a score, as in a variance, overflows the learner's float32.
LARGEST_SCORE = 1e18


def score(conversations: list[Conversation]) -> dict[str, int]:
    """Score all finished conversations, one batch a reward object. Returns reason -> number of unscored."""
    batches: dict[int, list[Conversation]] = {}
    for conversation in conversations:
        if conversation.refused is not None or conversation.unscored is not None:
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
    for conversation in conversations:
        if conversation.score is not None and abs(conversation.score) > LARGEST_SCORE:
            conversation.unscored = f"the score is beyond {LARGEST_SCORE:g}"
            conversation.score = None
    return dict(Counter(c.unscored for c in conversations if c.unscored is not None))


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
