"""Reading triples: every line is accounted for with its number and reason; splits and their negatives keep their word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rllib_ext.commonsense.negatives import Known, evaluation_negatives
from rllib_ext.commonsense.reading import read_labels, read_rows, read_source, read_tsv, write_tsv
from rllib_ext.commonsense.relations import RelationNames
from rllib_ext.commonsense.splits import split
from rllib_ext.commonsense.synthetic import synthetic_kb
from rllib_ext.commonsense.triples import Triples, Vocabulary, stacked
from rllib_ext.errors import BadConfig, BadData

FOUR = "IsA\tdog\tanimal\t3.459\nAtLocation\ta small dog\tthe house\t3.17\nUsedFor\tpen\twrite\t2\n"


def write(folder: Path, text: str | bytes, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_c3_kbc_09_tsv_round_trip_and_lower_case_relations(tmp_path: Path) -> None:
    rows = read_tsv(write(tmp_path, FOUR))
    assert rows.texts[1] == ("a small dog", "AtLocation", "the house") and rows.scores == [3.459, 3.17, 2.0]
    again = read_tsv(write_tsv(tmp_path / "again.txt", rows.texts, rows.scores))
    assert (again.texts, again.scores) == (rows.texts, rows.scores)
    assert (tmp_path / "again.txt").read_text() == FOUR
    triples = Triples.from_text(rows.texts, confidence=rows.scores)
    assert [triples.text(index) for index in range(3)] == rows.texts

    mined = "".join(f"{r.lower()}\t{h}\t{t}\tsomething\t0.5\n" for h, r, t in rows.texts)  # five columns
    assert read_tsv(write(tmp_path, mined)).texts == rows.texts
    known = RelationNames(("IsA", "atLocation"), closed=True)  # the caller's spelling
    with pytest.raises(BadData, match=r"line 3 \(relation 'usedfor' is not among the known ones"):
        read_tsv(tmp_path / "train.txt", names=known)
    kept = read_tsv(tmp_path / "train.txt", names=known, max_bad_share=0.5)
    assert [text[1] for text in kept.texts] == ["IsA", "atLocation"]


def test_three_columns_have_no_score(tmp_path: Path) -> None:
    rows = read_tsv(write(tmp_path, "IsA\tdog\tanimal\r\nhasnew\tdog\ttail\r\n"))
    assert rows.scores is None and rows.texts[1] == ("dog", "hasnew", "tail")
    write_tsv(tmp_path / "three.txt", rows.texts)
    assert read_tsv(tmp_path / "three.txt").texts == rows.texts


BAD = [
    (b"IsA\tdog", "2 columns"),
    (b"IsA\ta\tb\t1\t2\t3", "6 columns"),
    (b"IsA\td\xffg\tanimal\t1", "not UTF-8"),
    (b"IsA\t \tanimal\t1", "the head is blank"),
    (b"IsA\tdog\t\t1", "the tail is blank"),
    (b"\tdog\tanimal\t1", "the relation is blank"),
    (b"IsA\tdog\tanimal\thigh", "'high' is no finite number"),
    (b"IsA\tdog\tanimal\tnan", "'nan' is no finite number"),
    (b"", "the line is blank"),
]


def test_malformed_lines_are_quarantined_with_line_and_reason_and_counts_add_up(tmp_path: Path) -> None:
    good = [b"IsA\tdog\tanimal\t1", b"IsA\tDog  house\tanimal\t1"]
    lines = [good[0]]
    for line, _ in BAD:
        lines += [line, good[1]]
    path = write(tmp_path, b"\n".join(lines) + b"\n")
    with pytest.raises(
        BadData, match=r"9 of 19 lines .*max_bad_share = 0.01 .*first line 2 \(the line has 2 columns"
    ):
        read_tsv(path)
    rows = read_tsv(path, max_bad_share=0.6)
    counts = rows.report.counts()
    assert counts == {"read": 19, "accepted": 1, "repaired": 9, "quarantined": 9}
    assert len(rows.texts) == len(rows.scores) == 10
    assert set(rows.texts) == {("dog", "IsA", "animal"), ("dog house", "IsA", "animal")}
    assert dict(rows.report.repairs) == {"lower-cased": 9, "spaces made one": 9}
    report = [
        json.loads(line)
        for line in rows.report.write_quarantine(tmp_path / "q.jsonl").read_text().splitlines()
    ]
    assert [row["line"] for row in report] == [2 * i + 2 for i in range(len(BAD))]
    for row, (_, reason) in zip(report, BAD, strict=True):
        assert reason in row["reason"] and row["source"] == str(path)


def test_labels_are_0_or_1_and_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path, "IsA\ta\tb\t1\nIsA\ta\tc\t0.5\nIsA\ta\td\n")
    rows = read_tsv(path, labelled=True, max_bad_share=1.0)
    assert rows.scores == [1.0]
    assert next(reason for _, reason in rows.report.quarantined) == "the label is 0.5; it must be 0 or 1"
    with pytest.raises(BadData, match="a score in 2 of 3 triples"):
        read_tsv(path, max_bad_share=1.0)
    with pytest.raises(BadData, match="holds no triple"):
        read_tsv(write(tmp_path, ""))


def test_label_arrays_and_rows_of_data_sets(tmp_path: Path) -> None:
    labels = np.array(
        [["dog", "isa", "animal"], ["pen", "usedfor", "write"]]
    )  # as PyKEEN's TriplesFactory.triples
    assert read_labels(labels).texts == [("dog", "IsA", "animal"), ("pen", "UsedFor", "write")]
    rows = [
        {"head": "dog", "relation": "IsA", "tail": "animal", "score": 2.5},
        {"head": "dog", "tail": "x"},
        3,
    ]
    read = read_rows(rows, max_bad_share=1.0)
    assert read.texts == [("dog", "IsA", "animal")] and read.scores == [2.5]
    assert next(reason for _, reason in read.report.quarantined) == "column 'relation' is missing"
    lines = "".join(json.dumps(row) + "\n" for row in rows[:1]) + "{broken\n"
    write(tmp_path, lines, "train.jsonl")
    found = read_source(str(tmp_path), "train", max_bad_share=0.5)
    assert found.texts == read.texts and found.report.quarantined == [(1, "line is not JSON")]
    with pytest.raises(BadData, match="'test'"):
        read_source(str(tmp_path / "train.jsonl"), "test")


def positives(count: int = 300) -> Triples:
    return synthetic_kb(1, train=count, evaluation=40).train


def test_evaluation_negatives_are_new_and_differ_in_one_slot() -> None:
    triples, draw = positives(), np.random.default_rng(0)
    known = Known(triples)
    made, report = evaluation_negatives(triples, known, draw)
    assert len(made) == 300 and not known.has(made.keys()).any() and (made.labels == 0).all()
    assert len(np.unique(made.keys())) == 300
    same = [
        (left == right).all(1) for left, right in ((made.heads, triples.heads), (made.tails, triples.tails))
    ]
    same.append(made.relations == triples.relations)
    changed = 3 - np.stack(same).sum(0)
    assert (changed == 1).all()
    assert min((~np.stack(same)).sum(1)) > 60  # all three slots
    told = report.made + report.identities + report.known + report.repeated
    assert told == report.drawn and report.identities > 0  # a relation is often replaced by itself


def test_negatives_that_cannot_be_are_said() -> None:
    rows = [(head, "R", tail) for head in "ab" for tail in "ab"]
    triples = Triples.from_text(rows)
    with pytest.raises(BadData, match="no negative was found for 4 of 4"):
        evaluation_negatives(triples, Known(triples), np.random.default_rng(0))


def files() -> tuple[Triples, dict[str, Triples]]:
    base = synthetic_kb(2, train=1000, evaluation=100)
    parts = {name: base.evaluated[name] for name in ("dev1", "dev2", "test")}
    wrong = stacked(parts["test"], base.train.take(np.arange(3)).labelled(0))  # true, and called false
    return base.train, parts | {"test": wrong}


def test_the_published_split_is_as_read_and_its_true_negatives_are_counted() -> None:
    train, parts = files()
    made = split("published", train, parts)
    assert made.base.test is parts["test"]
    assert (
        made.about["parts"]["test"]["true_negatives"] == 3
        and made.about["parts"]["dev1"]["true_negatives"] == 0
    )
    with pytest.raises(BadData, match="needs the evaluation files"):
        split("published", train)


def test_the_confidence_split_keeps_positives_and_makes_negatives() -> None:
    train, parts = files()
    made = split("confidence", train, parts, seed=3).base
    for name, part in parts.items():
        wanted = part.take(part.labels == 1)
        assert np.array_equal(
            made.evaluated[name].take(made.evaluated[name].labels == 1).keys(), wanted.keys()
        )
        assert not Known(train).has(made.evaluated[name].take(made.evaluated[name].labels == 0).keys()).any()


def test_without_files_the_surest_triples_are_the_evaluation_set() -> None:
    train, _ = files()
    sure = np.random.default_rng(0).permutation(1000).astype(np.float64)
    train = Triples(train.heads, train.relations, train.tails, train.vocabulary, confidence=sure)
    sizes = {"dev1": 20, "dev2": 20, "test": 40}
    made = split("confidence", train, sizes=sizes).base
    taken = np.concatenate([part.take(part.labels == 1).keys() for part in made.evaluated.values()])
    assert set(taken) == set(train.take(sure >= 920).keys())
    assert len(made.train) == 920 and made.train.confidence.max() == 919
    with pytest.raises(BadData, match="a confidence for every training triple"):
        split("confidence", files()[0], sizes=sizes)


def test_the_random_split_partitions_the_pool_and_follows_its_seed() -> None:
    train, parts = files()
    sizes = {"dev1": 30, "dev2": 30, "test": 60}
    first, again, other = (split("random", train, parts, sizes=sizes, seed=seed).base for seed in (1, 1, 2))
    truths = [part.take(part.labels == 1) for part in first.evaluated.values()]
    keys = np.concatenate([first.train.keys(), *(part.keys() for part in truths)])
    assert len(keys) == len(np.unique(keys)) == 1000 + 3 * 50
    assert [len(part) for part in first.evaluated.values()] == [60, 60, 120]
    assert np.array_equal(first.test.keys(), again.test.keys())
    assert not np.array_equal(first.test.keys(), other.test.keys())
    with pytest.raises(BadData, match="are to be taken out of 1150"):
        split("random", train, parts, sizes={"dev1": 600, "dev2": 600, "test": 1})
    with pytest.raises(BadConfig, match="split is 'rnd'"):
        split("rnd", train, parts)


def test_known_looks_up_whatever_the_padding() -> None:
    vocabulary = Vocabulary.of([("a b", "R", "c"), ("a", "R", "c d e")])
    known = Known(Triples.from_text([("a", "R", "c")], vocabulary))
    asked = Triples.from_text([("a", "R", "c"), ("a", "R", "c d e"), ("a b", "R", "c")], vocabulary)
    assert known.has(asked.keys()).tolist() == [True, False, False]
    assert not Known().has(asked.keys()).any()
