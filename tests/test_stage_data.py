"""What stages read: formats, quarantine with index and reason, counts that add up, held-out rows, references."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from chaos.inject import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import BadData
from envs.text.comparisons import read_comparisons
from envs.text.controlled_pairs import controlled_rows
from envs.text.demonstrations import format_of, read_demonstrations
from envs.text.truncation import rough_tokens
from rllib_ext.errors import BadConfig
from rllib_ext.runtime.run_folder import read_jsonl
from rllib_ext.stages import knobs
from rllib_ext.stages.data import StageData, built_in, data_name

LONE = "half a pair \ud800 here"
HUGE = "x" * 10_000_000


def post(**changes: Any) -> dict[str, Any]:
    return {
        "subreddit": "pets",
        "title": "My cat",
        "post": "She sleeps.\nAll day.",
        "summary": "Cat.",
    } | changes


def hub(choice: Any = 1, **changes: Any) -> dict[str, Any]:
    row = {
        "info": {
            "id": "t3_x",
            "subreddit": "pets",
            "title": "My cat",
            "post": "She sleeps.",
            "article": None,
        },
        "summaries": [{"text": " A cat.", "policy": "sft"}, {"text": " A cat sleeps.", "policy": "ref"}],
        "choice": choice,
        "batch": "batch11",
        "split": "valid1",
        "extra": {"confidence": 7},
        "worker": "w",
    }
    return row | changes


def pair(**changes: Any) -> dict[str, Any]:
    return {"prompt": "Say:", "chosen": " yes", "rejected": " no"} | changes


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


BAD = {
    "demonstrations": [
        (without(post(), "summary"), "'summary' is missing"),
        (post(post=None), "'post' is null"),
        (post(title=HUGE), "longer than"),
        (post(post=LONE), "surrogate"),
        (post(summary="   "), "blank"),
        (post(subreddit=["pets"]), "of type list"),
        ("no object", "not an object"),
    ],
    "comparisons": [
        (without(hub(), "choice"), "'choice' is missing"),
        (hub(choice=2), "neither 0 nor 1"),
        (hub(choice=True), "neither 0 nor 1"),
        (hub(info=None), "not an object"),
        (hub(info={"subreddit": "pets", "title": "t"}), "'post' is null"),
        (hub(summaries=[{"text": " a"}]), "list of two"),
        (hub(summaries=[{"text": " a"}, {"text": None}]), "'text' is null"),
        (hub(summaries=[{"text": LONE}, {"text": " a"}]), "surrogate"),
        (hub(summaries=[{"text": HUGE}, {"text": " a"}]), "longer than"),
        (hub(summaries=[{"text": " same  text"}, {"text": "same text"}]), "the same text"),
    ],
    "pairs": [
        (without(pair(), "rejected"), "'rejected' is missing"),
        (pair(chosen=None), "'chosen' is null"),
        (pair(prompt=HUGE), "longer than"),
        (pair(rejected=HUGE), "longer than"),
        (pair(chosen=LONE), "surrogate"),
        (pair(prompt=LONE), "surrogate"),
    ],
}
GOOD = {"demonstrations": post(), "comparisons": hub(), "pairs": pair()}


def stage_data(folder: Path, kind: str, **values: Any) -> StageData:
    table = knobs.SFT if kind == "demonstrations" else knobs.REWARD_MODEL
    chosen = {name: knob.default for name, knob in table.items()} | {"model": "m"} | values
    return StageData(kind, chosen, rough_tokens, folder)


@pytest.mark.fault("C1")
@pytest.mark.fault("C4")
@pytest.mark.parametrize("kind", sorted(BAD))
def test_malformed_rows_are_quarantined_with_index_and_reason_and_counts_add_up(
    kind: str, tmp_path: Path
) -> None:
    good = GOOD[kind]
    places = list(range(3, 3 + 2 * len(BAD[kind]), 2))
    rows: list[Any] = [good] * (places[-1] + 5)
    for place, (row, _) in zip(places, BAD[kind], strict=True):
        rows[place] = row
    path = write(tmp_path / "train.jsonl", rows)
    rows_of = "demonstrations" if kind == "demonstrations" else "comparisons"
    data = stage_data(tmp_path, rows_of, data=str(path), split="all", eval_rows=0, max_bad_share=0.5)
    kept = data.train()
    (account,) = data.accounts.readings
    assert account["read"] == len(rows) and account["quarantined"] == len(places)
    assert account["kept"] + account["dropped_long"] + account["quarantined"] == account["read"]
    assert len(kept) == account["kept"] and [item.index for item in kept][:4] == [0, 1, 2, 4]
    quarantine = read_jsonl(tmp_path / "quarantine.jsonl")
    assert [line["index"] for line in quarantine] == places
    for line, (_, reason) in zip(quarantine, BAD[kind], strict=True):
        assert reason in line["reason"] and line["split"] == "all" and line["source"] == str(path)


@pytest.mark.fault("C3")
def test_too_many_bad_rows_stop_the_stage_and_the_quarantine_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", [post()] * 90 + [post(post=None)] * 10)
    data = stage_data(tmp_path, "demonstrations", data=str(path), split="all")
    with pytest.raises(BadData, match=r"10 of 100 rows.*quarantine\.jsonl"):
        data.train()
    assert len(read_jsonl(tmp_path / "quarantine.jsonl")) == 10
    assert not list(tmp_path.glob(".quarantine*"))
    assert (
        len(stage_data(tmp_path, "demonstrations", data=str(path), split="all", max_bad_share=0.1).train())
        == 90
    )


@pytest.mark.fault("C3")
def test_a_bad_data_set_ends_the_command_with_3_and_keeps_the_quarantine(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from rllib_ext.cli import main
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer

    path = write(tmp_path / "rows.jsonl", [post()] * 9 + [post(post=None)])
    tokenizer = train_tokenizer(["She sleeps."], 258)
    config = causal_lm_config(tokenizer, hidden=32, layers=1, heads=1, max_length=256)
    model = save_model(build_causal_lm(config, 0), tokenizer, tmp_path / "model")
    words = ["train", "SFT", "--set", f"model={model}", "--set", f"data={path}"]
    assert main([*words, "--name", "x", "--storage-path", str(tmp_path / "runs")]) == 3
    assert "1 of 10 rows" in capsys.readouterr().err
    assert len(read_jsonl(tmp_path / "runs" / "SFT-rows-x" / "quarantine.jsonl")) == 1


def test_the_hubs_columns_become_query_completions_and_labels() -> None:
    (row, article), report = read_comparisons(
        [hub(), hub(choice=0, info={"article": "News.\nMore.", "post": None}, batch="cnndm0", extra={})],
        "all",
    )
    assert row.prompt == "SUBREDDIT: r/pets\n\nTITLE: My cat\n\nPOST: She sleeps.\n\nTL;DR:"
    assert (row.chosen, row.rejected) == (" A cat sleeps.", " A cat.")
    assert row.info == {"batch": "batch11", "split": "valid1", "confidence": 7.0, "policies": "ref--sft"}
    assert article.prompt == "Article:\nNews.\nMore.\n\nTL;DR:" and article.chosen == " A cat."
    assert article.info["batch"] == "cnndm0" and "confidence" not in article.info
    assert report.total == 2


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("rows", "read"),
    [
        ([post(summary=f"S{i}.") for i in range(20)], read_demonstrations),
        ([{"article": f"A {i}.", "highlights": f"H {i}."} for i in range(20)], read_demonstrations),
        ([{"prompt": f"P{i}", "completion": " C"} for i in range(20)], read_demonstrations),
        ([hub(choice=i % 2) for i in range(20)], read_comparisons),
        ([pair(prompt=f"P{i}", batch="b", confidence=3) for i in range(20)], read_comparisons),
    ],
)
def test_both_file_formats_give_the_same_rows(rows: list, read: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write(path, rows)
    assert read(str(path), "all")[0] == read(rows, "all")[0] and len(read(rows, "all")[0]) == 20


def test_optional_columns_may_be_missing_from_a_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([pair()] * 3), tmp_path / "p.parquet")
    rows, _ = read_comparisons(str(tmp_path / "p.parquet"), "all")
    assert [row.info for row in rows] == [{}] * 3


@pytest.mark.fault("C5")
def test_columns_that_are_no_format_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"text": "a"}])
    for read in (read_demonstrations, read_comparisons):
        with pytest.raises(BadData, match="has the columns text"):
            read(str(path), "all")
    assert format_of("owner/set") == "posts"


def test_splits_of_one_file_are_disjoint_and_the_counts_say_what_is_elsewhere(tmp_path: Path) -> None:
    rows = controlled_rows(400)
    path = write(tmp_path / "x.jsonl", rows)
    data = stage_data(tmp_path, "demonstrations", data=str(path))
    train, held_out = data.train(), data.held_out()
    assert not {item.index for item in train} & {item.index for item in held_out} and held_out
    for account, used in zip(data.accounts.readings, (train, held_out), strict=True):
        assert account["read"] == account["kept"] == 400
        assert account["kept"] - account["other_split"] == len(used)


def test_a_shuffled_subset_is_drawn_without_replacement_by_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [pair(prompt=f"P{i}") for i in range(50)])
    drawn = [
        [
            item.index
            for item in stage_data(
                tmp_path, "comparisons", data=str(path), split="all", train_rows=20, seed=seed
            ).train()
        ]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2] and len(set(drawn[0])) == 20


def test_references_are_asked_for_where_the_data_has_none(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [pair()] * 3)
    with pytest.raises(BadConfig, match="reference_data is not set"):
        stage_data(tmp_path, "comparisons", data=str(path)).references()
    given = write(tmp_path / "train.jsonl", [{"prompt": f"P{i}", "completion": " c"} for i in range(60)])
    found = stage_data(
        tmp_path, "comparisons", data=str(path), reference_data=str(given), reference_rows=9
    ).references()
    assert len(found) == 9 and found[0].completion == " c"


@pytest.mark.parametrize("kind", ["demonstrations", "comparisons"])
def test_built_in_splits_share_no_prompt(kind: str) -> None:
    train, held_out = (built_in(kind, "ControlledTLDR", split, 0, 200) for split in ("train", "validation"))
    assert len(train) == len(held_out) == 200
    assert not {item.prompt for item in train} & {item.prompt for item in held_out}


def test_docstrings_are_demonstrations_only() -> None:
    rows = built_in("demonstrations", "Docstrings", "validation", 0, 20)
    assert len(rows) == 20 and all(row.completion.startswith(" ") for row in rows)
    with pytest.raises(BadConfig, match="Docstrings"):
        built_in("comparisons", "Docstrings", "train", 0, 20)


@pytest.mark.parametrize(
    ("source", "name"),
    [("TLDR", "TLDR"), ("owner/some-set", "some_set"), ("x/../etc", "etc"), ("", "data"), ("a\0b", "a_b")],
)
def test_a_sources_short_name_is_a_plain_word(source: str, name: str) -> None:
    assert data_name(source) == name


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(LONE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.fault("C1")
@pytest.mark.timeout(tries(300, 1800))
@settings(max_examples=tries(300, 20_000), deadline=None, derandomize=True)
@given(
    st.lists(st.dictionaries(st.sampled_from(list(hub())), ANY, max_size=7), max_size=4),
    st.integers(0, 2**31),
)
def test_whatever_a_row_holds_it_is_kept_or_quarantined_and_never_breaks_the_reader(
    wild: list, seed: int
) -> None:
    rows: list[Any] = [hub()] + [hub() | row for row in wild] + list(wild)
    random.Random(seed).shuffle(rows)
    rows = [hub(), *rows]
    kept, report = read_comparisons(rows, "all", max_bad_share=1.0)
    assert len(kept) + len(report.quarantined) == report.total == len(rows)
    assert {item.index for item in kept}.isdisjoint(index for index, _ in report.quarantined)
