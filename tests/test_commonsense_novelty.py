"""Novelty: distances that are exact, and buckets that partition (invariants 2 and 3 of knowledge-base completion)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from rllib_ext.commonsense.buckets import (
    PUBLISHED_CUTS,
    SCHEMES,
    bucketize,
    fixed_cuts,
    partners,
    pooled_thirds,
    positive_thirds,
)
from rllib_ext.commonsense.novelty import NoveltyIndex, phrase_means
from rllib_ext.commonsense.synthetic import synthetic_kb
from rllib_ext.commonsense.triples import Triples, Vocabulary
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.functional.nearest_pair import MOST_QUERIES, PairSet, nearest_pairs

TRAIN = [
    ("dog", "IsA", "animal"),
    ("hot dog", "IsA", "food"),
    ("dog", "IsA", "animal"),
    ("cat", "CapableOf", "chase a mouse"),
    ("mouse", "HasA", "tail"),
]


def vectors_of(vocabulary: Vocabulary, seed: int = 0, dimensions: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(vocabulary.words), dimensions)).astype(np.float32)


def pairs(draw: np.random.Generator, count: int, points: tuple[np.ndarray, np.ndarray]) -> PairSet:
    rows = (draw.integers(len(table), size=count) for table in points)
    return PairSet(*points, *rows)


def by_hand(queries: PairSet, known: PairSet) -> np.ndarray:
    asked, have = (one.points(np.arange(len(one))) for one in (queries, known))
    return sum(cdist(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(asked, have, strict=True))


@given(
    seed=st.integers(0, 2**31), scale=st.sampled_from([1e-3, 1.0, 1e3]), offset=st.sampled_from([0.0, 50.0])
)
@settings(max_examples=15, deadline=None)
def test_the_search_agrees_with_scipy(seed: int, scale: float, offset: float) -> None:
    """Few points and many pairs, so that ties and distances of 0 are frequent; far from the origin, products cancel."""
    draw = np.random.default_rng(seed)
    points = tuple((offset + scale * draw.normal(size=(12, 9))).astype(np.float32) for _ in range(2))
    known, queries = pairs(draw, 60, points), pairs(draw, 40, points)
    full = by_hand(queries, known)
    found, row = nearest_pairs(queries, known)
    np.testing.assert_allclose(found, full.min(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(row, full.argmin(axis=1))  # the first of equal ones


def test_the_search_is_the_same_in_blocks_of_one_query() -> None:
    draw = np.random.default_rng(1)
    points = tuple(draw.normal(size=(300, 5)).astype(np.float32) for _ in range(2))
    known, queries = pairs(draw, 3000, points), pairs(draw, MOST_QUERIES + 3, points)
    at_once, one_by_one = (nearest_pairs(queries, known, memory_bytes=size) for size in (2**28, 1))
    for found, same in zip(at_once, one_by_one, strict=True):
        np.testing.assert_array_equal(found, same)
    np.testing.assert_allclose(at_once[0], by_hand(queries, known).min(axis=1), rtol=1e-12)


def test_c3_kbc_02_distance_is_0_exactly_where_both_means_are_those_of_a_training_triple() -> None:
    train = Triples.from_text(TRAIN)
    index = NoveltyIndex.fit(train, vectors_of(train.vocabulary))
    asked = [
        ("dog hot", "HasA", "food"),  # another order and relation: the means are the same
        ("dog dog", "IsA", "animal"),  # twice the same word has its mean
        ("dog", "IsA", "food"),  # both phrases are known, in different triples
        ("hot", "IsA", "food"),
    ]
    found = index.nearest(Triples.from_text(asked, train.vocabulary))
    assert (found.distance_N == 0).tolist() == [True, True, False, False]
    assert found.row_N[:2].tolist() == [1, 0]  # of the repeated triple the first


def test_c3_kbc_02_on_a_whole_knowledge_base() -> None:
    base = synthetic_kb(0, train=1500, evaluation=100, phrases_per_type=12)
    vectors = vectors_of(base.vocabulary, dimensions=16)
    index = NoveltyIndex.fit(base.train, vectors)
    assert (index.distance(base.train) == 0).all()
    train_bags = set(map(bags, *sides(base.train)))
    test_bags = list(map(bags, *sides(base.test)))
    np.testing.assert_array_equal(index.distance(base.test) == 0, [one in train_bags for one in test_bags])


def sides(triples: Triples) -> tuple[list, list]:
    return [triples.text(i)[0] for i in range(len(triples))], [
        triples.text(i)[2] for i in range(len(triples))
    ]


def bags(head: str, tail: str) -> tuple:
    return tuple(sorted(head.split())), tuple(sorted(tail.split()))


def test_the_distance_is_the_published_formula() -> None:
    train = Triples.from_text(TRAIN)
    vectors = vectors_of(train.vocabulary)
    index = NoveltyIndex.fit(train, vectors)
    word = train.vocabulary.word_ids
    found = index.nearest(Triples.from_text([("hot mouse", "IsA", "food")], train.vocabulary))
    head = (vectors[word["hot"]] + vectors[word["mouse"]]) / 2
    each = [
        np.linalg.norm(head - np.mean([vectors[word[w]] for w in h.split()], axis=0))
        + np.linalg.norm(vectors[word["food"]] - np.mean([vectors[word[w]] for w in t.split()], axis=0))
        for h, _, t in TRAIN
    ]
    assert found.distance_N[0] == pytest.approx(min(each), rel=1e-6)
    assert found.row_N[0] == int(np.argmin(each))


def test_padding_does_not_move_a_mean() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    short, _ = phrase_means(np.array([[2, 3]]), vectors)
    long, row = phrase_means(np.array([[2, 3, 0, 0], [3, 2, 0, 0]]), vectors)
    np.testing.assert_array_equal(short, long)
    assert row.tolist() == [0, 0]


def test_what_an_index_refuses() -> None:
    train = Triples.from_text(TRAIN)
    vectors = vectors_of(train.vocabulary)
    with pytest.raises(BadConfig, match="one row for each"):
        NoveltyIndex.fit(train, vectors[:-1])
    with pytest.raises(BadData, match="not finite"):
        NoveltyIndex.fit(train, np.full_like(vectors, np.nan))
    with pytest.raises(BadData, match="empty"):
        NoveltyIndex.fit(train.take(slice(0, 0)), vectors)
    with pytest.raises(BadData, match="another vocabulary"):
        NoveltyIndex.fit(train, vectors).distance(Triples.from_text([("fish", "IsA", "animal")]))


@given(
    distances=st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.22, 4.0, 4.31, 9.0]) | st.floats(0, 10), min_size=1),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_c3_kbc_03_buckets_partition_the_set(distances: list[float], seed: int) -> None:
    distance_N = np.array(distances)
    labels = np.random.default_rng(seed).integers(2, size=len(distance_N))
    labels[0] = 1
    partner = np.where(labels == 0, 0, -1)
    for found in (
        pooled_thirds(distance_N),
        positive_thirds(distance_N, labels),
        positive_thirds(distance_N, labels, partner),
        fixed_cuts(distance_N),
    ):
        together = sum(mask.astype(int) for mask in found.masks().values())
        assert (together == 1).all()
        assert sum(found.sizes.values()) == len(distance_N)
        by_own = labels == 1 if found.scheme == "positive_thirds" else np.ones(len(labels), bool)
        order = np.argsort(distance_N[by_own], kind="stable")
        assert (np.diff(found.bucket_N[by_own][order]) >= 0).all()  # nearer is never in a farther bucket


def test_thirds_are_thirds_where_distances_differ() -> None:
    distance_N = np.random.default_rng(0).permutation(300).astype(float)
    assert pooled_thirds(distance_N).sizes == {"near": 100, "middle": 100, "far": 100}


def test_the_order_of_the_file_does_not_decide() -> None:
    """Ten triples at one distance, the true ones first: cut by rank, the true ones would be nearer."""
    found = pooled_thirds(np.full(10, 2.5))
    assert len(set(found.bucket_N)) == 1


def test_fixed_cuts_are_the_published_ones() -> None:
    found = fixed_cuts(np.array([3.22, 3.23, 4.31, 4.32]))
    assert found.cuts == PUBLISHED_CUTS and found.bucket_N.tolist() == [0, 1, 1, 2]


def test_positive_thirds_put_a_negative_beside_its_positive() -> None:
    rows = [
        ("dog", "IsA", "animal"), ("cat", "IsA", "pet"), ("sun", "HasProperty", "hot"),
        ("dog", "IsA", "stone"),  # of row 0, the one at its place
        ("cat", "HasProperty", "pet"),  # of row 1
        ("night", "HasProperty", "hot"),  # of row 2
    ]  # fmt: skip
    triples = Triples.from_text(rows, labels=[1, 1, 1, 0, 0, 0])
    assert partners(triples).tolist() == [-1, -1, -1, 0, 1, 2]
    found = bucketize("positive_thirds", np.array([0.0, 1.0, 2.0, 9.0, 9.0, 0.0]), triples)
    assert found.bucket_N.tolist() == [0, 1, 2, 0, 1, 2]
    shuffled = triples.take(np.array([5, 1, 3, 0, 2, 4]))
    assert partners(shuffled).tolist() == [4, -1, 3, -1, -1, 1]


def test_a_negative_without_a_partner_goes_by_its_own_distance() -> None:
    triples = Triples.from_text([("a", "IsA", "b"), ("c", "IsA", "d"), ("e", "HasA", "f")], labels=[1, 1, 0])
    assert partners(triples).tolist() == [-1, -1, -1]
    assert bucketize("positive_thirds", np.array([0.0, 1.0, 9.0]), triples).bucket_N[2] == 2


def test_wrong_schemes_and_cuts_are_named() -> None:
    triples = Triples.from_text([("a", "IsA", "b")], labels=[0])
    assert set(SCHEMES) == {"pooled_thirds", "positive_thirds", "fixed_cuts"}
    with pytest.raises(BadConfig, match="pooled_thirds"):
        bucketize("poled_thirds", np.ones(1), triples)
    with pytest.raises(BadConfig, match="smaller one first"):
        fixed_cuts(np.ones(1), (4.0, 3.0))
    with pytest.raises(BadData, match="no distances"):
        pooled_thirds(np.empty(0))
    with pytest.raises(BadData, match="needs true triples"):
        bucketize("positive_thirds", np.ones(1), triples)
