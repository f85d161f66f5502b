"""A sentiment judge without a model: counts of two small word lists.

    score = (1 + p) / (2 + p + n)         p, n: how many different positive, negative words the completion has

0.5 without any such word, above it where positive words prevail, in (0, 1) always, as a classifier's
probability is; adding one word to both pseudo-counts keeps a single word from deciding everything. Each
word counts once, so repeating it earns nothing. A negation ("not", "never", "n't", ...) turns a word among
the three after it into its opposite; a full stop, comma or other sign between them ends its reach.

It is a toy on purpose: a policy can please it with a list of adjectives. It is for machines without a
classifier, and for tests; results worth reporting need a ``RewardModel``. English only.

Left out: degrees ("good" against "superb"), phrases, irony, the prompt (only the completion is judged).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from envs.text.rewards import Reward
from envs.text.task import Sample

POSITIVE = frozenset({
    "amazing", "amusing", "beautiful", "beautifully", "best", "brilliant", "charming", "classic",
    "clever", "compelling", "delight", "delightful", "delightfully", "enjoy", "enjoyable", "enjoyed",
    "entertaining", "excellent", "exciting", "fabulous", "fantastic", "fascinating", "favorite",
    "favourite", "fine", "flawless", "fresh", "fun", "funny", "gem", "good", "gorgeous", "great",
    "gripping", "happy", "heartwarming", "hilarious", "impressive", "incredible", "inspiring", "joy",
    "laugh", "liked", "likable", "love", "loved", "lovely", "magnificent", "marvelous", "masterpiece",
    "memorable", "moving", "nice", "outstanding", "perfect", "perfectly", "pleasant", "pleasure",
    "powerful", "recommend", "refreshing", "remarkable", "rewarding", "satisfying", "sincere", "smart",
    "solid", "splendid", "strong", "stunning", "superb", "sweet", "talented", "terrific", "thrilling",
    "touching", "uplifting", "warm", "well", "wins", "witty", "wonderful", "wonderfully", "worth",
})  # fmt: skip
NEGATIVE = frozenset({
    "absurd", "annoying", "atrocious", "awful", "bad", "badly", "bland", "bored", "boring", "cheap",
    "clumsy", "confusing", "contrived", "crap", "cringe", "cringeworthy", "disappointed",
    "disappointing", "disappointment", "disaster", "disgusting", "dreadful", "dull", "dumb",
    "embarrassing", "empty", "excruciating", "fail", "failed", "fails", "failure", "fake", "flat",
    "forgettable", "garbage", "hate", "hated", "horrible", "horribly", "idiotic", "inept", "insult",
    "insulting", "irritating", "joke", "lacks", "lame", "laughable", "lazy", "lifeless", "lousy",
    "mediocre", "mess", "messy", "nonsense", "offensive", "painful", "painfully", "pathetic",
    "pointless", "poor", "poorly", "predictable", "pretentious", "ridiculous", "rubbish", "sadly",
    "shallow", "silly", "slow", "stupid", "terrible", "terribly", "tedious", "tiresome", "trash",
    "trite", "ugly", "uninspired", "unconvincing", "unfunny", "unwatchable", "waste", "wasted", "weak",
    "worse", "worst", "worthless",
})  # fmt: skip
NEGATIONS = frozenset({"not", "no", "never", "nothing", "hardly", "neither", "nor", "without", "cannot"})
REACH = 3
_PIECE = re.compile(r"[a-z]+(?:['\u2019][a-z]+)*|[^\w\s]")


def lexicon_score(text: str) -> float:
    """The score above for one text."""
    positive: set[str] = set()
    negative: set[str] = set()
    reach = 0
    for piece in _PIECE.findall(text.lower()):
        if piece in NEGATIONS or piece.endswith(("n't", "n\u2019t")):
            reach = REACH
            continue
        if not piece[0].isalpha():
            reach = 0
            continue
        if piece in POSITIVE or piece in NEGATIVE:
            good = (piece in POSITIVE) != (reach > 0)
            (positive if good else negative).add(piece)
        reach = max(0, reach - 1)
    return (1 + len(positive)) / (2 + len(positive) + len(negative))


class LexiconSentiment(Reward):
    """``lexicon_score`` of every completion, between 0 and 1."""

    name = "lexicon_sentiment"

    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        return [lexicon_score(sample.completion) for sample in samples]
