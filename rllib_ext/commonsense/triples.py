"""Triples of free phrases as arrays: (head phrase, relation, tail phrase), with labels or confidences where given.

A phrase is a row of word ids, padded with 0 behind its last word; id 1 stands for every word that the vocabulary lacks.
Relations are a closed set, phrases are not: a phrase that no one has seen is as good an input as another, which is what
sets this apart from embeddings of a fixed set of entities. Source of the task: Li et al. 2016; Jastrzębski et al. 2018
(arXiv 1804.09259). No learning here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadData, unknown_name

PADDING, UNKNOWN = 0, 1
PADDING_WORD, UNKNOWN_WORD = "<pad>", "<unknown>"
Ints = NDArray[np.int64]
Text = tuple[str, str, str]  # head, relation, tail


@dataclass(frozen=True)
class Vocabulary:
    """Words by id, the first two reserved, and relations by id."""

    words: tuple[str, ...]
    relations: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[:2] != (PADDING_WORD, UNKNOWN_WORD):
            raise BadData(
                f"a vocabulary begins with {PADDING_WORD!r} and {UNKNOWN_WORD!r}, not {self.words[:2]}"
            )
        for kind, names in (("word", self.words), ("relation", self.relations)):
            if len(set(names)) < len(names):
                raise BadData(f"the vocabulary has the same {kind} twice; every {kind} has one id")

    @classmethod
    def of(cls, rows: Iterable[Text]) -> Vocabulary:
        """The words and relations of these triples, in the order of their first appearance."""
        words: dict[str, None] = dict.fromkeys((PADDING_WORD, UNKNOWN_WORD))
        relations: dict[str, None] = {}
        for head, relation, tail in rows:
            words.update(dict.fromkeys(head.split()))
            words.update(dict.fromkeys(tail.split()))
            relations[relation] = None
        return cls(tuple(words), tuple(relations))

    @cached_property
    def word_ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def relation_ids(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.relations)}

    def relation(self, name: str) -> int:
        """The id of a relation. Raises BadConfig with the nearest right name."""
        if name not in self.relation_ids:
            raise unknown_name("relation", name, self.relations)
        return self.relation_ids[name]

    def phrase(self, text: str) -> list[int]:
        """The ids of a phrase's words."""
        return [self.word_ids.get(word, UNKNOWN) for word in text.split()]

    def phrases(self, texts: Sequence[str]) -> Ints:
        """Word ids [N, L], padded to the longest."""
        return padded([self.phrase(text) for text in texts])

    def as_text(self, phrase_L: Sequence[int] | Ints) -> str:
        """The words of a row of ids."""
        return " ".join(self.words[index] for index in phrase_L if index != PADDING)


@dataclass(frozen=True)
class Triples:
    """N triples.

    heads, tails: word ids [N, L], each padded with 0 to a length of its own. relations: [N]. labels: [N], 1 plausible,
    0 not; None: all of them are stated as true. confidence: [N], of the source that states them; None where it gives
    none.
    """

    heads: Ints
    relations: Ints
    tails: Ints
    vocabulary: Vocabulary
    labels: Ints | None = None
    confidence: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.relations)
        for name in ("heads", "tails", "labels", "confidence"):
            found = getattr(self, name)
            if found is not None and len(found) != count:
                raise BadData(f"there are {len(found)} {name} for {count} relations; give as many")
        for name in ("heads", "tails"):
            found = getattr(self, name)
            if found.ndim != 2 or (count and not (found[:, :1] != PADDING).all()):
                raise BadData(
                    f"{name} must be rows [N, L] of word ids that begin with a word; an empty phrase is none"
                )

    @classmethod
    def from_text(
        cls,
        rows: Sequence[Text],
        vocabulary: Vocabulary | None = None,
        labels: Sequence[int] | None = None,
        confidence: Sequence[float] | None = None,
    ) -> Triples:
        """From words. Without a vocabulary, that of the rows."""
        vocabulary = vocabulary or Vocabulary.of(rows)
        return cls(
            heads=vocabulary.phrases([row[0] for row in rows]),
            relations=np.array([vocabulary.relation(row[1]) for row in rows], np.int64),
            tails=vocabulary.phrases([row[2] for row in rows]),
            vocabulary=vocabulary,
            labels=None if labels is None else np.array(labels, np.int64),
            confidence=None if confidence is None else np.array(confidence, np.float64),
        )

    def __len__(self) -> int:
        return len(self.relations)

    def text(self, index: int) -> Text:
        """One triple in words: head, relation, tail."""
        words = self.vocabulary
        relation = words.relations[self.relations[index]]
        return words.as_text(self.heads[index]), relation, words.as_text(self.tails[index])

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Triples:
        """Those of an index array, a mask or a slice."""
        return replace(
            self,
            heads=self.heads[chosen],
            relations=self.relations[chosen],
            tails=self.tails[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            confidence=None if self.confidence is None else self.confidence[chosen],
        )

    def labelled(self, label: int) -> Triples:
        """The same with one label for all."""
        return replace(self, labels=np.full(len(self), label, np.int64))

    def keys(self) -> NDArray[np.uint64]:
        """A number for every triple [N], equal where the triples are: see `keys_of`."""
        return keys_of(self.heads, self.relations, self.tails)


@dataclass(frozen=True)
class KnowledgeBase:
    """The parts of a data set, on one vocabulary.

    train: stated as true, without labels. dev1: where thresholds are fitted. dev2: where models are selected. test: the
    figures. novel: labelled triples of a kind that is not in train, where the data set says which; else None.
    """

    train: Triples
    dev1: Triples
    dev2: Triples
    test: Triples
    novel: Triples | None = None

    def __post_init__(self) -> None:
        for name in ("dev1", "dev2", "test", "novel"):
            part = getattr(self, name)
            if part is not None and part.labels is None:
                raise BadData(
                    f"{name} has no labels; make negatives for it (rllib_ext.commonsense.negatives)"
                )
            if part is not None and part.vocabulary != self.train.vocabulary:
                raise BadData(f"{name} has another vocabulary than train; read all parts with one")

    @property
    def vocabulary(self) -> Vocabulary:
        return self.train.vocabulary

    @property
    def evaluated(self) -> dict[str, Triples]:
        """The labelled parts by name."""
        parts = {"dev1": self.dev1, "dev2": self.dev2, "test": self.test}
        return parts if self.novel is None else {**parts, "novel": self.novel}


def padded(rows: Sequence[Sequence[int]]) -> Ints:
    """Rows of different lengths as one array [N, L] with 0 behind; L is 1 where there are none."""
    width = max((len(row) for row in rows), default=1) or 1
    found = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        found[index, : len(row)] = row
    return found


def stacked(first: Triples, *others: Triples) -> Triples:
    """One after the other; labels and confidences where all have them."""
    parts = (first, *others)

    def joined(name: str) -> Ints:
        arrays = [getattr(part, name) for part in parts]
        width = max(array.shape[1] for array in arrays)
        return np.concatenate([np.pad(array, ((0, 0), (0, width - array.shape[1]))) for array in arrays])

    def where_all(name: str) -> NDArray[np.generic] | None:
        arrays = [getattr(part, name) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    return replace(
        first,
        heads=joined("heads"),
        relations=np.concatenate([part.relations for part in parts]),
        tails=joined("tails"),
        labels=where_all("labels"),
        confidence=where_all("confidence"),
    )


_ODD = np.uint64(0x9E3779B97F4A7C15)


def keys_of(heads: Ints, relations: Ints, tails: Ints) -> NDArray[np.uint64]:
    """A 64-bit number for every triple, whatever its padding: the sum of its `key_parts`.

    Equal triples have equal numbers. Two different ones are confused with a probability of 2^-64; who asks whether any of
    some is among N known ones then refuses one candidate too many, and never accepts a known one.
    """
    head_N, relation_N, tail_N = key_parts(heads, relations, tails)
    return head_N + relation_N + tail_N


def key_parts(heads: Ints, relations: Ints, tails: Ints) -> tuple[NDArray[np.uint64], ...]:
    """What head, relation and tail add to the key of a triple, [N] each. Sums wrap around at 2^64.

    Each word is mixed with its place in its phrase and its slot; 0 adds nothing. The key of a triple that is put together
    from others needs only their parts.
    """
    relation_N = _mixed(relations.astype(np.uint64) + np.uint64(1), np.uint64(3))
    return _phrase_keys(heads, 1), relation_N, _phrase_keys(tails, 2)


def _phrase_keys(phrases_NL: Ints, slot: int) -> NDArray[np.uint64]:
    found = np.zeros(len(phrases_NL), np.uint64)
    for place in range(phrases_NL.shape[1]):
        words = phrases_NL[:, place].astype(np.uint64)
        salt = np.uint64(16 * (place + 1) + slot)
        found += np.where(words == 0, np.uint64(0), _mixed(words, salt))
    return found


def _mixed(values: NDArray[np.uint64], salt: np.uint64) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: a bijection of 64-bit numbers that leaves no pattern."""
    with np.errstate(over="ignore"):
        found = values + salt * _ODD * np.uint64(0x100000001)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))
