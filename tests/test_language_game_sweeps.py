"""The sweeps over language games: which trials there are, the table of methods, and one run through Tune."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_ext.errors import BadConfig
from tuned_configs import _language_games as games
from tuned_configs import lewis_game, pivot_game


def test_every_method_has_every_seed_and_its_own_knob(capsys: pytest.CaptureFixture) -> None:
    assert pivot_game.main(["--dry-run", "--seeds", "3", "--num-samples", "2"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["trials"]) == 4 * 2 * 3
    own = {trial["method"]: {knob for knob in trial} - {"method", "seed"} for trial in plan["trials"]}
    assert own == {
        "reinforce": {"entropy_weight"},
        "s2p": {"s2p_weight"},
        "sil": {"sil_every"},
        "elastic_reset": {"reset_every"},
    }
    assert {trial["reset_every"] for trial in plan["trials"] if "reset_every" in trial} == {25_000, 33_333}
    assert plan["fixed"]["pretrained_folder"].endswith("runs/pivot_game-pretrained")


def test_ablations_sweep_the_period_too_and_smoke_is_one_seed(capsys: pytest.CaptureFixture) -> None:
    assert pivot_game.main(["--dry-run", "--smoke", "--methods", "reset_to_init", "ema_only"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["trials"] == [
        {"method": name, "reset_every": 60, "seed": 1} for name in ("reset_to_init", "ema_only")
    ]
    with pytest.raises(SystemExit):
        pivot_game.main(["--methods", "nlpo"])


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    args = lewis_game.arguments(["--resume", "--storage-path", str(tmp_path)])
    with pytest.raises(BadConfig, match="no sweep to resume"):
        lewis_game.build(args)
    with pytest.raises(BadConfig, match="--seeds 0"):
        lewis_game.trials(lewis_game.arguments(["--seeds", "0"]))


def test_mean_and_standard_error_over_seeds() -> None:
    rows = [{"a": 1.0}, {"a": 2.0}, {"a": 6.0}]
    assert games._mean("x", "a", rows) == {"x": 3.0, "x_se": pytest.approx((7 / 3) ** 0.5, abs=1e-4)}
    assert games._mean("x", "a", rows[:1]) == {"x": 1.0, "x_se": None}


def test_a_sweep_runs_prints_its_line_and_is_complete_when_asked_again(
    ray_session, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    small = {
        "hidden": 8,
        "pretrain_updates": 5,
        "play_updates": 20,
        "report_every": 10,
        "reset_every": 10,
        "ema_every": 1,
    }
    words = [
        "--smoke",
        "--methods",
        "plain",
        "elastic_reset",
        "--storage-path",
        str(tmp_path),
        "--set",
        json.dumps(small),
    ]
    assert lewis_game.main(words) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["errors"] == 0 and set(line["methods"]) == {"start", "plain", "elastic_reset"}
    for row in line["methods"].values():
        assert row["n"] == 1 and 0 <= row["task_accuracy"] <= 1
    assert lewis_game.main([*words, "--resume"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["methods"] == line["methods"]


@pytest.mark.slow
def test_smoke_learns_and_drifts(ray_session, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Pretraining translates; REINFORCE raises BLEU-De and lowers BLEU-En."""
    assert pivot_game.main(["--smoke", "--storage-path", str(tmp_path)]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = line["methods"]
    assert set(found) == {"start", "reinforce", "s2p", "sil", "elastic_reset"} and line["errors"] == 0
    assert found["start"]["bleu_en"] > 30 and found["start"]["bleu_de"] > 15
    assert found["reinforce"]["bleu_de"] > found["start"]["bleu_de"] + 5
    assert found["reinforce"]["bleu_en"] < found["start"]["bleu_en"] - 5
    assert found["reinforce"]["nll"] > found["start"]["nll"]
