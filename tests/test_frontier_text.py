"""The study of the frontier on real docstrings: which cells there are, and what its headline reads off their points."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks import _frontier_text_plan as plan
from benchmarks import elastic_frontier_text as bench
from rllib_ext.elastic_reset.llm import ElasticResetAsyncPPOConfig
from rllib_ext.elastic_reset.settings import elastic_settings

START = {"reward": 0.2, "ppl": 10.0, "kl": 0.0}
ENDS = {  # method -> (reward, ppl, kl) of the three weights beta, before a shift by the seed
    "PPO+KL": [(0.5, 20.0, 8.0), (0.4, 14.0, 4.0), (0.3, 11.0, 2.0)],
    "Elastic Reset": [(0.48, 13.0, 9.0), (0.4, 12.0, 6.0), (0.28, 10.5, 3.0)],
    "EMA-only": [(0.48, 13.0, 7.0), (0.4, 12.0, 4.0), (0.28, 10.5, 2.0)],
    "reset to init": [(0.3, 11.0, 3.0), (0.28, 11.0, 2.0), (0.25, 10.5, 1.0)],
}


def rows(seeds: int = 3) -> list[dict[str, Any]]:
    found = []
    for cell in plan.study("hf"):
        if cell.seed >= seeds:
            continue
        points = []
        for method in plan.RUNS[cell.variant].values():
            reward, ppl, kl = ENDS[method][plan.BETAS.index(cell.beta)]
            shift = 0.01 * cell.seed * (1 if method == "Elastic Reset" else 0.9)
            for iteration in (15, 30, 45):
                end = {"reward": reward + shift, "ppl": ppl, "kl": kl} if iteration == 45 else START
                points.append({"method": method, "iteration": iteration, "resets": 0, **end})
        known = {"variant": cell.variant, "beta": cell.beta, "seed": cell.seed, "engine": "hf"}
        found.append({**known, "start": START, "points": points})
    return found


@pytest.mark.parametrize("cell", plan.quick_study("hf") + list(plan.study("hf"))[:9])
def test_every_cell_is_a_valid_run_that_is_judged_right_before_its_resets(cell: plan.Cell) -> None:
    config = ElasticResetAsyncPPOConfig().environment("Docstrings").training(**cell.settings("m"))
    config.validate()
    schedule = elastic_settings(config)
    assert schedule.variant == cell.variant and config.total_updates == 2 * cell.period * cell.cycles
    assert schedule.ema_decay**cell.period == pytest.approx(plan.DECAY**plan.PERIOD)
    due = [n for n in range(1, 3 * cell.period) if schedule.resets_by(n) > schedule.resets_by(n - 1)]
    assert due == ([] if cell.variant == "ema_only" else [cell.period, 2 * cell.period])


def test_the_headline_pairs_seeds_and_says_what_it_can() -> None:
    found = bench.headline(bench.flat(rows()), True)
    assert found["seeds"] == 3 and found["start"] == pytest.approx(START)
    edge = math.log(30.0)
    one = [
        (0.5, 20.0),
        (0.4, 14.0),
        (0.3, 11.0),
    ]  # by hand, for seed 0 of PPO+KL: strips between rising rewards
    area = sum(
        (high - low) * (edge - math.log(ppl))
        for low, high, ppl in ((0.2, 0.3, one[2][1]), (0.3, 0.4, one[1][1]), (0.4, 0.5, one[0][1]))
    )
    volume = bench.volumes(bench.flat(rows()), "ppl", [0, 1, 2])
    assert volume["PPO+KL"][0] == pytest.approx(area)
    over = found["elastic_over_PPO+KL_ppl"]
    pairs = [a - b for a, b in zip(volume["Elastic Reset"], volume["PPO+KL"], strict=True)]
    assert (
        over["mean"] == pytest.approx(sum(pairs) / 3) and over["above"] is True and over["seeds_above"] == 3
    )
    assert found["elastic_over_EMA-only_ppl"]["above"] == "undecided"  # equal but for what the seed shifts
    assert found["elastic_over_PPO+KL_kl"]["above"] is False


def test_seeds_that_are_not_whole_wait_and_one_seed_has_no_interval() -> None:
    partial = [
        row for row in rows(2) if (row["seed"], row["beta"], row["variant"]) != (1, 0.1, "elastic_reset")
    ]
    found = bench.headline(bench.flat(partial), False)
    assert found["seeds"] == 1
    assert (
        found["elastic_over_PPO+KL_ppl"]["low"] is None
        and found["elastic_over_PPO+KL_ppl"]["above"] == "undecided"
    )
    assert bench.table(bench.flat(partial))["Elastic Reset"]["0.1"]["n"] == 1
