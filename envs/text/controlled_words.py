"""The words of the controlled TL;DR: 4 markers, 24 keys, 24 filler words and the end of a prompt.

Every word stands alone between spaces and is none of the others, so a whitespace tokenizer over
``vocabulary()`` gives one id a word. With the tokenizer's own padding, end and unknown ids that makes about
56.
"""

from __future__ import annotations

MARKERS = ("note", "main", "vital", "mark")
KEYS = (
    "anchor", "basket", "candle", "desert", "engine", "falcon", "garden", "hammer",
    "island", "jacket", "kettle", "lantern", "magnet", "needle", "orchard", "pepper",
    "quarry", "ribbon", "saddle", "temple", "umbrella", "valley", "walnut", "zipper",
)  # fmt: skip
FILLER = (
    "the", "and", "of", "to", "in", "we", "then", "very", "so", "there", "was", "with",
    "but", "some", "again", "from", "they", "went", "after", "that", "while", "still", "over", "back",
)  # fmt: skip
END = "TL;DR:"
SUBREDDITS = ("advice", "books", "cooking", "gardening", "legaladvice", "pets", "running", "travel")


def vocabulary() -> list[str]:
    """All words that prompts, summaries and wrong words are made of, in a fixed order."""
    return [*KEYS, *FILLER, *MARKERS, END]
