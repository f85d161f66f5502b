"""Frontiers out of run folders: which points count, how runs are grouped, what `rllib-ext plot` draws."""

from __future__ import annotations

import csv
import json

import pytest

from rllib_ext.analysis.frontier_points import curves, load_trials, trials_of
from rllib_ext.analysis.frontier_report import elastic_recipes, sweep_frontier
from rllib_ext.analysis.plots import draw_all
from rllib_ext.analysis.run_data import load_run
from rllib_ext.analysis.sweep_data import is_sweep
from rllib_ext.cli import main
from rllib_ext.errors import BadData


def row(iteration: int, reward: float, drift: float, due: int = 0, resets: int = 0) -> dict:
    return {
        "training_iteration": iteration,
        "num_updates_lifetime": iteration,
        "evaluation": {"reward_mean": reward, "ppl_reference": drift, "kl_ref": 9.0},
        "er": {"reset_due": due, "num_resets": resets},
        "config": {"model": "left out"},
    }


def write_run(folder, rows, **settings) -> None:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "params.json").write_text(json.dumps(settings))


def saw_tooth(shift: float = 0.0) -> list[dict]:
    return [
        row(1, 0.5 + shift, 30), row(2, 0.8 + shift, 40, due=1), row(3, 0.6 + shift, 33, resets=1),
        row(4, 0.9 + shift, 41, due=1, resets=1), row(5, 0.7 + shift, 35, resets=2),
    ]  # fmt: skip


@pytest.fixture
def sweep(tmp_path):
    for beta in (0.0, 0.1, 0.02):
        for seed in (1, 2):
            settings = {"variant": "elastic_reset", "kl_beta": beta, "seed": seed, "reset_every": 2}
            write_run(tmp_path / f"er_{beta}_{seed}", saw_tooth(0.1 * seed - beta), **settings)
            rows = [row(5, 0.7 + 0.1 * seed - beta, 50 - 100 * beta)]
            write_run(tmp_path / f"none_{beta}_{seed}", rows, variant="none", kl_beta=beta, seed=seed)
    return tmp_path


def test_points_are_those_before_resets_and_the_end(sweep) -> None:
    trials, measure = load_trials(sweep)
    assert measure == ("evaluation/reward_mean", "evaluation/ppl_reference")
    one = next(trial for trial in trials if trial.name == "er_0.0_1")
    assert one.points == [(0.9, 40.0), (1.0, 41.0), (0.7 + 0.1, 35.0)]
    assert len(one.trajectory) == 5


def test_seeds_are_averaged_and_the_knob_is_found_and_ordered(sweep) -> None:
    by_name = {curve.name: curve for curve in curves(load_trials(sweep)[0])}
    assert list(by_name) == ["elastic_reset", "none"]
    assert list(by_name["none"].settings) == ["0.0", "0.02", "0.1"]
    first = by_name["none"].points[0]
    assert (first.reward, first.drift, first.seeds) == (pytest.approx(0.85), 50.0, 2)
    assert first.reward_se == pytest.approx(0.05)


def test_without_a_sweep_the_checkpoints_are_the_points() -> None:
    measured = [(r["evaluation"], r["er"]["reset_due"]) for r in saw_tooth()]
    flat = [{"evaluation/reward_mean": e["reward_mean"], "evaluation/kl_ref": e["ppl_reference"], "er/reset_due": due}
            for e, due in measured]  # fmt: skip
    trials, measure = trials_of([("a", {"seed": 1}, flat), ("b", {"seed": 2}, flat)])
    assert measure[1] == "evaluation/kl_ref"
    (curve,) = curves(trials)
    assert [(p.reward, p.drift, p.seeds) for p in curve.points] == [(0.8, 40, 2), (0.9, 41, 2), (0.7, 35, 2)]


def test_plot_draws_a_sweep_with_its_hypervolumes(sweep, capsys) -> None:
    (sweep / "none_0.0_1" / "evaluations.jsonl").write_text(
        json.dumps({"updates": 0, "reward_mean": 0.4, "ppl_reference": 30.0}) + "\n"
    )
    assert is_sweep(sweep) and main(["plot", str(sweep)]) == 0
    png = sweep / "report" / "reward_drift_frontier.png"
    assert str(sweep / "report" / "report.html") in capsys.readouterr().out and png.stat().st_size > 10_000
    table = list(csv.DictReader((sweep / "report" / "reward_drift_frontier.csv").open()))
    assert len(table) == 6
    again = sweep_frontier(sweep, knob="kl_beta", reference=(0.5, 60.0))[1]
    rows = [dict(zip(again.columns, row, strict=True)) for row in again.rows]
    mine = [r for r in rows if r["method"] == "elastic_reset"]
    assert float(mine[0]["hypervolume"]) == pytest.approx(
        (0.85 - 0.5) * 25
    )  # one drift: the best reward counts


def test_a_run_with_resets_gets_its_saw_tooth_and_others_do_not(tmp_path) -> None:
    write_run(tmp_path / "run", saw_tooth())
    run = load_run(tmp_path / "run")
    plots = {plot.name: plot for plot in draw_all(run, tmp_path / "report")}
    assert plots["reward_drift_frontier"].png.is_file()
    plain = [{k: v for k, v in r.items() if k != "er"} for r in saw_tooth()]
    write_run(tmp_path / "plain", plain)
    assert elastic_recipes(load_run(tmp_path / "plain")) == []


def test_runs_without_drift_say_what_to_do(tmp_path) -> None:
    write_run(tmp_path / "a", [{"training_iteration": 1, "reward": 1.0}])
    with pytest.raises(BadData, match="evaluation_interval=1"):
        load_trials(tmp_path)
