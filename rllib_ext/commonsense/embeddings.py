"""The vectors that words begin with: from a text file, from the training triples themselves, or random.

file       a word and its numbers a line (the published skip-gram vectors, GloVe); a first line of two integers, as
           word2vec writes, is skipped
ppmi_svd   of the training triples: counts of words in one triple, and of words with (relation, side); positive pointwise
           mutual information max(0, log p(w, c) / p(w) p(c)); the first D left singular vectors times the roots of their
           singular values (Levy & Goldberg 2014); each word at length 2
random     normal, of expected length 2

Words without a vector of their own, the unknown word among them, share one: the file's own for unknown words
(``UUUNKKK``, ``<unk>``) or else the mean of all. Padding is 0. Words of evaluation sets that training lacks have a vector
only with a file: the other two know training alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rllib_ext.commonsense.triples import PADDING, UNKNOWN, Triples, Vocabulary
from rllib_ext.errors import BadConfig, BadData

RANDOM, PPMI_SVD = "random", "ppmi_svd"
LENGTH = 2.0
DENSE = 1000  # words; the whole decomposition of so few takes less than a second
UNKNOWN_WORDS = ("UUUNKKK", "<unk>", "unk")
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class WordVectors:
    """vectors: [V, D]. found: the share of the vocabulary's words (reserved ones aside) that has one of its own."""

    vectors: Vectors
    found: float
    source: str


def word_vectors(source: str, train: Triples, size: int, seed: int) -> WordVectors:
    """By name, or from the file of that path."""
    if source == RANDOM:
        return random_vectors(train.vocabulary, size, seed)
    if source == PPMI_SVD:
        return ppmi_svd(train, size, seed)
    found = read_vectors(source, train.vocabulary)
    if found.vectors.shape[1] != size:
        raise BadConfig(
            f"word_size is {size} but the vectors of {source} have {found.vectors.shape[1]} numbers; set "
            f"word_size={found.vectors.shape[1]}"
        )
    return found


def random_vectors(vocabulary: Vocabulary, size: int, seed: int) -> WordVectors:
    """Normal; every word has its own."""
    draw = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    vectors = draw.normal(0.0, LENGTH / np.sqrt(size), (len(vocabulary.words), size)).astype(np.float32)
    vectors[PADDING] = 0.0
    return WordVectors(vectors, 1.0, RANDOM)


def read_vectors(path: str | Path, vocabulary: Vocabulary) -> WordVectors:
    """From a text file. Raises BadData with the line where one is no vector."""
    ids, vectors, own, unknown = vocabulary.word_ids, None, None, None
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                word, _, rest = line.rstrip().partition(" ")
                if (word not in ids and word not in UNKNOWN_WORDS) or (number == 1 and _is_header(line)):
                    continue
                row = _row(rest, f"{path}, line {number}")
                if vectors is None:
                    vectors = np.zeros((len(ids), len(row)), np.float32)
                    own = np.zeros(len(ids), bool)
                if len(row) != vectors.shape[1]:
                    raise BadData(f"{path}, line {number}: {len(row)} numbers, {vectors.shape[1]} before it")
                if word in ids:
                    vectors[ids[word]], own[ids[word]] = row, True
                if word in UNKNOWN_WORDS and unknown is None:
                    unknown = row
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path} is no readable file of word vectors ({error})") from error
    if vectors is None or own is None:
        raise BadData(
            f"{path} has no vector of any of the {len(ids)} words; is it of another language or form?"
        )
    return _filled(vectors, own, unknown, str(path))


def _is_header(line: str) -> bool:
    parts = line.split()
    return len(parts) == 2 and all(part.isdigit() for part in parts)


def _row(text: str, where: str) -> Vectors:
    try:
        row = np.array(text.split(), np.float32)
    except ValueError as error:
        raise BadData(f"{where}: {error}") from error
    if not len(row) or not np.isfinite(row).all():
        raise BadData(f"{where}: a word must be followed by finite numbers")
    return row


def _filled(vectors: Vectors, own: NDArray[np.bool_], unknown: Vectors | None, source: str) -> WordVectors:
    """Words without a vector get the one of unknown words."""
    own[[PADDING, UNKNOWN]] = False
    vectors[~own] = vectors[own].mean(0) if unknown is None else unknown
    vectors[PADDING] = 0.0
    return WordVectors(vectors, float(own[2:].mean()) if len(own) > 2 else 0.0, source)


def ppmi_svd(train: Triples, size: int, seed: int) -> WordVectors:
    """From the training triples."""
    from scipy.sparse import csr_matrix, diags, hstack
    from scipy.sparse.linalg import svds

    words = len(train.vocabulary.words)
    head, tail = _incidence(train.heads, words), _incidence(train.tails, words)
    sides = 2 * len(train.vocabulary.relations)
    place = np.arange(len(train))
    ones = np.ones(len(train), np.float32)
    shape = (len(train), sides)
    of_head = csr_matrix((ones, (place, 2 * train.relations)), shape)
    of_tail = csr_matrix((ones, (place, 2 * train.relations + 1)), shape)
    both = head + tail
    together = both.T @ both
    together -= diags(together.diagonal())
    counts = hstack([together, head.T @ of_head + tail.T @ of_tail]).tocoo()
    row, column = np.asarray(counts.sum(1)).ravel(), np.asarray(counts.sum(0)).ravel()
    with np.errstate(divide="ignore"):
        information = np.log(counts.data * counts.sum() / (row[counts.row] * column[counts.col]))
    counts.data = np.maximum(information, 0.0)  # of a count of 0, -inf: 0
    rank = min(size, min(counts.shape) - 1)
    if min(counts.shape) <= DENSE:  # ARPACK draws vectors of its own where singular values are equal
        left, singular, _ = np.linalg.svd(counts.toarray().astype(np.float64), full_matrices=False)
        left, singular = left[:, :rank], singular[:rank]
    else:
        first = np.random.default_rng(np.random.SeedSequence([seed, 12])).normal(size=min(counts.shape))
        left, singular, _ = svds(counts.tocsr().astype(np.float64), k=rank, v0=first)
        left, singular = left[:, ::-1], singular[::-1]
    vectors = np.zeros((words, size), np.float32)
    vectors[:, :rank] = left * np.sqrt(singular)
    lengths = np.linalg.norm(vectors, axis=1)
    own = lengths > 1e-6
    vectors[own] *= LENGTH / lengths[own, None]
    if not own.any():
        raise BadData(
            "the training triples say nothing of their words: no vector could be made; take random ones"
        )
    return _filled(vectors, own, None, PPMI_SVD)


def _incidence(phrases_NL: NDArray[np.int64], words: int) -> object:
    """[N, V]: how often each word is in each phrase. Padding and unknown words are none."""
    from scipy.sparse import csr_matrix

    place, at = np.nonzero(phrases_NL > UNKNOWN)
    data = np.ones(len(place), np.float32)
    return csr_matrix((data, (place, phrases_NL[place, at])), (len(phrases_NL), words))
