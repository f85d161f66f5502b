"""Triples as arrays, and the synthetic knowledge base: its labels are its rule, its block is in no training triple."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_ext.commonsense.synthetic import synthetic_kb
from rllib_ext.commonsense.triples import KnowledgeBase, Triples, Vocabulary, stacked
from rllib_ext.errors import BadConfig, BadData

ROWS = [("a small dog", "IsA", "animal"), ("dog", "CapableOf", "bark loudly"), ("dog", "IsA", "animal")]


def test_text_comes_back_and_unknown_words_have_one_id() -> None:
    made = Triples.from_text(ROWS, labels=[1, 0, 1])
    assert [made.text(index) for index in range(3)] == ROWS
    assert made.heads.shape == (3, 3) and made.tails.shape == (3, 2)
    other = Triples.from_text([("a red dog", "IsA", "zebra")], made.vocabulary)
    assert other.text(0) == ("a <unknown> dog", "IsA", "<unknown>")
    with pytest.raises(BadConfig, match="Did you mean 'IsA'"):
        Triples.from_text([("dog", "isa", "animal")], made.vocabulary)


def test_parts_are_taken_and_joined_with_what_belongs_to_them() -> None:
    made = Triples.from_text(ROWS, labels=[1, 0, 1], confidence=[3.0, 2.0, 1.0])
    joined = stacked(made.take(np.array([2])), made.take(np.array([True, True, False])))
    assert [joined.text(index) for index in range(3)] == [ROWS[2], ROWS[0], ROWS[1]]
    assert joined.labels.tolist() == [1, 1, 0] and joined.confidence.tolist() == [1.0, 3.0, 2.0]
    assert stacked(made, Triples.from_text(ROWS, made.vocabulary)).labels is None
    with pytest.raises(BadData, match="3 relations"):
        Triples(made.heads, made.relations, made.tails, made.vocabulary, labels=np.zeros(2, np.int64))
    with pytest.raises(BadData, match="empty phrase"):
        Triples(0 * made.heads, made.relations, made.tails, made.vocabulary)


def test_keys_tell_triples_apart_and_see_no_padding() -> None:
    vocabulary = Vocabulary.of([("a b c d", "R", "a b"), ("a", "S", "a")])
    rows = [("a b", "R", "c"), ("a", "R", "b c"), ("b a", "R", "c"), ("c", "R", "a b"), ("a b", "S", "c")]
    short = Triples.from_text(rows, vocabulary)
    wide = stacked(short, Triples.from_text([("a b c d", "R", "a b c d")], vocabulary))
    assert len(np.unique(short.keys())) == 5
    assert np.array_equal(short.keys(), wide.keys()[:5])


def test_all_triples_of_a_closed_world_have_different_keys() -> None:
    words, count = np.arange(2, 62), 60
    heads, tails = (grid.reshape(-1, 1) for grid in np.meshgrid(words, words))
    made = Triples(heads, np.zeros(count**2, np.int64), tails, Vocabulary(("<pad>", "<unknown>"), ("R",)))
    assert len(np.unique(made.keys())) == count**2


def test_parts_of_a_base_share_a_vocabulary_and_have_labels() -> None:
    made = Triples.from_text(ROWS)
    with pytest.raises(BadData, match="dev1 has no labels"):
        KnowledgeBase(made, made, made, made)
    other = Triples.from_text(ROWS[:1], labels=[1])
    with pytest.raises(BadData, match="another vocabulary"):
        KnowledgeBase(made, other, other, other)


def types_of(base: KnowledgeBase, phrases: np.ndarray) -> np.ndarray:
    """The type of each phrase, read off its last word."""
    last = phrases[np.arange(len(phrases)), (phrases != 0).sum(1) - 1]
    return np.array([int(base.vocabulary.words[word].split("word")[0].removeprefix("type")) for word in last])


@pytest.mark.parametrize("seed", [0, 5])
def test_synthetic_labels_are_the_topics_and_the_block_is_held_out(seed: int) -> None:
    base = synthetic_kb(seed, train=3000, evaluation=200)
    pairs = {
        name: (types_of(base, part.heads), types_of(base, part.tails))
        for name, part in base.evaluated.items()
    }
    for name, (heads, tails) in pairs.items():
        part = base.evaluated[name]
        assert np.array_equal(heads // 6 == tails // 6, part.labels == 1)  # six types a topic
        assert part.labels.sum() == 100
    heads, tails = types_of(base, base.train.heads), types_of(base, base.train.tails)
    assert (heads // 6 == tails // 6).all()
    seen = set(zip(heads.tolist(), tails.tolist(), strict=True))
    novel_heads, novel_tails = pairs["novel"]
    assert not seen & set(zip(novel_heads.tolist(), novel_tails.tolist(), strict=True))
    assert set(novel_heads) <= set(heads) and set(novel_tails) <= set(tails)  # each of them seen, with others
    assert len(set(novel_heads)) == len(set(novel_tails)) == 4 * 2 and not set(novel_heads) & set(novel_tails)
    assert len(seen) == 4 * (36 - 4)


def test_synthetic_parts_are_disjoint_and_a_seed_is_a_base() -> None:
    base, again, other = (synthetic_kb(seed, train=2000, evaluation=200) for seed in (3, 3, 4))
    keys = np.concatenate([base.train.keys(), *(part.keys() for part in base.evaluated.values())])
    assert len(np.unique(keys)) == len(keys) == 2800
    assert np.array_equal(base.train.heads, again.train.heads) and np.array_equal(
        base.novel.tails, again.novel.tails
    )
    assert not np.array_equal(base.train.heads, other.train.heads)


def test_under_parts_each_slot_says_it_by_itself() -> None:
    base = synthetic_kb(0, train=2000, evaluation=200, depends_on="parts")
    heads, tails = types_of(base, base.train.heads), types_of(base, base.train.tails)
    admitted_heads = set(zip(base.train.relations.tolist(), heads.tolist(), strict=True))
    admitted_tails = set(zip(base.train.relations.tolist(), tails.tolist(), strict=True))
    for part in base.evaluated.values():
        head_fits = [
            pair in admitted_heads for pair in zip(part.relations, types_of(base, part.heads), strict=True)
        ]
        tail_fits = [
            pair in admitted_tails for pair in zip(part.relations, types_of(base, part.tails), strict=True)
        ]
        assert np.array_equal(np.array(head_fits) & np.array(tail_fits), part.labels == 1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"depends_on": "pears"}, "depends_on is 'pears'"),
        ({"held_out": 4}, r"held_out is 4; it must be in \[1, 3\]"),
        ({"evaluation": 201}, "must be even"),
        (
            {"phrases_per_type": 2, "train": 5000, "relations": 1},
            "different plausible triples outside the block",
        ),
    ],
)
def test_what_cannot_be_made_is_said(settings: dict, says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        synthetic_kb(0, **settings)
