"""CommonsenseKBC as RLlib, Tune and the command line see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kbc_fixture import SMALL, folder_of_files, same, small, weights

import rllib_ext
from rllib_ext.cli import main
from rllib_ext.commonsense.export import load_scorer
from rllib_ext.commonsense.persistence import OWN
from rllib_ext.errors import BadConfig
from rllib_ext.runtime import rllib_state
from tuned_configs import commonsense as sweep


def test_an_algorithm_trains_judges_exports_and_resumes_to_the_bit(ray_session: Any, tmp_path: Path) -> None:
    rllib_ext.register()
    config = small(
        judge_every=2, data=str(folder_of_files(tmp_path / "kb")), quarantine=str(tmp_path / "q.jsonl")
    )
    straight = config.copy(copy_frozen=False).build_algo()
    first = straight.train()
    assert first["learners"]["default_policy"]["bce_loss"] > 0 and "kbc" not in first
    assert (first["num_updates_lifetime"], first["data/read"], first["data/quarantined"]) == (5, 802 + 180, 2)
    assert len((tmp_path / "q.jsonl").read_text().splitlines()) == 2
    rllib_state.save(straight, tmp_path / "kept", OWN)
    straight.save_to_path(str(tmp_path / "rllib"))
    second = straight.train()
    assert 0 <= second["kbc"]["test"]["pooled_thirds"]["far"]["auc"] <= 1 and second["best"]["updates"] == 10
    for restore in (
        lambda algorithm: rllib_state.restore(algorithm, tmp_path / "kept", OWN),
        lambda algorithm: algorithm.restore_from_path(str(tmp_path / "rllib")),
    ):
        resumed = config.copy(copy_frozen=False).build_algo()
        restore(resumed)
        assert resumed.iteration == 1
        assert resumed.train()["kbc"] == second["kbc"]
        assert same(_weights(straight), _weights(resumed))
        resumed.stop()
    card = load_scorer(straight.export(tmp_path / "model")).card
    assert card["updates"] == 10 and card["data"]["split"] == "published"
    straight.stop()


def _weights(algorithm: Any) -> Any:
    return weights(algorithm.learner_group._learner)


def test_a_smoke_run_leaves_a_scorer_whose_path_it_prints_and_resumes(
    ray_session: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "CommonsenseKBC", "--smoke", "--json", "--storage-path", str(tmp_path), "--name", "run"]
    words += [
        word for name in ("synthetic_train", "word_size") for word in ("--set", f"{name}={SMALL[name]}")
    ]
    assert main([*words, "--set", "total_iterations=2", "--set", "updates_per_iteration=3"]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert load_scorer(summary["model"]).card["updates"] == 6 and 0 <= summary["best/test/accuracy"] <= 1
    assert main(["resume", summary["run"], "--quiet"]) == 0  # finished: nothing to do


def test_what_the_command_cannot_do_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "CommonsenseKBC", "--storage-path", str(tmp_path)]
    assert main([*words, "--env", "TLDR"]) == 2
    assert "plays nothing" in capsys.readouterr().err
    assert main([*words, "--set", "data=nowhere/train.jsonl", "--set", "split=random"]) == 3
    assert main([*words, "--set", "scoer=dnn"]) == 2
    assert "'scorer'" in capsys.readouterr().err


# ----- the sweep


def test_every_combination_is_a_trial_with_every_seed_that_matters(tmp_path: Path) -> None:
    folder = str(folder_of_files(tmp_path / "kb"))
    args = sweep.arguments(["--data", folder, "--scorer", "factorized", "maxsim", "--seeds", "3"])
    points = sweep.trials(args)
    kinds = [(point["scorer"], point["split"]) for point in points]
    assert kinds.count(("factorized", "random")) == 3 and kinds.count(("maxsim", "random")) == 1
    assert len(points) == 2 * 4 and len({json.dumps(point) for point in points}) == 8
    assert sweep.fixed(args)["data"] == folder
    short = sweep.arguments(["--data", folder, "--epochs", "50", "--set", '{"updates_per_iteration": 4}'])
    assert sweep.updates(short) == 200  # 50 epochs of four
    with pytest.raises(BadConfig, match="Did you mean 'split'"):
        sweep.trials(sweep.arguments(["--set", '{"splt": 1}']))
    with pytest.raises(BadConfig, match="--epochs is 0"):
        sweep.arguments(["--epochs", "0"])


def test_trials_go_through_tune_and_leave_scorers(ray_session: Any, tmp_path: Path) -> None:
    small_base = json.dumps({"synthetic_train": 600, "updates_per_iteration": 3, "hidden": 8})
    args = sweep.arguments(["--smoke", "--scorer", "factorized", "maxsim", "--set", small_base,
                            "--storage-path", str(tmp_path)])  # fmt: skip
    results = sweep.build(args).fit()
    assert not results.errors and len(results) == 2
    for result in results:
        with result.checkpoint.as_directory() as folder:
            found = load_scorer(Path(folder) / "model")
        assert found.card["settings"]["scorer"] == result.config["scorer"]
        assert "auc" in result.metrics["best"]["novel"]
