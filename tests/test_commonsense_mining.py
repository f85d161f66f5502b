"""Candidates out of text, and their ranking by a scorer, apart by novelty, beside the nearest training triple."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.commonsense.extraction import PATTERNS, extract, known_form
from rllib_ext.commonsense.mining import COLUMNS, Candidates, Mined, mine
from rllib_ext.commonsense.novelty import NoveltyIndex
from rllib_ext.commonsense.triples import Text, Triples, Vocabulary
from rllib_ext.errors import BadConfig, BadData

TRAIN: list[Text] = [
    ("dog", "IsA", "animal"),
    ("knife", "UsedFor", "cut bread"),
    ("cat", "CapableOf", "chase mouse"),
    ("book", "AtLocation", "library"),
]
RELATIONS = tuple(dict.fromkeys(relation for relation, _ in PATTERNS))
WORDS = (
    "<pad>",
    "<unknown>",
    "dog",
    "animal",
    "knife",
    "cut",
    "bread",
    "cat",
    "chase",
    "mouse",
    "book",
    "library",
    "hot",
)
EVERYTHING = Vocabulary(WORDS, RELATIONS)


@pytest.fixture
def index() -> NoveltyIndex:
    train = Triples.from_text(TRAIN, EVERYTHING)
    return NoveltyIndex.fit(train, np.random.default_rng(0).normal(size=(len(WORDS), 6)))


def by_length(triples: Triples) -> np.ndarray:
    """A scorer whose order is easy to say: the longer the phrases, the more plausible."""
    return ((triples.heads != 0).sum(1) + (triples.tails != 0).sum(1)).astype(float)


def mined(index: NoveltyIndex, texts: list[Text], **settings) -> Mined:
    return mine(Candidates.of(texts, index), by_length, index, **settings)


@pytest.mark.parametrize(
    ("sentence", "row"),
    [
        ("A knife is used for cutting bread.", ("knife", "UsedFor", "cutting bread")),
        ("The dogs are animals", ("dog", "HasProperty", "animal")),  # words alone do not tell a noun
        ("A dog is an animal!", ("dog", "IsA", "animal")),
        ("Animals such as dogs", ("dog", "IsA", "animal")),
        ("The library has a book", ("library", "HasA", "book")),
        ("Cats can chase mouse, and they like it.", ("cat", "CapableOf", "chase mouse")),
        ("Bread can be cut", ("bread", "ReceivesAction", "cut")),
        ("Books are often found in a library.", ("book", "AtLocation", "library")),
        ("When you cut bread, you need a knife", ("cut bread", "HasSubevent", "need a knife")),
        ("bread is very hot", ("bread", "HasProperty", "hot")),
        ("A crust is part of bread", ("crust", "PartOf", "bread")),
        ("Smoking causes cancer", ("smoking", "Causes", "cancer")),
    ],
)
def test_patterns(sentence: str, row: Text) -> None:
    found = extract([sentence], EVERYTHING)
    assert found.rows == [row]


def test_every_sentence_is_a_candidate_or_counted_with_a_reason() -> None:
    text = [
        "A dog is an animal. It is a cat. Hello there\n",
        "The quick brown fox that nobody ever saw before today is used for demonstrations of very long phrases indeed",
        "Paper is made of wood; ",
        "",
    ]
    few = Vocabulary(WORDS, ("IsA", "UsedFor"))
    found = extract(text, few)
    assert found.rows == [("dog", "IsA", "animal")] and found.sentence_numbers == [1]
    assert found.sentences == 5 == len(found.rows) + sum(found.left_out.values())
    assert dict(found.left_out) == {
        "a phrase is empty or a pronoun": 1,
        "no pattern matches": 1,
        "a phrase has more than 4 words": 1,
        "the vocabulary has no relation MadeOf": 1,
    }


def test_a_plural_becomes_the_singular_only_where_that_is_the_known_word() -> None:
    assert [known_form(word, EVERYTHING) for word in ("dogs", "dog", "libraries", "cats", "trees")] == [
        "dog", "dog", "library", "cat", "trees",
    ]  # fmt: skip
    with pytest.raises(BadConfig, match="most_words is 0"):
        extract([], EVERYTHING, most_words=0)


def test_mining_ranks_by_score_within_buckets_from_near_to_far(index: NoveltyIndex) -> None:
    texts = [
        ("dog", "IsA", "cat"), ("cat dog", "IsA", "animal"), ("hot dog", "IsA", "hot bread"), ("book", "IsA", "library"),
        ("mouse", "IsA", "animal"), ("hot", "HasProperty", "hot"),
    ]  # fmt: skip
    found = mined(index, texts)
    rows = found.table().rows
    named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    assert len(rows) == len(texts)
    assert [row["bucket"] for row in named] == sorted(
        [row["bucket"] for row in named], key=["near", "middle", "far"].index
    )
    for bucket in ("near", "middle", "far"):
        inside = [row for row in named if row["bucket"] == bucket]
        assert [row["rank"] for row in inside] == list(range(1, len(inside) + 1))
        assert [row["score"] for row in inside] == sorted((row["score"] for row in inside), reverse=True)
    assert max(r["novelty"] for r in named if r["bucket"] == "near") <= min(
        r["novelty"] for r in named if r["bucket"] == "far"
    )
    by_text = {(row["head"], row["relation"], row["tail"]): row for row in named}
    same_phrases = by_text["book", "IsA", "library"]  # novelty does not read the relation
    assert same_phrases["novelty"] == 0.0
    nearest = tuple(same_phrases[f"nearest_{slot}"] for slot in ("head", "relation", "tail"))
    assert nearest == ("book", "AtLocation", "library")
    assert by_text["dog", "IsA", "cat"]["row"] == 1


def test_what_is_named_twice_or_stated_in_training_is_left_out_and_counted(index: NoveltyIndex) -> None:
    texts = [("dog", "IsA", "animal"), ("hot dog", "IsA", "animal"), ("hot  dog", "IsA", "animal")]
    found = mined(index, texts)
    assert found.left_out == {"named before": 1, "stated in training": 1}
    assert len(found.table().rows) == 1
    assert len(mined(index, texts, keep_known=True).table().rows) == 2
    with pytest.raises(BadData, match="no candidate is left"):
        mined(index, texts[:1])
    with pytest.raises(BadData, match="no candidates"):
        Candidates.of([], index)


def test_unknown_words_keep_their_spelling_and_are_counted(index: NoveltyIndex) -> None:
    found = mined(index, [("zebra", "IsA", "hot animal"), ("quagga", "IsA", "hot animal")])
    named = [dict(zip(COLUMNS, row, strict=True)) for row in found.table().rows]
    assert {row["head"] for row in named} == {"zebra", "quagga"}
    assert [row["unknown_words"] for row in named] == [1, 1]


def test_top_cuts_and_the_novelty_of_the_best(index: NoveltyIndex) -> None:
    texts = [(head, "HasA", tail) for head in WORDS[2:] for tail in ("hot", "hot bread", "hot bread knife")]
    found = mined(index, texts, cuts=(1.0, 2.0), probability=lambda logits: 1 / (1 + np.exp(-logits)))
    table = found.table(top=2)
    assert len(table.rows) == sum(min(2, size) for size in found.buckets.sizes.values())
    assert found.buckets.cuts == (1.0, 2.0)
    assert all(0 < value < 1 for value in table.column("probability"))
    best = found.novelty_of_best((3, 10))
    assert list(best) == [3, 10, len(texts)]
    assert best[3] == pytest.approx(found.novelty_N[:3].mean())
    with pytest.raises(BadConfig, match="top is 0"):
        found.table(0)


def test_scores_that_are_none_are_refused(index: NoveltyIndex) -> None:
    with pytest.raises(BadData, match="not finite"):
        mine(Candidates.of([("hot", "IsA", "cat")], index), lambda t: np.full(len(t), np.nan), index)


def test_a_written_table_runs_no_formula(index: NoveltyIndex, tmp_path) -> None:
    found = mined(index, [("=cmd()", "IsA", "cat")])
    line = write_csv(found.table(), tmp_path).read_text().splitlines()[1]
    assert "'=cmd()" in line
