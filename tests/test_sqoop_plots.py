"""The pictures of SQOOP: what is drawn, what is refused, and what a sweep's report makes of its trials."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from rllib_ext.analysis.sqoop_plots import (
    accuracies,
    accuracy_by_variety,
    layout_over_time,
    sweep_curves,
    sweep_rows,
    variety_table,
)
from rllib_ext.analysis.sweep_data import load_sweep
from rllib_ext.analysis.sweep_report import build_sweep_report
from rllib_ext.errors import BadData

ROWS = [
    {"model": "tree", "rhs": rhs, "seed": seed, "acc_seen": 0.99, "acc_unseen_test": 0.9 + 0.02 * seed}
    for rhs in (1, 2)
    for seed in range(3)
] + [{"model": "chain", "rhs": 1, "seed": 0, "acc_seen": 0.98, "acc_unseen_test": 0.5}]


def test_accuracies_are_means_over_seeds_with_students_interval() -> None:
    found = accuracies(ROWS)["tree"][1]["unseen"]
    half = 4.302652729911275 * 0.02 / 3**0.5  # t of 2 degrees of freedom, standard deviation .02
    assert (found.value, found.n) == (pytest.approx(0.92), 3)
    assert found.low == pytest.approx(0.92 - half) and found.high == pytest.approx(0.92 + half)
    table = variety_table(ROWS)
    assert [row[:3] for row in table.rows] == [("tree", 1, 3), ("tree", 2, 3), ("chain", 1, 1)]
    assert table.rows[2][-2:] == (None, None)  # one run has no interval


def test_a_model_whose_variety_has_no_unseen_pairs_is_drawn_by_its_seen_ones() -> None:
    rows = [*ROWS, {"model": "tree", "rhs": 7, "seed": 0, "acc_seen": 1.0, "acc_unseen_test": None}]
    figure = accuracy_by_variety(rows)
    unseen, seen = figure.axes
    lines = {line.get_label(): line.get_xdata() for line in unseen.lines}
    assert len(lines["tree"]) == 2
    assert len({line.get_label(): line.get_xdata() for line in seen.lines}["tree"]) == 3


def test_where_nothing_was_measured_there_is_no_picture() -> None:
    with pytest.raises(BadData, match="no run of SQOOP"):
        accuracy_by_variety([])
    with pytest.raises(BadData, match="no p_tree"):
        layout_over_time({"residual": []})


def _trial(folder: Path, name: str, settings: dict[str, object], p_tree: float | None) -> None:
    path = folder / f"SQOOP_{name}"
    path.mkdir(parents=True)
    (path / "params.json").write_text(json.dumps({"rhs_per_lhs": 1, "encoder": "nmn", **settings}))
    rows = []
    for at in (1, 2):
        row = {"training_iteration": at, "num_updates_lifetime": 100 * at, "acc_seen": 0.5 + 0.1 * at,
               "acc_unseen_test": 0.5}  # fmt: skip
        rows.append(row | ({} if p_tree is None else {"p_tree": p_tree + 0.1 * at}))
    (path / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_report_of_a_sweep_has_both_pictures_and_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "sqoop"
    for seed in (1, 2):
        _trial(folder, f"a{seed}", {"layout": "tree", "seed": seed}, None)
        _trial(folder, f"b{seed}", {"layout": "stochastic", "seed": seed}, 0.3)
    (folder / "sweep.json").write_text(json.dumps({"name": "sqoop", "trainable": "SQOOP", "space": {}}))
    sweep = load_sweep(folder)
    assert {row["model"] for row in sweep_rows(sweep)} == {"nmn tree", "nmn stochastic"}
    assert sweep_curves(sweep) == {"nmn stochastic, 1 rhs/lhs": [[(100.0, 0.4), (200.0, 0.5)]] * 2}
    page = build_sweep_report(folder).read_text()
    assert "Accuracy by #rhs/lhs" in page and "p(tree) over the updates" in page
    with (folder / "report" / "accuracy_by_variety.csv").open() as file:
        written = {row["model"]: row for row in csv.DictReader(file)}
    assert float(written["nmn tree"]["seen"]) == pytest.approx(0.7)
    assert (folder / "report" / "layout_over_time.png").stat().st_size > 5000
