"""The plots of a run: one table of what is drawn, and the function that draws all of it into ``report/``.

Every plot is a PNG for reading, an SVG for printing and a CSV with the numbers behind it. A plot whose
numbers the run never wrote is not drawn and says why, in words, in the same place.
"""

from __future__ import annotations

from pathlib import Path

from rllib_ext.analysis import idle, reward_curves, timeline, trust_curves
from rllib_ext.analysis.figures import require_matplotlib
from rllib_ext.analysis.frontier_report import elastic_recipes
from rllib_ext.analysis.intervals import lane_use
from rllib_ext.analysis.plain_report import is_plain, plain_recipes
from rllib_ext.analysis.recipes import Plot, Recipe
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.stage_data import is_stage
from rllib_ext.analysis.stage_plots import stage_recipes
from rllib_ext.analysis.tables import (
    age_table,
    evaluation_table,
    lane_table,
    reward_table,
    training_table,
)

__all__ = ["Plot", "draw_all"]

_RECIPES = (
    Recipe(
        "reward_vs_kl",
        "Reward against KL",
        "Up is better, left is cheaper: the reward that the run bought with distance from the SFT model.",
        reward_curves.reward_vs_kl,
        evaluation_table,
        "evaluations.jsonl has no row with a reward and a KL",
    ),
    Recipe(
        "reward_over_updates",
        "Reward and win rate",
        "Held-out figures carry bars; the thin line is the mean reward of the training samples.",
        reward_curves.reward_over_updates,
        reward_table,
        "neither evaluations.jsonl nor result.json holds a reward",
    ),
    Recipe(
        "timeline",
        "Timeline",
        "Read it downwards: two colours above each other are one round learnt while the next is made.",
        timeline.timeline,
        timeline.timeline_table,
        "timeline.jsonl has no interval",
    ),
    Recipe(
        "idle_shares",
        "Idle shares",
        "The side that waits is the one to give less hardware; zero on both sides is a perfect balance.",
        idle.idle_shares,
        lambda run: lane_table(lane_use(run.timeline, run.resumed_at)),
        "neither timeline.jsonl nor result.json says who was idle",
    ),
    Recipe(
        "sample_ages",
        "Ages of the samples",
        "Measured for every sample: updates between the weights that wrote it and those that learn from it.",
        trust_curves.sample_ages,
        age_table,
        "rounds.jsonl has no ages",
    ),
    Recipe(
        "loss_and_parity",
        "Loss and log-probability parity",
        "Above the bound, engine and learner do not hold the same weights or do not compute alike.",
        trust_curves.loss_and_parity,
        training_table,
        "result.json holds neither a loss nor a log-probability difference",
    ),
)


def draw_all(run: RunData, folder: Path) -> list[Plot]:
    """Draw every plot of ``run`` into ``folder`` (made if missing); returns them in the order of the report.

    Raises:
        BadConfig: if matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    if is_stage(run):
        recipes = stage_recipes(run)
    elif is_plain(run):
        recipes = plain_recipes(run)
    else:
        recipes = [*_RECIPES, *elastic_recipes(run)]
    return [recipe.make(run, folder) for recipe in recipes]
