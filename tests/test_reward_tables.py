"""The reward model's report: tables against counts by hand, calibration of a calibrated model, files and page."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rllib_ext.analysis.report import build_report
from rllib_ext.analysis.reward_tables import (
    accuracy_table,
    calibration_error,
    calibration_table,
    margins,
    padding_table,
    reward_report,
)
from rllib_ext.functional.win_rate import share
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer
from rllib_ext.llm.reward_diagnostics import padding_difference, position_scores, spread
from rllib_ext.llm.reward_head import last_token_scores, new_reward_model, pad_left, pad_right

ROWS = [
    {"chosen": 1.0, "rejected": 0.0, "batch": "b1", "confidence": 9.0, "split": "valid1"},
    {"chosen": 0.0, "rejected": 1.0, "batch": "b1", "confidence": 1.0, "split": "valid2"},
    {"chosen": 0.5, "rejected": 0.5, "batch": "b1", "confidence": 9.0, "split": "valid1"},
    {"chosen": 2.0, "rejected": 0.0, "batch": "b2", "confidence": 5.0},
    {"chosen": None, "rejected": 0.0, "batch": "b2", "confidence": 5.0},
]


def test_accuracy_by_group_is_counted_by_hand_and_ties_are_wrong() -> None:
    assert [row[:2] + row[4:] for row in accuracy_table(ROWS, "batch").rows] == [
        ("b1", 1 / 3, 3),
        ("b2", 1.0, 1),
    ]
    by_confidence = accuracy_table(ROWS, "confidence")
    assert by_confidence.column("confidence") == [1.0, 5.0, 9.0] and by_confidence.column("n") == [1, 1, 2]
    assert accuracy_table(ROWS, "split").column("n") == [2, 1], "rows without a split are in none"
    found = share(1, 3)
    assert accuracy_table(ROWS, "batch").rows[0][2:4] == (found.low, found.high)
    assert len(margins(ROWS)) == 4


def calibrated(count: int, scale: float, seed: int = 0) -> list[dict[str, Any]]:
    """Score differences whose sigmoid is the truth where ``scale`` is 1; larger: scores too certain."""
    rng = np.random.default_rng(seed)
    gaps = rng.normal(0, 1.5, count)
    right = rng.random(count) < 1 / (1 + np.exp(-gaps))
    return [
        {"chosen": float(scale * (g if r else -g)), "rejected": 0.0} for g, r in zip(gaps, right, strict=True)
    ]


def test_a_calibrated_model_lies_on_the_sigmoid_and_a_certain_one_below() -> None:
    table = calibration_table(calibrated(20_000, 1.0))
    assert calibration_error(table) < 0.015 and sum(table.column("n")) == 20_000
    inside = [row[5] <= row[3] <= row[6] for row in table.rows]
    assert sum(inside) >= 8, "95 % intervals hold the truth nearly always"
    sure = calibration_table(calibrated(20_000, 3.0))
    assert calibration_error(sure) > 0.1
    assert all(row[3] > row[4] for row in sure.rows[2:]), "the expectation lies above the accuracy"
    assert table.column("difference_mean") == sorted(table.column("difference_mean"))


def test_few_and_no_comparisons_have_tables_too() -> None:
    assert calibration_table([]).rows == [] and calibration_error(calibration_table([])) is None
    assert sum(calibration_table(ROWS).column("n")) == 4
    empty = reward_report([], {})
    assert empty["accuracy"] is None and empty["padding"]["mean"] is None
    json.dumps(reward_report(ROWS, {"padding": {"differences": [0.0, 0.02, None]}}))


def test_padding_figures_are_means_and_counts() -> None:
    found = reward_report(ROWS, {"padding": {"differences": [0.0, 0.02, -0.03, 0.005]}})["padding"]
    assert found == {"mean": pytest.approx(-0.00125), "share_above_1e-2": 0.5, "n": 4}
    assert padding_table({"padding": "broken"}).rows == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    tokenizer = word_tokenizer([f"w{i}" for i in range(20)])
    config = causal_lm_config(tokenizer, architecture="gpt_neox", hidden=32, layers=2, heads=2, max_length=24)
    folder = save_model(build_causal_lm(config, 0), tokenizer, tmp_path_factory.mktemp("m") / "start")
    return new_reward_model(folder, seed=0, pad_token_id=tokenizer.pad_token_id)


def test_padding_difference_is_right_minus_left_of_the_same_rows(model: Any) -> None:
    rows = [[1, 2, 3], [4, 5], [6, 7, 8, 9, 10]]
    found = padding_difference(model, rows, batch_size=2)
    with torch.no_grad():
        for row, difference in zip(rows, found.differences, strict=True):
            right, left = (last_token_scores(model, *pad([row], 6)) for pad in (pad_right, pad_left))
            assert difference == pytest.approx((right - left).item(), abs=1e-6)
    assert found.mean == pytest.approx(sum(found.differences) / 3)
    shifted = type(found)((0.0, 0.02, -0.02))
    assert shifted.share_above == pytest.approx(2 / 3)


def test_outputs_before_the_last_token_are_read_at_every_place(model: Any) -> None:
    rows = [[1, 2, 3, 4], [5, 6]]
    with torch.no_grad():
        by_hand = [
            model.score(model.base_model(torch.tensor([row])).last_hidden_state)[0, :, 0].tolist()
            for row in rows
        ]
    found = position_scores(model, rows)
    before = [value for scores in by_hand for value in scores[:-1]]
    assert found.last_mean == pytest.approx(sum(scores[-1] for scores in by_hand) / 2, abs=1e-5)
    assert found.before_mean == pytest.approx(sum(before) / 4, abs=1e-5)
    assert found.negative_share == sum(value < 0 for value in before) / 4


def test_spread_is_of_the_population() -> None:
    assert spread(torch.tensor([1.0, 3.0])) == {"mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a reward-model stage, with hostile names in it."""
    (tmp_path / "config.json").write_text(
        json.dumps({"algorithm": "RewardModel", "data": "TLDR", "lr": 3e-6})
    )
    (tmp_path / "run.json").write_text(
        json.dumps({"algorithm": "RewardModel", "env": "<script>x", "seed": 1})
    )
    lines = [
        {
            "update": u,
            "loss": 0.7,
            "lr": 1e-3,
            "grad_norm": 1.0,
            "tokens": 9,
            "tokens_per_s": 5.0,
            "seconds": u,
        }
        for u in (1, 2, 3, 2, 3, 4)  # a resume from update 1
    ]
    rows = [
        row | {"batch": f"batch{i % 3}", "confidence": i % 4} for i, row in enumerate(calibrated(200, 1.0))
    ]
    rows[0]["batch"] = "=cmd()<script>"
    diagnostics = {
        "padding": {"differences": [0.0, 1e-3]},
        "positions": {"by_place": [0.1] * 20, "negative_share": 0.4},
    }
    finished = {
        "metrics": {"accuracy": 0.7, "references": {"mean": 0.0}},
        "rows": [
            {"purpose": "train", "source": "s", "split": "train", "read": 5, "kept": 4, "quarantined": 1}
        ],
    }
    for name, content in (("updates", lines), ("comparisons", rows)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in content))
    (tmp_path / "reward_diagnostics.json").write_text(json.dumps(diagnostics))
    (tmp_path / "stage.json").write_text(json.dumps(finished))
    for name in ("result.json", "events.jsonl"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_the_page_shows_every_part_and_files_lie_beside_it(run: Path) -> None:
    page = build_report(run).read_text()
    for title in ("Training", "Accuracy by group", "Calibration", "Padding", "The rows", "70.0%"):
        assert title in page
    assert page.count("data:image/png") == 4 and "Not drawn" not in page and "is missing" not in page
    assert "<script>" not in page
    report = run / "report"
    for name in ("training", "accuracy_by_group", "calibration", "padding_difference"):
        assert (report / f"{name}.png").stat().st_size > 5_000 and (report / f"{name}.csv").is_file()
    assert json.loads((report / "reward_model.json").read_text())["by_batch"]
    with open(report / "training.csv", newline="") as stream:
        updates = [row["update"] for row in csv.DictReader(stream)]
    assert updates == ["1", "2", "3", "4"], "what a resume did again counts once"
    assert "=cmd" not in {row[0] for row in csv.reader((report / "accuracy_by_batch.csv").open())}


def test_a_stage_under_way_and_an_sft_stage_degrade_in_words(run: Path) -> None:
    for name in ("stage.json", "comparisons.jsonl", "reward_diagnostics.json"):
        (run / name).unlink()
    page = build_report(run).read_text()
    assert "is at 4 updates" in page and page.count("Not drawn") == 3 and "is not finished" in page
    (run / "config.json").write_text(json.dumps({"algorithm": "SFT", "data": "TLDR"}))
    page = build_report(run).read_text()
    assert "Not drawn" not in page and "Calibration" not in page
    (run / "updates.jsonl").unlink()
    assert "updates.jsonl has no loss" in build_report(run).read_text()
    assert not math.isnan(len(page))
