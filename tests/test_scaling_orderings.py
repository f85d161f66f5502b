"""What the scaling benchmark concludes from its cells: intervals against scipy, verdicts on cells with a known answer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks._scaling_files import cell_folder, read_cells, rows_of
from benchmarks._scaling_orderings import (
    by_size,
    gains,
    orderings,
    over_optimised,
    slope,
)
from benchmarks._statistics import student_interval, verdict


def curve(gold: list[float], proxy: list[float]) -> list[dict[str, float]]:
    return [
        {"updates": 12 * place, "kl": 0.5 * place, "gold": g, "proxy": p}
        for place, (g, p) in enumerate(zip(gold, proxy, strict=True))
    ]


def cell(hidden: int, seed: int, **figures: Any) -> dict[str, Any]:
    shift = 0.1 * seed  # a seed's own luck, the same at every size: paired differences do not see it
    wiggle = 0.001 * ((hidden // 32 + seed) % 3)
    level = 0.1 * math.log2(hidden / 32)
    plain = {
        "hidden": hidden, "seed": seed, "parameters": hidden * hidden, "kl": 1.0, "rouge_l": 0.4 + shift - level,
        "rm_accuracy": 0.7 + shift + 0.001 * hidden * (-1) ** seed, "gold_win_rate_before": 0.3 + shift + level + wiggle,
        "gold_win_rate_after": 0.4 + shift + level, "gold_win_rate_sampled_before": 0.3 + shift,
        "gold_win_rate_sampled_after": 0.3 + shift + wiggle - 0.001,
        "curve": curve([1.0, 2.0, 1.5 - wiggle], [0.0, 1.0, 2.0 + wiggle]),
    }  # fmt: skip
    return plain | figures


CELLS = [cell(hidden, seed) for hidden in (32, 64, 128) for seed in range(3)]


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_intervals_are_students(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    found = student_interval(values.tolist())
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found["low"], found["high"]) == (pytest.approx(low, rel=1e-9), pytest.approx(high, rel=1e-9))
    assert found["mean"] == pytest.approx(values.mean()) and found["n"] == count


@pytest.mark.parametrize(("values", "half"), [((-1, 1), 12.7062), ((1, 2, 3), 4.30265 / 3**0.5)])
def test_intervals_are_those_of_the_printed_table(values: tuple[float, ...], half: float) -> None:
    """Points t(0.975, 1) and t(0.975, 2) of any printed table, times the standard error."""
    found = student_interval(values)
    assert found["high"] - found["mean"] == found["mean"] - found["low"] == pytest.approx(half, rel=1e-5)


def test_one_value_has_no_interval_and_decides_nothing() -> None:
    assert student_interval([0.5]) == {"mean": 0.5, "low": None, "high": None, "n": 1}
    assert verdict(student_interval([0.5])) == "undecided"


@pytest.mark.parametrize(
    ("values", "answer"), [((1.0, 1.1, 1.2), True), ((-1.0, -1.1, -1.2), False), ((-1, 0.5, 1), "undecided")]
)
def test_verdicts(values: tuple[float, ...], answer: bool | str) -> None:
    assert verdict(student_interval(values)) == answer


def test_a_slope_is_per_doubling_and_paired_by_seed() -> None:
    """The seeds differ by 0.1, the sizes by 0.1 a doubling: unpaired, nothing could be said."""
    found = slope(CELLS, "gold_win_rate_after")
    assert found["mean"] == pytest.approx(0.1) and found["high"] - found["low"] < 1e-6
    assert slope(CELLS, "rouge_l")["mean"] == pytest.approx(-0.1)


def test_gains_are_by_size_and_over_all_with_the_seed_as_the_unit() -> None:
    found = gains(CELLS, "gold_win_rate_before", "gold_win_rate_after")
    assert list(found) == ["all", "32", "64", "128"] and found["all"]["n"] == found["32"]["n"] == 3
    assert found["all"]["mean"] == pytest.approx(
        np.mean([found[size]["mean"] for size in ("32", "64", "128")])
    )


def test_orderings_say_true_false_and_undecided() -> None:
    found = {name: row["holds"] for name, row in orderings(CELLS).items()}
    assert found["win rate rises from SFT to PPO, near greedy, over all sizes"] is True
    assert found["win rate rises from SFT to PPO, at PPO's temperature, over all sizes"] == "undecided"
    assert found["PPO win rate rises with size"] is True
    assert found["SFT ROUGE-L rises with size"] is False
    assert found["reward-model accuracy rises with size"] == "undecided"
    one_size = orderings([cell(32, seed) for seed in range(3)])
    assert not [name for name in one_size if "with size" in name]


def test_over_optimisation_needs_gold_to_fall_while_the_proxy_rises() -> None:
    assert over_optimised(CELLS)["64"]["holds"] is True and over_optimised(CELLS)["64"]["peak_of_mean"] == 12
    rising = [cell(32, seed, curve=curve([1, 2, 3 + 0.1 * seed], [0, 1, 2])) for seed in range(3)]
    assert over_optimised(rising)["32"]["holds"] is False
    both_fall = [
        cell(32, seed, curve=curve([1, 2, 1 + 0.1 * seed], [0, 2, 1 - 0.1 * seed])) for seed in range(3)
    ]
    assert over_optimised(both_fall)["32"]["holds"] is False


def test_a_curves_own_noise_does_not_choose_its_best_point() -> None:
    """Flat curves with a spike each at another place: against its own maximum every one of them would fall by 1."""
    noisy = [
        cell(32, seed, curve=curve([float(place == seed) for place in range(4)], [0, 1, 2, 3]))
        for seed in range(3)
    ]
    assert over_optimised(noisy)["32"]["gold_lost"]["mean"] == pytest.approx(0.0)


def test_only_seeds_that_are_finished_at_every_size_are_read(tmp_path: Path) -> None:
    wanted = [(hidden, seed) for seed in range(2) for hidden in (32, 64)]
    assert read_cells(tmp_path, wanted) == []
    for hidden, seed in wanted[:3]:
        folder = cell_folder(tmp_path, hidden, seed)
        folder.mkdir()
        (folder / "cell.json").write_text(json.dumps(cell(hidden, seed)))
    assert [(found["hidden"], found["seed"]) for found in read_cells(tmp_path, wanted)] == [(32, 0), (64, 0)]
    cells = [row for row in rows_of(read_cells(tmp_path, wanted)) if row["kind"] == "cell"]
    assert len(cells) == 2 and len(rows_of(read_cells(tmp_path, wanted))) == 2 + 2 * 3


def test_every_figure_has_a_row_by_size() -> None:
    table = by_size(CELLS)
    assert list(table) == ["32", "64", "128"] and table["64"]["parameters"] == 4096
    assert table["64"]["rm_accuracy"]["n"] == 3
