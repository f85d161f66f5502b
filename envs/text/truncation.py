"""Cutting text down to a token budget, without knowing a tokenizer: a counter is passed in.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), detail 2: while the query is too
long, cut the post at its last newline; where no newline remains, remove one character at a time.

Done literally, that counts the tokens of a long post once a character. ``cut_to_budget`` gives the same text
from O(log n) counts, because a counter hardly ever falls when text is added: it looks for the last place that
fits by bisection, among the newlines first, then among the ends of words, then inside the one word that no
longer fits. "Hardly ever", since byte-pair encoding may write a longer word with fewer tokens. Hence the word
ends (adding whole words never lowers the count of a tokenizer that splits at spaces) and, inside the word,
a look at every single character. Exact for every counter that never falls when whole words are added; beyond
``LOOK`` characters inside one word, for a counter that never falls at all.

Left out: cutting by the tokens themselves, which needs a tokenizer. ``cut_words`` drops whole words from
one side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

CountTokens = Callable[[str], int]
LOOK = 256
_PIECE = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\S+")


def rough_tokens(text: str) -> int:
    """The default counter: runs of letters, digits and underscores, plus each other printed sign.

    It needs no tokenizer and is off by a factor, the larger the smaller the vocabulary. Pass the policy's
    own counter where a budget must hold: ``lambda text: len(tokenizer(text)["input_ids"])``.
    """
    return sum(1 for _ in _PIECE.finditer(text))


def cut_to_budget(text: str, fits: Callable[[str], bool]) -> str | None:
    """The part of ``text`` that the rule above leaves; None where even the empty text does not fit.

    ``fits(part)`` says whether the whole prompt, built around ``part``, is within its budget.
    """
    if fits(text):
        return text
    newlines = [match.start() for match in re.finditer("\n", text)]
    cut = _last_fitting(newlines, lambda end: fits(text[:end]), look=8)
    if cut is not None:
        return text[:cut]
    first_line = text[: newlines[0]] if newlines else text
    return _cut_by_characters(first_line, fits)


def _cut_by_characters(text: str, fits: Callable[[str], bool]) -> str | None:
    """The longest proper beginning of ``text`` that fits: what removing one character at a time finds."""

    def fits_to(end: int) -> bool:
        return fits(text[:end])

    ends = [0, *(match.end() for match in _WORD.finditer(text)), len(text)]
    low = _last_fitting(ends[:-1], fits_to, look=2)
    if low is None:
        return None
    high = min((end for end in ends if end > low), default=len(text))
    inside = _last_fitting(range(low + 1, high), fits_to, look=LOOK)
    return text[: low if inside is None else inside]


def _last_fitting(places: Sequence[int], fits_to: Callable[[int], bool], look: int) -> int | None:
    """The last of the ascending ``places`` that fits: bisection, then the ``look`` places above it one by
    one.
    """
    low, high = 0, len(places)
    while low < high:
        middle = (low + high) // 2
        if fits_to(places[middle]):
            low = middle + 1
        else:
            high = middle
    for above in range(min(low + look, len(places)) - 1, low - 1, -1):
        if fits_to(places[above]):
            return places[above]
    return places[low - 1] if low else None


def cut_words(text: str, fits: Callable[[str], bool], side: str) -> str:
    """``text`` less whole words of its left or right side until it fits; one word stays where nothing fits.

    Bisection, so exact for counters that never fall when a word is added.
    """
    words = [match.span() for match in _WORD.finditer(text)]
    low, high = 1, len(words)  # how many words stay
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_words(text, words, middle, side)):
            low = middle
        else:
            high = middle - 1
    return _words(text, words, low, side) if words else ""


def _words(text: str, spans: Sequence[tuple[int, int]], stay: int, side: str) -> str:
    return text[spans[-stay][0] : spans[-1][1]] if side == "left" else text[spans[0][0] : spans[stay - 1][1]]
