"""Prompts, summaries and pairs of the controlled TL;DR, drawn by NumPy in blocks.

A prompt is 22 to 32 words (uniform), the last of them ``TL;DR:``. Four distinct keys, each with a marker
before it, stand at random places among filler words. A summary should be the keys in order. ``noisy``
summaries leave out each key with probability ``drop`` and put a wrong word (a filler word, or a key that is
not in the prompt) into each of the five gaps around the keys with probability ``insert``. A summary that
would be empty keeps one key at random, so the realised drop rate is drop - drop^4 (1 - insert)^5 / 4. In
closed form, for the reference noise 0.30 / 0.20:

    perfect summaries   (1 - drop)^4 (1 - insert)^5 = 0.0787          so the win-rate ceiling is 0.9213

Everything is a function of (seed, split, index): item i does not depend on how many are drawn. Random
numbers come from one generator for each block of ``BLOCK`` items and each purpose, so a change of noise
moves no prompt.

Splits are disjoint by construction, not by luck: the sum of a prompt's four key numbers, modulo 24, is 0 in
validation, 1 in test and anything else in train. No prompt can be in two of them, nor any set of four keys.

Source: this package's own task; ``controlled.py`` says what it is after. Left out: unmarked keys in the
prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.errors import BadData
from envs.text.controlled_words import FILLER, KEYS, MARKERS, vocabulary

BLOCK = 1024
MARKED = 4
SHORTEST, LONGEST = 22, 32
RESIDUES = {"train": tuple(range(2, len(KEYS))), "validation": (0,), "test": (1,)}
DEMONSTRATION_NOISE = (0.45, 0.35)
REFERENCE_NOISE = (0.30, 0.20)
_PURPOSES = ("prompt", "reference", "demonstration", "pair", "row")
_WORDS = np.array(vocabulary(), dtype=object)
_FIRST_FILLER, _FIRST_MARKER, _END = len(KEYS), len(KEYS) + len(FILLER), len(_WORDS) - 1
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Prompts:
    """``words_NL``: word numbers, of which a row's first ``length_N`` count; ``keys_NM``: its keys in
    order.
    """

    words_NL: Ints
    length_N: Ints
    keys_NM: Ints

    def texts(self) -> list[str]:
        rows = _WORDS[self.words_NL].tolist()
        return [" ".join(row[:length]) for row, length in zip(rows, self.length_N.tolist(), strict=True)]


def generator(seed: int, split: str, purpose: str, block: int) -> np.random.Generator:
    """The random numbers of one block of one split for one purpose."""
    if split not in RESIDUES:
        raise BadData(f"split is {split!r}; the controlled task has {', '.join(RESIDUES)}.")
    if seed < 0:
        raise BadData(f"seed is {seed}; the controlled task needs 0 or more.")
    key = (seed, tuple(RESIDUES).index(split), _PURPOSES.index(purpose), block)
    return np.random.default_rng(np.random.SeedSequence(key))


def prompt_block(seed: int, split: str, block: int) -> Prompts:
    """Prompts ``block * BLOCK`` to ``(block + 1) * BLOCK - 1`` of a split."""
    rng = generator(seed, split, "prompt", block)
    keys_NM = _distinct_keys(rng, np.array(RESIDUES[split]))
    length_N = rng.integers(SHORTEST, LONGEST + 1, BLOCK)
    words_NL = rng.integers(_FIRST_FILLER, _FIRST_MARKER, (BLOCK, LONGEST))
    # A slot holds one filler word or one marker with its key: a prompt of L words has L - 1 - MARKED slots.
    order_NS = rng.random((BLOCK, LONGEST - 1 - MARKED))
    order_NS[np.arange(order_NS.shape[1]) >= (length_N - 1 - MARKED)[:, None]] = np.inf
    slot_NM = np.sort(np.argsort(order_NS, axis=1)[:, :MARKED], axis=1)
    marker_NM = slot_NM + np.arange(MARKED)
    rows_N1 = np.arange(BLOCK)[:, None]
    words_NL[rows_N1, marker_NM] = rng.integers(_FIRST_MARKER, _FIRST_MARKER + len(MARKERS), (BLOCK, MARKED))
    words_NL[rows_N1, marker_NM + 1] = keys_NM
    words_NL[np.arange(BLOCK), length_N - 1] = _END
    return Prompts(words_NL, length_N, keys_NM)


def _distinct_keys(rng: np.random.Generator, residues: Ints) -> Ints:
    """Four distinct keys a row, uniform over those whose sum is one of ``residues`` modulo the number of
    keys.

    Three are drawn and the sum's residue is drawn; that fixes the fourth. Rows with a repeated key are
    drawn again, and since every row of distinct keys is equally likely before, it is so after.
    """
    keys_NM = np.zeros((BLOCK, MARKED), dtype=np.int64)
    todo = np.arange(BLOCK)
    while todo.size:
        three = rng.integers(0, len(KEYS), (todo.size, MARKED - 1))
        fourth = (residues[rng.integers(0, len(residues), todo.size)] - three.sum(axis=1)) % len(KEYS)
        keys_NM[todo] = np.concatenate([three, fourth[:, None]], axis=1)
        ordered = np.sort(keys_NM[todo], axis=1)
        todo = todo[(ordered[:, 1:] == ordered[:, :-1]).any(axis=1)]
    return keys_NM


def noisy_block(rng: np.random.Generator, keys_NM: Ints, drop: float, insert: float) -> list[str]:
    """One noisy summary for each row of keys, words joined by spaces and one space before the first."""
    if not (0 <= drop <= 1 and 0 <= insert <= 1):
        raise BadData(f"drop is {drop} and insert is {insert}; both are probabilities, 0 to 1.")
    rows = len(keys_NM)
    keep_NM = rng.random((rows, MARKED)) >= drop
    insert_NG = rng.random((rows, MARKED + 1)) < insert
    wrong_NG = rng.integers(0, _FIRST_MARKER - MARKED, (rows, MARKED + 1))
    for key_N in np.sort(
        keys_NM, axis=1
    ).T:  # number the words that are no key of this prompt: step over each key
        wrong_NG += wrong_NG >= key_N[:, None]
    spared_N = rng.integers(0, MARKED, rows)
    empty_N = ~(keep_NM.any(axis=1) | insert_NG.any(axis=1))
    keep_NM[empty_N, spared_N[empty_N]] = True
    words_NC = np.empty((rows, 2 * MARKED + 1), dtype=np.int64)
    used_NC = np.empty((rows, 2 * MARKED + 1), dtype=bool)
    words_NC[:, 0::2], words_NC[:, 1::2] = wrong_NG, keys_NM
    used_NC[:, 0::2], used_NC[:, 1::2] = insert_NG, keep_NM
    return [" " + " ".join(row[used]) for row, used in zip(_WORDS[words_NC], used_NC, strict=True)]


def with_summaries(
    split: str, seed: int, purpose: str, noise: tuple[float, float], candidates: int = 1
) -> Iterator[tuple[str, list[str], Ints]]:
    """Endless (prompt, ``candidates`` noisy summaries, key numbers), in index order."""
    block = 0
    while True:
        prompts = prompt_block(seed, split, block)
        rng = generator(seed, split, purpose, block)
        drawn = [noisy_block(rng, prompts.keys_NM, *noise) for _ in range(candidates)]
        yield from zip(prompts.texts(), map(list, zip(*drawn, strict=True)), prompts.keys_NM, strict=True)
        block += 1
