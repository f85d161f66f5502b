"""StackExchange: the published columns, the prompt to the letter, its parts and splits, rows that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envs.errors import BadData
from envs.text import StackExchange
from envs.text.comparisons import read_comparisons
from envs.text.demonstrations import read_demonstrations
from envs.text.row_sources import Request, hub_rows

SITES = [
    "https://stackoverflow.com/questions/7",
    "https://stackoverflow.com",
    "https://stackoverflow.com/users/1",
]


def row(qid: Any = 7, **more: Any) -> dict[str, Any]:
    texts = {
        "question": f"How do I\n\nopen file {qid}?",
        "response_j": "  With `open`.\n",
        "response_k": "You cannot.",
    }
    return {"qid": qid, "date": "2011/01/01", "metadata": SITES, **texts, **more}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    return path


def test_the_prompt_is_the_published_one_to_the_letter() -> None:
    task = StackExchange("all", data=[row()]).task(0)
    assert task.prompt == "Question: How do I\n\nopen file 7?\n\nAnswer: "
    assert task.reference == "With `open`."
    assert task.info == {"qid": 7, "date": "2011/01/01", "site": "https://stackoverflow.com"}


def test_a_question_is_one_task_and_a_row_each_where_asked() -> None:
    rows = [row(1), row(1, response_k="No."), row(2), row(1, response_j="Yes.")]
    assert [task.info["qid"] for task in _tasks(StackExchange("all", data=rows))] == [1, 2]
    assert [task.info["qid"] for task in _tasks(StackExchange("all", data=rows, max_rows=2))] == [1, 2]
    assert len(_tasks(StackExchange("all", data=rows, unique=False))) == 4


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"qid": "seven"}, "column 'qid' is no whole number"),
        ({"qid": True}, "column 'qid' is no whole number"),
        ({"question": " "}, "column 'question' is blank"),
        ({"response_j": None}, "column 'response_j' is null"),
        ({"response_k": "With  `open`."}, "are the same text"),
        ({"response_k": "\ud800"}, "column 'response_k' holds invalid UTF-8"),
    ],
)
def test_rows_that_cannot_be_used_are_named_and_counted(broken: dict, why: str, tmp_path: Path) -> None:
    rows = [row(1), row(2, **broken) if "qid" not in broken else row(**broken), row(3)]
    env = StackExchange("all", data=rows, max_bad_rows=0.5, quarantine=tmp_path / "bad.jsonl")
    assert env.num_tasks == 2 and (env.report.total, len(env.report.quarantined)) == (3, 1)
    assert why in json.loads((tmp_path / "bad.jsonl").read_text())["reason"]
    with pytest.raises(BadData, match="max_bad_rows"):
        StackExchange("all", data=rows)


def test_what_may_be_absent_and_what_is_repaired() -> None:
    plain = {name: value for name, value in row("41").items() if name not in ("date", "metadata")}
    env = StackExchange("all", data=[plain, row(2, date=20110101, metadata="https://x")])
    assert env.task(0).info == {"qid": 41} and env.task(1).info == {"qid": 2}
    assert env.report.repairs == {"qid written as a number": 1}
    with pytest.raises(BadData, match="response_k"):
        StackExchange("all", data=[{"qid": 1, "question": "a", "response_j": "b"}], max_bad_rows=0.9)


def test_a_copy_of_the_published_folders_has_its_splits(tmp_path: Path) -> None:
    rl = [row(n) for n in range(200)]
    written(tmp_path / "data" / "rl" / "train-00000-of-00002.jsonl", rl[:100])
    written(tmp_path / "data" / "rl" / "train-00001-of-00002.jsonl", rl[100:])
    written(
        tmp_path / "data" / "evaluation" / "train-00000-of-00001.jsonl", [row(n) for n in range(900, 905)]
    )
    found = {
        split: {task.info["qid"] for task in _tasks(StackExchange(split, data=tmp_path))}
        for split in ("train", "validation", "test")
    }
    assert found["test"] == set(range(900, 905))
    assert (
        found["train"] | found["validation"] == set(range(200)) and not found["train"] & found["validation"]
    )
    assert 2 <= len(found["validation"]) <= 25


def test_the_hub_reader_reads_a_folder_of_a_data_set(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for part, first in (("rl", 0), ("evaluation", 50)):
        written(tmp_path / "set" / "data" / part / "train.jsonl", [row(first + n) for n in range(4)])
    columns = ("qid", "question", "response_j", "response_k")
    stream = hub_rows(str(tmp_path / "set"), Request("train", columns, 0.0, data_dir="data/evaluation"))
    assert [item["qid"] for item in stream.rows] == [50, 51, 52, 53]


def test_sft_and_reward_model_read_the_same_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", [row(1), row(2)])
    (pair, _), _ = read_demonstrations(path, "all")
    assert (pair.prompt, pair.completion) == (
        "Question: How do I\n\nopen file 1?\n\nAnswer: ",
        "With `open`.",
    )
    (comparison, _), _ = read_comparisons(path, "all")
    assert (comparison.prompt, comparison.chosen, comparison.rejected) == (
        pair.prompt,
        "With `open`.",
        "You cannot.",
    )


def _tasks(env: StackExchange) -> list:
    return [env.task(index) for index in range(env.num_tasks)]
