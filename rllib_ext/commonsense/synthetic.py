"""A knowledge base that is made up, for machines without the data: latent types, phrases as bags of words, and a block of
pairs of types that training never shows.

Every phrase has a type; its words are drawn from the type's own words and from words that say nothing. Types belong to
topics. What makes (head, relation, tail) plausible is one of two rules::

    depends_on="pair"    the topics of head and tail are the same: no part of the triple says it alone
    depends_on="parts"   the relation admits the type of the head, and it admits the type of the tail

(under "pair" every relation admits every type; under "parts" topics mean nothing). Scorers that see only (head, relation)
and (relation, tail) are at chance under "pair" by construction, because the negatives have the same heads, relations and
tails as the positives have.

Of every topic, ``held_out`` types as heads with as many others as tails make the *block*: such pairs are in no training
triple, nor in dev1, dev2 and test, while each of these types appears, as head and as tail, with the others. ``novel`` has
positives from the block (pairs of one topic) and negatives from it (pairs of two topics), of the same types. A nearest
neighbour finds each of them equally far from training, so with vectors that know nothing of topics (random ones) it is at
chance there. The topic is in no word: it can only be inferred from who goes with whom. Labels are those of the rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_ext.commonsense.triples import (
    PADDING_WORD,
    UNKNOWN_WORD,
    KnowledgeBase,
    Triples,
    Vocabulary,
    padded,
    stacked,
)
from rllib_ext.errors import BadConfig

RULES = ("pair", "parts")
TYPE_WORDS = 4  # words of each type
FILLERS = 40  # words that say nothing
TRIES = 200  # rounds of drawing before a setting is called infeasible
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rule:
    """What is plausible: the topic of every type, and which types each relation admits as heads and as tails."""

    topic_T: Ints
    heads_RT: NDArray[np.bool_]
    tails_RT: NDArray[np.bool_]
    block_heads_T: NDArray[np.bool_]  # types of the block as heads
    block_tails_T: NDArray[np.bool_]  # and as tails
    depends_on: str

    def holds(self, heads: Ints, relations: Ints, tails: Ints) -> NDArray[np.bool_]:
        """Whether triples of types are plausible."""
        if self.depends_on == "pair":
            return self.topic_T[heads] == self.topic_T[tails]
        return self.heads_RT[relations, heads] & self.tails_RT[relations, tails]

    def in_block(self, heads: Ints, tails: Ints) -> NDArray[np.bool_]:
        return self.block_heads_T[heads] & self.block_tails_T[tails]


@dataclass(frozen=True)
class _World:
    """Phrases with their types, and the rule."""

    rule: Rule
    vocabulary: Vocabulary
    words_PL: Ints
    type_P: Ints


def synthetic_kb(
    seed: int = 0,
    *,
    train: int = 12_000,
    evaluation: int = 600,
    topics: int = 4,
    types_per_topic: int = 6,
    held_out: int = 2,
    phrases_per_type: int = 40,
    relations: int = 4,
    depends_on: str = "pair",
) -> KnowledgeBase:
    """The base of a seed; equal arguments give equal arrays.

    train: triples stated as true. evaluation: triples of each of dev1, dev2, test and novel, half of them true. Raises
    BadConfig where there are not so many different ones.
    """
    _check(train, evaluation, topics, types_per_topic, held_out, phrases_per_type, relations, depends_on)
    draw = np.random.default_rng(np.random.SeedSequence([seed, 20180425]))
    world = _world(draw, topics, types_per_topic, held_out, phrases_per_type, relations, depends_on)
    taken = np.zeros(0, np.uint64)
    parts: dict[str, Triples] = {}
    for name, count, block in (
        ("train", train, False), ("dev1", evaluation, False), ("dev2", evaluation, False),
        ("test", evaluation, False), ("novel", evaluation, True),
    ):  # fmt: skip
        positives = _drawn(draw, world, count if name == "train" else count // 2, block, True, taken)
        taken = np.concatenate([taken, positives.keys()])
        if name == "train":
            parts[name] = positives
            continue
        negatives = _drawn(draw, world, count // 2, block, False, taken)
        taken = np.concatenate([taken, negatives.keys()])
        parts[name] = _both(positives, negatives)
    return KnowledgeBase(**parts)


def _world(
    draw: np.random.Generator,
    topics: int,
    types_per_topic: int,
    held_out: int,
    phrases_per_type: int,
    relations: int,
    depends_on: str,
) -> _World:
    types = topics * types_per_topic
    topic_T = np.repeat(np.arange(topics), types_per_topic)
    admits = np.ones((2, relations, types), bool)
    if depends_on == "parts":
        for part in admits.reshape(-1, types):  # one half of each topic, so that every block has both kinds
            for topic in range(topics):
                inside = np.flatnonzero(topic_T == topic)
                part[draw.choice(inside, len(inside) // 2, replace=False)] = False
    block = np.zeros((2, types), bool)
    for topic in range(topics):
        chosen = draw.choice(np.flatnonzero(topic_T == topic), 2 * held_out, replace=False)
        block[0, chosen[:held_out]], block[1, chosen[held_out:]] = True, True
    rule = Rule(topic_T, admits[0], admits[1], block[0], block[1], depends_on)
    fillers = tuple(f"filler{index}" for index in range(FILLERS))
    own = tuple(f"type{index // TYPE_WORDS}word{index % TYPE_WORDS}" for index in range(types * TYPE_WORDS))
    vocabulary = Vocabulary(
        (PADDING_WORD, UNKNOWN_WORD, *fillers, *own), tuple(f"relation{index}" for index in range(relations))
    )
    words_PL, type_P = _phrases(draw, types, phrases_per_type)
    return _World(rule, vocabulary, words_PL, type_P)


def _phrases(draw: np.random.Generator, types: int, each: int) -> tuple[Ints, Ints]:
    """Different phrases of one or two words of the type, some with a filler before them."""
    first_own = 2 + FILLERS
    rows: dict[tuple[int, ...], int] = {}
    for kind in range(types):
        own = first_own + kind * TYPE_WORDS
        wanted = len(rows) + each
        while len(rows) < wanted:
            said = own + draw.choice(TYPE_WORDS, draw.integers(1, 3), replace=False)
            noise = 2 + draw.choice(FILLERS, draw.integers(0, 2), replace=False)
            rows.setdefault((*noise.tolist(), *said.tolist()), kind)
    return padded(list(rows)), np.array(list(rows.values()), np.int64)


def _drawn(
    draw: np.random.Generator,
    world: _World,
    count: int,
    block: bool,
    plausible: bool,
    taken: NDArray[np.uint64],
) -> Triples:
    """So many new triples, in or outside the block, that the rule holds for or not.

    Candidates are drawn uniformly over phrases and relations, so heads, relations and tails are distributed alike among
    the plausible and the implausible where the rule looks at the pair.
    """
    rule, kept, found = world.rule, [], 0
    for _ in range(TRIES):
        size = max(4 * count, 1024)
        heads, tails = draw.integers(len(world.type_P), size=(2, size))
        relations = draw.integers(len(rule.heads_RT), size=size)
        head_types, tail_types = world.type_P[heads], world.type_P[tails]
        right = rule.in_block(head_types, tail_types) == block
        right &= rule.holds(head_types, relations, tail_types) == plausible
        chosen = _triples(world, heads[right], relations[right], tails[right])
        keys = chosen.keys()
        _, first = np.unique(keys, return_index=True)
        fresh = np.zeros(len(keys), bool)
        fresh[first] = True
        fresh &= ~np.isin(keys, taken)
        chosen = chosen.take(fresh)
        taken = np.concatenate([taken, chosen.keys()])
        kept.append(chosen)
        found += len(chosen)
        if found >= count:
            return stacked(*kept).take(slice(0, count))
    raise BadConfig(
        f"only {found} of {count} different {'plausible' if plausible else 'implausible'} triples "
        f"{'of the block' if block else 'outside the block'} were found; ask for fewer (train, evaluation) or raise "
        "phrases_per_type or relations"
    )


def _triples(world: _World, heads: Ints, relations: Ints, tails: Ints) -> Triples:
    return Triples(world.words_PL[heads], relations, world.words_PL[tails], world.vocabulary)


def _both(positives: Triples, negatives: Triples) -> Triples:
    """Positives first, as in the published files."""
    return stacked(positives.labelled(1), negatives.labelled(0))


def _check(
    train: int,
    evaluation: int,
    topics: int,
    types_per_topic: int,
    held_out: int,
    phrases_per_type: int,
    relations: int,
    depends_on: str,
) -> None:
    if depends_on not in RULES:
        raise BadConfig(f"depends_on is {depends_on!r}; it must be one of {', '.join(map(repr, RULES))}")
    most = TYPE_WORDS * 60  # far from the number of different phrases of a type
    for name, value, low, high in (
        ("train", train, 1, 10**7), ("evaluation", evaluation, 2, 10**6), ("topics", topics, 2, 100),
        ("types_per_topic", types_per_topic, 2, 100), ("held_out", held_out, 1, types_per_topic // 2),
        ("phrases_per_type", phrases_per_type, 1, most), ("relations", relations, 1, 1000),
    ):  # fmt: skip
        if not low <= value <= high:
            raise BadConfig(f"{name} is {value}; it must be in [{low}, {high}]")
    if evaluation % 2:
        raise BadConfig(f"evaluation is {evaluation}; it must be even: half of the triples are true")
