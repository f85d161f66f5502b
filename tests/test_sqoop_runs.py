"""SQOOP as RLlib, Tune and the command line see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqoop_fixture import same, small, weights

import rllib_ext
from rllib_ext import registry
from rllib_ext.cli import main
from rllib_ext.errors import BadConfig
from rllib_ext.runtime import rllib_state
from rllib_ext.sqoop.exporting import read_trained
from rllib_ext.sqoop.persistence import OWN
from rllib_ext.sqoop.sizes import recipe
from tuned_configs import sqoop as sweep


def test_the_name_is_an_algorithm_and_a_config_of_the_package() -> None:
    assert registry.algorithm("SQOOP") is rllib_ext.SQOOP
    assert isinstance(rllib_ext.SQOOP.get_default_config(), rllib_ext.SQOOPConfig)
    with pytest.raises(BadConfig, match="Did you mean 'layout'"):
        rllib_ext.SQOOPConfig().training(layuot="tree")


def test_an_algorithm_trains_examines_exports_and_resumes_to_the_bit(
    ray_session: Any, tmp_path: Path
) -> None:
    config = small(layout="stochastic", evaluate_every=2)
    straight = config.copy(copy_frozen=False).build_algo()
    first = straight.train()
    assert first["num_updates_lifetime"] == 3 and first["loss_ema"] > 0.5 and 0 <= first["acc_seen"] <= 1
    assert 0 < first["p_tree"] < 1 and "tree_loss" in first["learners"]["default_policy"]
    rllib_state.save(straight, tmp_path / "kept", OWN)
    straight.save_to_path(str(tmp_path / "rllib"))
    assert {"acc_seen", "acc_unseen_val", "acc_unseen_test", "best_step"} <= set(straight.train())
    for restore in (
        lambda algorithm: rllib_state.restore(algorithm, tmp_path / "kept", OWN),
        lambda algorithm: algorithm.restore_from_path(str(tmp_path / "rllib")),
    ):
        resumed = config.copy(copy_frozen=False).build_algo()
        restore(resumed)
        assert resumed.iteration == 1
        resumed.train()
        assert same(_weights(straight), _weights(resumed))
        resumed.stop()
    trained = read_trained(straight.export(tmp_path / "trained"))
    assert set(trained.weights) == {"last", "best"} and trained.figures["num_updates_lifetime"] == 6
    straight.stop()


def _weights(algorithm: Any) -> dict[str, Any]:
    return weights(algorithm.learner_group._learner)


def test_a_smoke_run_leaves_its_model_and_a_report(
    ray_session: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "SQOOP", "--smoke", "--json", "--storage-path", str(tmp_path), "--name", "run"]
    words += ["--set", "updates_per_iteration=2", "--set", "module=find", "--set", "total_iterations=2"]
    assert main(words) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["env"] == "SQOOP" and 0 <= summary["acc_unseen_test"] <= 1
    assert read_trained(summary["trained"]).figures["num_updates_lifetime"] == 4
    assert main(["resume", summary["run"], "--quiet"]) == 0  # finished: nothing to do


def test_the_command_refuses_what_is_not_its_own_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["train", "SQOOP", "--storage-path", str(tmp_path)]
    for words, answer in (
        (["--set", "encoder=flim"], "'film'"),
        (["--set", "rhs_per_lsh=2"], "Did you mean 'rhs_per_lhs'"),
        (["--env", "SQOOB"], "Did you mean 'SQOOP'"),
        (["--env-set", "num_glyph=9"], "Did you mean 'num_glyphs'"),
    ):
        assert main([*base, *words]) == 2
        assert answer in capsys.readouterr().err
    assert main([*base, "--dry-run", "--set", "encoder=film"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["env"] == "SQOOP" and shown["total_iterations"] == 40 and shown["evaluation_interval"] == 4


def test_the_sweep_has_every_model_variety_and_seed() -> None:
    args = sweep.arguments(["--seeds", "3"])
    points = sweep.trials(args)
    assert len(points) == len(sweep.MODELS) * 3 * 3 and len({json.dumps(point) for point in points}) == len(
        points
    )
    assert sweep.updates(args) == recipe("nmn", "mini").updates == 4000
    assert len({tuple(point) for point in points}) == 1  # every trial has the same knobs
    induction = sweep.arguments(["--study", "induction", "--seeds", "1", "--rhs", "1", "--p0", ".1", ".9"])
    found = [
        (point["layout"], point["module"], point["p0"], point["alpha"]) for point in sweep.trials(induction)
    ]
    assert found == [
        ("stochastic", "residual", 0.1, "hard"), ("stochastic", "find", 0.1, "hard"),
        ("stochastic", "residual", 0.9, "hard"), ("stochastic", "find", 0.9, "hard"),
        ("tree", "find", 0.5, "learned"),
    ]  # fmt: skip


def test_at_the_size_of_the_paper_a_trial_is_as_long_as_there() -> None:
    args = sweep.arguments(["--preset", "paper", "--models", "film", "relnet", "--seeds", "1"])
    assert sweep.updates(args) == 500_000 and [p["rhs_per_lhs"] for p in sweep.trials(args)][:6] == [
        1,
        2,
        4,
        8,
        18,
        35,
    ]
    assert sweep.updates(sweep.arguments(["--preset", "paper", "--models", "tree"])) == 50_000


def test_no_trial_is_stopped_before_the_plateau_can_be_left(tmp_path: Path) -> None:
    tuner = sweep.build(sweep.arguments(["--asha", "--storage-path", str(tmp_path)]))
    scheduler = tuner._local_tuner._tune_config.scheduler
    rungs = [rung for bracket in scheduler._brackets for rung, _ in bracket._rungs]
    assert min(rungs) == 1600
    with pytest.raises(BadConfig, match="nothing could be stopped"):
        sweep.build(sweep.arguments(["--asha", "--updates", "4000", "--grace", "4000"]))


def test_what_the_sweep_cannot_do_is_refused() -> None:
    for words, message in (
        (["--study", "models", "--p0", "0.5"], "no axis"),
        (["--study", "induction", "--models", "tree"], "no axis"),
        (["--updates", "0"], "1 or more"),
    ):
        with pytest.raises(BadConfig, match=message):
            sweep.arguments(words)
    with pytest.raises(BadConfig, match="with 8 glyphs"):
        sweep.trials(sweep.arguments(["--rhs", "8"]))
    with pytest.raises(BadConfig, match="Did you mean 'pairs_seed'"):
        sweep.trials(sweep.arguments(["--set", '{"pair_seed": 1}']))


def test_a_trial_goes_through_tune_and_leaves_its_model(ray_session: Any, tmp_path: Path) -> None:
    more = json.dumps({"updates_per_iteration": 2})
    args = sweep.arguments(["--smoke", "--study", "induction", "--modules", "find", "--updates", "2", "--set", more,
                            "--storage-path", str(tmp_path)])  # fmt: skip
    results = sweep.build(args).fit()
    assert not results.errors and len(results) == 1
    assert 0 < results[0].metrics["p_tree"] < 1 and "acc_unseen_test" in results[0].metrics
    with results[0].checkpoint.as_directory() as folder:
        assert read_trained(Path(folder) / "trained").settings["layout"] == "stochastic"
