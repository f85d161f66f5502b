"""The sweep over biases, channels and rules: its trials, its random search, what it refuses, and what is drawn of it."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from rllib_ext.analysis.cooperation import LAST, cooperation_table, pairs_of
from rllib_ext.analysis.sweep_data import load_sweep
from rllib_ext.analysis.sweep_report import build_sweep_report
from rllib_ext.errors import BadConfig, BadData
from tuned_configs import emergent_comm as sweep
from tuned_configs._emergent_settings import best


def plan(*words: str) -> list[dict]:
    return sweep.trials(sweep.arguments(list(words)))


def test_the_curve_is_seven_biases_two_channels_five_seeds_with_the_best_settings() -> None:
    points = plan()
    assert len(points) == 7 * 2 * 5 == len({json.dumps(point) for point in points})
    settings, game = best("discrete", 120)
    one = next(
        p for p in points if p["env_config"]["bias"] == 120 and p["env_config"]["channel"] == "discrete"
    )
    assert one["env_config"]["vocabulary"] == game["vocabulary"] == 256
    assert {name: one[name] for name in settings} == settings
    args = sweep.arguments([])
    assert sweep.stop(args) == {"num_updates_lifetime": 30 * 250}
    assert sweep.stop(sweep.arguments(["--set", '{"mode": "ppo"}'])) == {
        "num_env_steps_sampled_lifetime": 2 * 480_000
    }


def test_the_search_draws_within_the_published_ranges_and_the_same_again() -> None:
    words = ["--search", "--num-samples", "40", "--seeds", "2", "--bias", "30", "90", "--channel", "discrete"]
    points = plan(*words)
    assert points == plan(*words) != plan(*words, "--search-seed", "1")
    assert len(points) == 40 * 2 * 2 and len({p["sender_lr"] for p in points}) == 80
    for name, low, high in (
        ("sender_lr", 1e-4, 1e-2),
        ("receiver_lr", 1e-4, 1e-2),
        ("sender_entropy_coeff", 1e-4, 1),
    ):
        values = [math.log(p[name] / low) / math.log(high / low) for p in points]
        assert 0 <= min(values) < 0.15 and 0.85 < max(values) <= 1
        assert 0.35 < sum(values) / len(values) < 0.65  # even in the logarithm
    assert {p["env_config"]["vocabulary"] for p in points} == {64, 128, 256}
    widths = {p[name] for p in points for name in ("sender_hidden", "receiver_hidden")}
    assert min(widths) >= 16 and max(widths) <= 64 and len(widths) > 20
    assert sweep.arguments(["--search"]).drawn == 100


def test_the_grid_of_negotiation() -> None:
    points = plan("--env", "Negotiation", "--seeds", "3")
    assert len(points) == 4 * 2 * 2 * 3
    assert sweep.stop(sweep.arguments(["--env", "Negotiation"])) == {"num_updates_lifetime": 2000}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bias", "200"], "bias"),
        (["--set", '{"receiver_rl": 1e-4}'], "receiver_rl"),
        (["--set", '{"sender_lr": -1}', "--env", "Negotiation"], "sender_lr"),
        (["--search", "--env", "Negotiation"], "--search"),
        (["--seeds", "0"], "--seeds 0"),
    ],
)
def test_values_that_no_trial_can_have_are_refused(words: list[str], message: str) -> None:
    with pytest.raises((BadConfig, ValueError), match=message):
        plan(*words)


def write_trial(
    folder: Path, bias: float, channel: str, losses: list[tuple[float, float]], seed: int = 1
) -> None:
    folder.mkdir(parents=True)
    settings = {"env": "SenderReceiver", "env_config": {"bias": bias, "channel": channel}, "seed": seed}
    (folder / "params.json").write_text(json.dumps(settings))
    rows = [
        {
            "training_iteration": at + 1,
            "num_updates_lifetime": 250 * (at + 1),
            "protocol": {"sender_loss": sender, "receiver_loss": receiver, "loss_sum": sender + receiver},
        }
        for at, (sender, receiver) in enumerate(losses)
    ]
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_curve_of_a_folder_of_trials(tmp_path: Path) -> None:
    """A run's score is the mean of its last ten results; the verdict is that of the mean losses."""
    sent, folder = [(90.0, 90.0)] * 5, tmp_path / "sweep"
    write_trial(folder / "a", 90, "discrete", sent + [(40.0, 70.0)] * LAST)
    write_trial(folder / "b", 90, "discrete", sent + [(50.0, 74.0)] * LAST, seed=2)
    write_trial(folder / "c", 90, "continuous", sent + [(89.0, 3.0)] * LAST)
    write_trial(folder / "d", 0, "discrete", [(13.0, 13.0)])
    found = {(row[0], row[1]): row for row in cooperation_table(pairs_of(load_sweep(folder))).rows}
    assert found["discrete", 90.0][2] == 117.0 and found["discrete", 90.0][5:] == (
        45.0,
        72.0,
        "communication",
        2,
    )
    assert found["discrete", 90.0][4] - 117.0 == pytest.approx(12.706205 * 7, rel=1e-6)  # Student's, two runs
    assert found["continuous", 90.0][7] == "manipulation" and found["discrete", 0.0][2] == 26.0
    build_sweep_report(folder)
    report = folder / "report"
    assert (report / "cooperation.png").stat().st_size > 10_000
    with (report / "cooperation.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3


def test_a_folder_of_other_trials_has_no_such_curve(tmp_path: Path) -> None:
    folder = tmp_path / "other" / "a"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text('{"env": "Beacon"}')
    (folder / "result.json").write_text('{"training_iteration": 1, "reward": {"mean": 1.0}}\n')
    with pytest.raises(BadData, match="no runs of EmergentComm"):
        pairs_of(load_sweep(tmp_path / "other"))
