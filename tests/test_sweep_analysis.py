"""What is made of a sweep's folder: estimates with known answers, tables, and the report of faults."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rllib_ext.analysis.estimators import iqm, mean_interval, stratified_bootstrap
from rllib_ext.analysis.sweep_data import is_sweep, load_sweep
from rllib_ext.analysis.sweep_figures import numeric_setting
from rllib_ext.analysis.sweep_tables import grid_table, mean_curve, robust_table, tidy_table
from rllib_ext.cli import main
from rllib_ext.errors import BadData


def test_the_interquartile_mean_is_the_mean_of_the_middle_half() -> None:
    assert iqm([8, 1, 100, 3, 4, 5, -50, 6]) == (3 + 4 + 5 + 6) / 4
    assert iqm([1, 2, 9]) == 4 and math.isnan(iqm([]))
    for size in (4, 5, 7, 23):
        values = np.random.default_rng(size).normal(size=size)
        assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_students_interval_of_three_values() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.value, found.n) == (2.0, 3)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3)) and found.low == pytest.approx(
        4 - found.high
    )
    assert mean_interval([5.0]).low is None


def test_the_bootstrap_resamples_within_each_task_only() -> None:
    alike = stratified_bootstrap([[0.0] * 4, [10.0] * 4], np.mean)
    assert (alike.value, alike.low, alike.high, alike.n) == (5.0, 5.0, 5.0, 8)  # pooled, it would be wide
    rng = np.random.default_rng(0)
    tasks = [rng.normal(0, 1, 40), rng.normal(100, 3, 60)]
    found = stratified_bootstrap(tasks, np.mean)
    error = math.sqrt(sum(task.size * task.var() for task in tasks)) / 100
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert found == stratified_bootstrap(tasks, np.mean)
    assert stratified_bootstrap([[1.0], [3.0]]).low is None  # nothing to resample


def result(iteration: int, updates: int, reward: float, **more: object) -> dict:
    return {
        "training_iteration": iteration, "num_updates_lifetime": updates, "reward": {"mean": reward}, "pid": 7,
        "time_total_s": 1.0, "note": "text", "done": False, "iterations_since_restore": iteration, **more,
    }  # fmt: skip


def write_trial(folder: Path, rows: list[dict], **settings: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "params.json").write_text(json.dumps({"env": "Copy", **settings}))
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """N in {1, 4} with two seeds; one trial failed once and went on, one was killed in the middle of a line."""
    for n in (1, 4):
        for seed in (1, 2):
            evaluation = {"reward_mean": 0.1 * n + seed, "win_rate": 0.25 * seed, "kl_ref": n / seed}
            rows = [result(1, 2, 0.0), result(2, 4, float(n * seed), done=True, evaluation=evaluation)]
            write_trial(
                tmp_path / f"AsyncOnlineDPO_{n}_{seed}", rows, minibatches_per_generation=n, seed=seed
            )
    failed, torn = tmp_path / "AsyncOnlineDPO_1_1", tmp_path / "AsyncOnlineDPO_4_2"
    (failed / "error.txt").write_text(
        "Failure # 1 (occurred at 2026-01-01)\nray::x\n<b>Stalled</b>: no worker\n"
    )
    again = [result(2, 3, 9.0), result(2, 4, 1.0, done=True, iterations_since_restore=1,
             evaluation={"reward_mean": 1.1, "win_rate": 0.25, "kl_ref": 1.0})]  # fmt: skip
    (failed / "result.json").write_text(
        "".join(json.dumps(row) + "\n" for row in [result(1, 2, 0.0), *again])
    )
    (failed / "events.jsonl").write_text('{"time": 1.0, "event": "worker_died", "detail": "worker 1"}\n')
    with (torn / "result.json").open("a") as file:
        file.write('{"training_iter')
    (tmp_path / "sweep.json").write_text(
        json.dumps({"name": "study", "trainable": "AsyncOnlineDPO", "space": {}})
    )
    return tmp_path


def test_the_tidy_table_has_a_row_for_every_number_and_a_repeated_result_once(sweep: Path) -> None:
    table = tidy_table(load_sweep(sweep))
    assert table.columns == ("trial", "algorithm", "environment", "seed", "step", "metric", "value")
    mine = [row[1:] for row in table.rows if row[0] == "AsyncOnlineDPO_1_1" and row[5] == "reward/mean"]
    assert mine == [
        ("AsyncOnlineDPO", "Copy", 1, 2.0, "reward/mean", 0.0),
        ("AsyncOnlineDPO", "Copy", 1, 4.0, "reward/mean", 1.0),
    ]
    assert {"pid", "time_total_s", "note", "done"}.isdisjoint(table.column("metric"))


def test_the_grid_is_the_mean_over_seeds_of_the_newest_values(sweep: Path) -> None:
    data = load_sweep(sweep)
    assert data.varied == ["minibatches_per_generation"] == [numeric_setting(data)]
    rows = {(row[0], row[1]): row[2:] for row in grid_table(data).rows}
    mean, low, high, n = rows[4, "evaluation/reward_mean"]
    assert (mean, n) == (pytest.approx(1.9), 2) and high - low == pytest.approx(
        12.706205 * math.sqrt(0.5) * math.sqrt(2)
    )
    (first, second) = robust_table(data).rows
    assert first[:4] == ("AsyncOnlineDPO", 1, "evaluation/reward_mean", pytest.approx(1.6)) and second[1] == 4


def test_curves_of_trials_with_other_steps_meet_on_straight_lines(tmp_path: Path) -> None:
    write_trial(
        tmp_path / "A_1", [result(i, at, 1.0 * at) for i, at in enumerate((1, 2, 3, 4, 9), 1)], seed=1
    )
    write_trial(tmp_path / "A_2", [result(i, at, 3.0 * at) for i, at in enumerate((2, 4, 6), 1)], seed=2)
    data = load_sweep(tmp_path)
    found = mean_curve(data.trials, "reward/mean", data.step)
    assert [(at, estimate.value, estimate.n) for at, estimate in found] == [(2, 4, 2), (4, 8, 2), (6, 12, 2)]


def test_the_report_names_what_went_wrong_and_lets_no_markup_through(sweep: Path, capsys) -> None:
    assert is_sweep(sweep) and main(["report", str(sweep)]) == 0
    page = Path(capsys.readouterr().out.strip())
    text = page.read_text()
    assert "4 of 4 trials finished" in text and "trial_failed" in text and "worker_died" in text
    assert "<b>Stalled" not in text and "&lt;b&gt;Stalled" in text and "last line is torn" in text
    faults = list(csv.DictReader((page.parent / "what_went_wrong.csv").open()))
    assert [(row["event"], row["times"]) for row in faults] == [
        ("trial_failed", "1"), ("trial_restored", "1"), ("worker_died", "1"),
    ]  # fmt: skip
    for name in ("sweep_grid", "learning_curves", "reward_drift_frontier", "win_rate_frontier"):
        assert (page.parent / f"{name}.png").stat().st_size > 10_000
    frontier = list(csv.DictReader((page.parent / "win_rate_frontier.csv").open()))
    assert [(row["setting"], float(row["reward"]), float(row["drift"])) for row in frontier] == [
        ("1", 0.375, 0.75), ("4", 0.375, 3.0),
    ]  # fmt: skip


def test_a_folder_without_results_says_so(tmp_path: Path) -> None:
    assert not is_sweep(tmp_path)
    with pytest.raises(BadData, match="no folder of a sweep"):
        load_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(BadData, match="no trial has reported"):
        load_sweep(tmp_path)
