"""Training data of the controlled TL;DR: demonstrations, gold-labelled pairs, and rows for the TLDR
environment.

The prompts of demonstrations and pairs are those of the train split with the same seed: supervised stages
and reinforcement learning see the same prompts, as in the N+ paper (arXiv 2403.17031, detail 21). A list of
n items starts with the list of fewer items of the same seed.

Left out: sampling from a model. ``label_pairs`` ranks such samples; ``preference_pairs`` has noise in their
place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from envs.errors import BadData
from envs.text.controlled_data import BLOCK, DEMONSTRATION_NOISE, REFERENCE_NOISE, generator, with_summaries
from envs.text.controlled_gold import gold_reward
from envs.text.controlled_words import FILLER, MARKERS, SUBREDDITS


def demonstrations(
    n: int, seed: int = 0, *, noise: tuple[float, float] = DEMONSTRATION_NOISE
) -> list[tuple[str, str]]:
    """(prompt, target) for a supervised stage; ``noise`` is (drop, insert). Targets start with a space."""
    stream = with_summaries("train", seed, "demonstration", noise)
    return [(prompt, summary) for prompt, (summary,), _ in islice(stream, n)]


def preference_pairs(
    n: int, seed: int = 0, *, flip: float = 0.0, noise: tuple[float, float] = DEMONSTRATION_NOISE
) -> list[tuple[str, str, str]]:
    """(prompt, chosen, rejected): two noisy summaries a prompt, ranked by gold; a tie passes on to the next
    prompt.

    ``flip`` is the probability, for each pair, that its label is wrong: 0.1 to 0.25 makes a proxy that
    reinforcement learning can over-optimise.
    """
    stream = with_summaries("train", seed, "pair", noise, candidates=2)
    samples = ((prompt, first, second) for prompt, (first, second), _ in stream)
    return list(islice(label_pairs(samples, seed=seed, flip=flip), n))


def label_pairs(
    samples: Iterable[tuple[str, str, str]], *, seed: int = 0, flip: float = 0.0
) -> Iterator[tuple[str, str, str]]:
    """(prompt, chosen, rejected) from (prompt, completion, completion), by gold reward; ties are left out."""
    if not 0 <= flip <= 1:
        raise BadData(f"flip is {flip}; it is a probability, 0 to 1.")
    rng = np.random.default_rng(np.random.SeedSequence((seed, BLOCK)))
    for prompt, first, second in samples:
        gap = gold_reward(prompt, first) - gold_reward(prompt, second)
        if gap == 0:
            continue
        first_wins = (gap > 0) != (rng.random() < flip)
        yield (prompt, first, second) if first_wins else (prompt, second, first)


def controlled_rows(
    n: int,
    seed: int = 0,
    *,
    split: str = "train",
    paragraphs: int = 3,
    noise: tuple[float, float] = REFERENCE_NOISE,
) -> list[dict[str, str]]:
    """The same prompts as rows of the TL;DR data set, so that its query and truncation rules run offline.

    The words before "TL;DR:" become a post of ``paragraphs`` lines of about equal length (a marker and its
    key stay on one line); the title is three filler words. Give them to ``TLDR(split="all", data=rows)``,
    or write one JSON object a line. Gold rewards hold for the query as it was cut.
    """
    if paragraphs < 1:
        raise BadData(f"paragraphs is {paragraphs}; a post has 1 or more.")
    rows: list[dict[str, str]] = []
    rng = generator(seed, split, "row", 0)
    for prompt, (summary,), _ in islice(with_summaries(split, seed, "reference", noise), n):
        title = " ".join(FILLER[number] for number in rng.integers(0, len(FILLER), 3))
        subreddit = SUBREDDITS[rng.integers(0, len(SUBREDDITS))]
        post = "\n".join(_lines(prompt.split()[:-1], paragraphs))
        rows.append({"subreddit": subreddit, "title": title, "post": post, "summary": summary.lstrip()})
    return rows


def _lines(words: list[str], paragraphs: int) -> list[str]:
    """``words`` on at most so many lines, none ending in a marker."""
    ends = [round(len(words) * part / paragraphs) for part in range(1, paragraphs + 1)]
    ends = [end + (0 < end < len(words) and words[end - 1] in MARKERS) for end in ends]
    starts = [0, *ends[:-1]]
    return [" ".join(words[start:end]) for start, end in zip(starts, ends, strict=True) if end > start]
