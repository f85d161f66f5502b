"""Rows: each is accepted, repaired or quarantined; the counts add up; bad data stops before training."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from chaos.inject import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import BadData
from envs.text.row_sources import Request, hub_rows
from envs.text.row_values import MAX_CHARS, Unusable, as_text, text_columns
from envs.text.rows import Recipe, read_rows, split_by_hash


def plain(index: int, row: dict[str, Any]) -> tuple[int, str, str]:
    return index, row["a"], row["b"]


RECIPE = Recipe(text_columns("a", "b"), ("a",), plain)


def read(source, **options):
    return read_rows(source, RECIPE, **{"split": "all", "max_bad_rows": 1.0, **options})


def write_lines(path, lines: list[bytes]):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


texts = st.text(st.characters(), max_size=8)  # surrogates, NUL and bidirectional marks included
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=8)
anything = (
    scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from("ab"), scalars, max_size=2)
)
wild_rows = st.lists(st.dictionaries(st.sampled_from("abc"), anything, max_size=3) | anything, max_size=4)


@pytest.mark.fault("C1")
@pytest.mark.timeout(tries(300, 1800))
@settings(derandomize=True, max_examples=tries(1000, 20_000), deadline=None)
@given(wild_rows)
def test_every_row_has_exactly_one_fate(rows):
    good = {"a": "x", "b": "y"}
    tasks, report = read([good, *rows])
    quarantined = [index for index, _ in report.quarantined]
    assert report.total == len(rows) + 1 == report.accepted + report.repaired + len(quarantined)
    assert sorted([task[0] for task in tasks] + quarantined) == list(range(report.total))
    for _, a, b in tasks:
        for text in (a, b):
            assert text.strip() and "\0" not in text and "\r" not in text
            assert text.encode("utf-8").decode("utf-8") == text
    assert all(reason and isinstance(index, int) for index, reason in report.quarantined)


@pytest.mark.fault("C2")
@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_no_bytes_crash_the_jsonl_reader(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("wild") / "rows.jsonl"
    write_lines(path, [b'{"a": "x", "b": "y"}', *(line.replace(b"\n", b"") for line in lines)])
    tasks, report = read(path)
    assert len(tasks) == report.accepted + report.repaired >= 1
    assert report.accepted + report.repaired + len(report.quarantined) == report.total


@pytest.mark.fault("C1")
@pytest.mark.parametrize(
    ("value", "text", "rules"),
    [
        ("plain", "plain", []),
        (3, "3", ["number written as text"]),
        (2.5, "2.5", ["number written as text"]),
        (b"caf\xc3\xa9", "café", []),
        (b"caf\xe9", "caf\ufffd", ["invalid UTF-8 replaced"]),
        ("lone \ud800 half", "lone \ufffd half", ["invalid UTF-8 replaced"]),
        ("\ud83d\ude00", "\U0001f600", ["invalid UTF-8 replaced"]),
        ("a\0b", "ab", ["NUL removed"]),
        ("a\r\nb\rc", "a\nb\nc", ["line ends made LF"]),
        ("\0x\r\n", "x\n", ["NUL removed", "line ends made LF"]),
        ("\u202eabc<|im_end|>", "\u202eabc<|im_end|>", []),
    ],
)
def test_text_is_accepted_or_repaired_by_its_rule(value, text, rules):
    assert as_text(value) == (text, rules)


@pytest.mark.fault("C1")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "is null"),
        (True, "is of type bool, not text"),
        (float("nan"), "is of type float, not text"),
        (float("inf"), "is of type float, not text"),
        pytest.param(10**5000, "is of type int, not text", id="integer of 5,001 digits"),
        (["a"], "is of type list, not text"),
        ({"a": 1}, "is of type dict, not text"),
        ("", "is blank"),
        (" \n\t", "is blank"),
        ("\0", "is blank"),
        pytest.param("x" * (MAX_CHARS + 1), "is longer than 1,000,000 characters", id="long"),
    ],
)
def test_text_that_no_rule_repairs_is_unusable(value, reason):
    with pytest.raises(Unusable, match=reason):
        as_text(value)


@pytest.mark.fault("C1")
def test_jsonl_hazards_have_the_fates_their_rules_say(tmp_path):
    good = [b'{"a": "x%d", "b": "y"}' % i for i in range(3)]
    lines = [
        b"\xef\xbb\xbf" + good[0],  # byte order mark: part of no row
        b"",
        b"  ",
        good[1],
        b'{"a": "caf\xe9", "b": "y"}',
        b'{"a": "nul \x00 inside", "b": "y"}',
        b'{"a": "\\ud800", "b": "y"}',
        '{"a": "line\u2028separator", "b": "y"}'.encode(),
        b'{"a": "x", "b": "y", "extra": [1, {"deep": null}]}',
        b'{"a": "x", "b": ',
        b"[" * 100_000,
        b"7",
        b'{"a": "x"}',
        b'{"a": 1' + b"0" * 5000 + b', "b": "y"}',
        good[2],
    ]
    tasks, report = read(write_lines(tmp_path / "rows.jsonl", lines))
    assert (report.total, report.accepted, report.repaired) == (13, 5, 3)
    assert report.repairs == {"invalid UTF-8 replaced": 2, "NUL removed": 1}
    assert [task[1] for task in tasks] == [
        "x0",
        "x1",
        "caf\ufffd",
        "nul  inside",
        "\ufffd",
        "line\u2028separator",
        "x",
        "x2",
    ]
    assert report.quarantined == [
        (7, "line is not JSON"),
        (8, "line nests too deeply"),
        (9, "row is of type int, not an object with columns"),
        (10, "column 'b' is missing"),
        (11, "line is not JSON"),
    ]


@pytest.mark.fault("C3")
def test_too_many_bad_rows_stop_with_the_five_commonest_reasons(tmp_path):
    bad = (
        [{"a": "x"}] * 6
        + [{"a": None, "b": "y"}] * 5
        + [{"a": 0, "b": []}] * 4
        + [3] * 3
        + [{"a": "", "b": "y"}] * 2
    )
    rows = [*bad, {"a": True, "b": "y"}, *({"a": str(i), "b": "y"} for i in range(79))]
    listed = tmp_path / "bad.jsonl"
    with pytest.raises(BadData) as caught:
        read_rows(rows, RECIPE, split="all", max_bad_rows=0.2, quarantine=listed)
    message = str(caught.value)
    assert "21 of 100 rows" in message and "max_bad_rows = 0.2" in message and str(listed) in message
    for reason in (
        "'b' is missing (6)",
        "'a' is null (5)",
        "'b' is of type list",
        "row is of type int",
        "'a' is blank (2)",
    ):
        assert reason in message
    assert "bool" not in message  # the sixth reason
    entries = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [entry["index"] for entry in entries] == list(range(21))
    tasks, report = read_rows(rows, RECIPE, split="all", max_bad_rows=0.21)
    assert len(tasks) == 79 and len(report.quarantined) == 21


@pytest.mark.fault("C3")
def test_the_default_tolerance_is_one_row_in_a_hundred():
    rows = [{"a": str(i), "b": "y"} for i in range(99)]
    assert len(read_rows([*rows, 3], RECIPE, split="all")[0]) == 99
    with pytest.raises(BadData, match="2 of 100 rows"):
        read_rows([*rows[1:], 3, 3], RECIPE, split="all")


def test_rows_that_build_nothing_are_quarantined_with_the_builders_reason():
    def refuse_odd(index, row):
        if int(row["a"]) % 2:
            raise Unusable("is odd")
        return row["a"]

    rows = [{"a": i, "b": "y"} for i in range(10)]
    tasks, report = read_rows(rows, Recipe(RECIPE.columns, ("a",), refuse_odd), split="all", max_bad_rows=0.5)
    assert tasks == ["0", "2", "4", "6", "8"] and report.repaired == 5
    assert report.quarantined == [(i, "is odd") for i in (1, 3, 5, 7, 9)]


def test_hashed_splits_are_disjoint_complete_and_of_the_asked_size():
    rows = [{"a": f"text {i}", "b": "y"} for i in range(4000)]
    parts = {split: read(rows, split=split, held_out=0.1) for split in ("train", "validation", "test")}
    indices = {split: {task[0] for task in tasks} for split, (tasks, _) in parts.items()}
    assert sorted(i for part in indices.values() for i in part) == list(range(4000))
    for split in ("validation", "test"):  # binomial, five standard deviations
        assert abs(len(indices[split]) - 400) < 5 * (4000 * 0.1 * 0.9) ** 0.5
    for tasks, report in parts.values():
        assert report.total == report.accepted == 4000 == report.elsewhere + len(tasks)
    shuffled = read(rows[::-1], split="test", held_out=0.1)[0]
    assert {task[1] for task in shuffled} == {f"text {i}" for i in indices["test"]}


def test_the_hash_split_is_fixed_for_ever():
    shares = {"validation": 0.25, "test": 0.25}
    points = {key: split_by_hash(key, shares) for key in ("a", "b", "post 1", "post 2")}
    assert points == {"a": "train", "b": "validation", "post 1": "test", "post 2": "validation"}


def test_a_folder_names_its_splits_by_file_and_by_folder(tmp_path):
    lines = [
        json.dumps({"a": f"{name} {i}", "b": "y"}).encode()
        for name in ("train", "valid", "test")
        for i in range(40)
    ]
    write_lines(tmp_path / "train-00000-of-00002.jsonl", lines[:20])
    write_lines(tmp_path / "train-00001-of-00002.jsonl", lines[20:40])
    write_lines(tmp_path / "my_valid.jsonl", lines[40:80])
    (tmp_path / "test").mkdir()
    write_lines(tmp_path / "test" / "part-0.ndjson", lines[80:])
    for split, word in (("train", "train"), ("validation", "valid"), ("test", "test")):
        tasks, report = read(tmp_path, split=split)
        assert [task[1] for task in tasks] == [f"{word} {i}" for i in range(40)] and report.elsewhere == 0
    assert len(read(str(tmp_path), split="all")[0]) == 120
    write_lines(tmp_path / "stray.jsonl", lines[:1])
    with pytest.raises(BadData, match=r"stray\.jsonl names no split"):
        read(tmp_path, split="train")


def test_validation_is_carved_out_of_train_where_there_is_none(tmp_path):
    write_lines(tmp_path / "train.jsonl", [b'{"a": "%d", "b": "y"}' % i for i in range(200)])
    train, validation = (read(tmp_path, split=split, held_out=0.2)[0] for split in ("train", "validation"))
    assert len(train) + len(validation) == 200 and 15 <= len(validation) <= 70
    assert not {task[1] for task in train} & {task[1] for task in validation}
    with pytest.raises(BadData, match="no 'test' split; it has train"):
        read(tmp_path, split="test")


def test_parquet_reads_like_jsonl(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = [{"a": f"ü {i}" if i != 3 else None, "b": "two\r\nlines", "c": [i]} for i in range(3000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    write_lines(tmp_path / "rows.jsonl", [json.dumps(row).encode() for row in rows])
    from_parquet, from_jsonl = read(tmp_path / "rows.parquet"), read(tmp_path / "rows.jsonl")
    assert from_parquet[0] == from_jsonl[0]
    for _, report in (from_parquet, from_jsonl):
        assert (report.total, report.repaired, report.quarantined) == (
            3000,
            2999,
            [(3, "column 'a' is null")],
        )


@pytest.mark.fault("C2")
def test_parquet_text_that_is_no_utf8_is_repaired(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"fine"], pa.binary()).buffers())
    pq.write_table(pa.table({"a": bad, "b": pa.array(["y", "y"])}), tmp_path / "rows.parquet")
    tasks, report = read(tmp_path / "rows.parquet")
    assert [task[1] for task in tasks] == ["caf\ufffd", "fine"] and report.repaired == 1


@pytest.mark.fault("C5")
@pytest.mark.parametrize("size", [0, 3, 100, 400])
def test_a_truncated_parquet_file_is_named(tmp_path, size):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadData, match=r"rows\.parquet is no readable parquet file"):
        read(path)


@pytest.mark.fault("C5")
def test_unusable_sources_say_what_is_wrong(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": ["x"], "z": ["y"]}), tmp_path / "schema.parquet")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "rows.csv").touch()
    (tmp_path / "folder").mkdir()
    for source, message in [
        (tmp_path / "schema.parquet", r"lacks the column\(s\) b; it has a, z"),
        (tmp_path / "empty.jsonl", "holds no rows"),
        ([], "holds no rows"),
        (tmp_path / "rows.csv", "is no .jsonl"),
        (tmp_path / "folder", "holds no .jsonl"),
        (tmp_path / "missing", "does not exist"),
        ("missing.jsonl", "does not exist"),
        ("../missing", "does not exist"),
    ]:
        with pytest.raises(BadData, match=message):
            read(source)
    with pytest.raises(BadData, match="split is 'dev'"):
        read([{"a": "x", "b": "y"}], split="dev")
    with pytest.raises(BadData, match="no row in the split 'test'"):
        read([{"a": "x", "b": "y"}], split="test", held_out=0.0)


@pytest.mark.fault("C5")
def test_max_rows_stops_reading():
    def endless():
        for i in range(10**9):
            yield {"a": str(i), "b": "y"}

    class Rows:
        def __iter__(self):
            return endless()

    tasks, report = read(Rows(), max_rows=5)
    assert len(tasks) == report.total == 5


def test_the_hub_reader_opens_what_the_datasets_library_opens(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = tmp_path / "data"
    data.mkdir()
    for name, count in (("train", 100), ("test", 10)):
        write_lines(
            data / f"{name}.jsonl",
            [b'{"a": "%s %d", "b": "y", "c": 1}' % (name.encode(), i) for i in range(count)],
        )
    streams = {
        s: hub_rows(str(data), Request(s, ("a", "b"), 0.2)) for s in ("train", "validation", "test", "all")
    }
    assert [len(list(stream.rows)) for stream in streams.values()] == [100, 100, 10, 110]
    assert streams["train"].shares == streams["validation"].shares == {"validation": 0.2}
    assert streams["test"].shares == {}
    with pytest.raises(BadData, match=r"lacks the column\(s\) z"):
        hub_rows(str(data), Request("test", ("a", "z"), 0.2))


def test_a_hub_name_without_the_library_or_the_network_is_an_error_with_a_way_out(monkeypatch):
    class Unreachable:
        @staticmethod
        def get_dataset_split_names(*_, **__):
            raise ConnectionError("no route to host")

        load_dataset = None

    monkeypatch.setitem(sys.modules, "datasets", Unreachable)
    with pytest.raises(BadData, match=r"'org/name' cannot be opened \(ConnectionError.*pass local JSONL"):
        read("org/name")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BadData, match="needs the datasets library"):
        read("org/name")
