"""What the command line writes: the files of every iteration, and exported models."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from rllib_ext.cli.result_log import ProgressTable, ResultLog
from rllib_ext.errors import BadConfig, Untrusted
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.storage import StorageError

CANARY = "canary-0d5c7f2e91"


# ----- the files of every iteration


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_table_grows_and_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    table = ProgressTable(path)
    table.write({"a": 1, "b": "x,y"})
    table.write({"b": "z", "evaluation/reward_mean": 0.5})
    table.close()
    with open(path, "a", encoding="utf-8") as stream:
        stream.write("3,torn")
    table = ProgressTable(path)
    table.write({"evaluation/reward_mean": 0.75, "a": 3})
    table.close()
    assert rows_of(path) == [
        {"a": "1", "b": "x,y", "evaluation/reward_mean": ""},
        {"a": "", "b": "z", "evaluation/reward_mean": "0.5"},
        {"a": "3", "b": "", "evaluation/reward_mean": "0.75"},
    ]


@pytest.mark.fault("B2")
def test_a_full_disk_costs_rows_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    run = RunFolder(tmp_path / "run")
    log = ResultLog(run, lambda event, detail: said.append(event))
    log.write({"training_iteration": 1, "reward": {"mean": float("nan")}, "config": {"secret": CANARY}})

    def full(*_: object, **__: object) -> None:
        raise StorageError(28, "storage full")

    with monkeypatch.context() as patch:
        patch.setattr(run, "append_jsonl", full)
        log.write({"training_iteration": 2})
        log.write({"training_iteration": 3})
    log.write({"training_iteration": 4})
    log.close()
    assert said == ["result_not_written"]
    results = run.read_jsonl("result.json")
    assert [row["training_iteration"] for row in results] == [1, 4] and "config" not in results[0]
    assert results[0]["reward"]["mean"] is None
    assert any(run.path.glob("events.out.tfevents.*"))


# ----- export


def test_an_unpinned_hub_model_is_not_exported(tmp_path: Path) -> None:
    from rllib_ext.llm.export import export_checkpoint

    with pytest.raises(Untrusted, match="40-digit commit"):
        export_checkpoint(
            tmp_path / "step_000001", {"model": "owner/model", "revision": "main"}, tmp_path / "out"
        )


def test_export_mixes_with_nobody_elses_files(tmp_path: Path) -> None:
    from rllib_ext.llm.export import export_checkpoint

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(BadConfig, match="not empty"):
        export_checkpoint(
            tmp_path / "step_000001", {"model": str(tmp_path), "revision": None}, tmp_path / "out"
        )


def test_texts_in_a_model_card_are_no_markup() -> None:
    from rllib_ext.llm.model_card import model_card

    hostile = "x`\n---\nbase_model: evil\n# <script>"
    config = {"algorithm": hostile, "env": hostile, "model": hostile, "revision": hostile, "lr": 1e-5}
    rows = [{"split": hostile, "updates": 3, "reward_mean": 0.5}]
    card = model_card(config, 3, {"command": hostile, "versions": {hostile: hostile}}, rows)
    assert card.count("\n---\n") == 1 and "\nbase_model: evil" not in card
    assert not any(line.startswith("# <") for line in card.splitlines())
    outside_code = "".join(part for index, part in enumerate(card.split("`")) if index % 2 == 0)
    assert "<script>" not in outside_code
