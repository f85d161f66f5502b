"""The few figures that sum a run up, under the keys of the demo's JSON line."""

from __future__ import annotations

import math

from rllib_ext.analysis.intervals import idle_share, lane_use
from rllib_ext.analysis.rows import Row
from rllib_ext.analysis.run_data import UPDATES, RunData
from rllib_ext.analysis.tables import (
    Evaluation,
    age_counts,
    age_mean,
    age_quantile,
    evaluations,
    main_split,
)


def headline(run: RunData) -> Row:
    """The figures that sum a run up, under the keys of the demo's JSON line; what was not measured is None.

    Reward, KL and win rate are those of the main split at the first and the last evaluation; ages come from
    the rounds where the run logged them (exact) and else from the newest result; tokens a second is the mean
    over the iterations; idle shares come from the timeline, else from the newest result.
    """
    points = [item for item in evaluations(run, main_split(run)) if item.reward is not None]
    first, last = (points[0], points[-1]) if points else (None, None)
    counts = age_counts(run)
    uses = lane_use(run.timeline, run.resumed_at)
    speeds = [value for _, value in run.series("rollout/tokens_per_s", x="training_iteration")]
    generator, learner = idle_share(uses, "generator"), idle_share(uses, "learner")
    p95 = age_quantile(counts, 0.95)
    updates = run.last(UPDATES)
    return {
        "engine": run.config.get("engine") or run.run.get("engine"),
        "updates": int(updates) if updates is not None else None,
        "split": first.split if first else None,
        "reward_before": first.reward if first else None,
        "reward_before_se": first.reward_se if first else None,
        "reward_after": last.reward if last else None,
        "reward_after_se": last.reward_se if last else None,
        "gain_in_se": _gain_in_se(first, last),
        "kl": last.kl if last and last.kl is not None else run.last("policy/kl_ref"),
        "win_rate": last.win_rate if last else None,
        "win_rate_against": last.against if last else None,
        "evaluation_n": last.n if last else None,
        "staleness_mean": age_mean(counts) if counts else run.last("staleness/mean"),
        "staleness_p95": p95 if p95 is not None else run.last("staleness/p95"),
        "staleness_max": max(counts) if counts else run.last("staleness/max"),
        "tokens_per_s": sum(speeds) / len(speeds) if speeds else None,
        "generator_idle": generator if generator is not None else run.last("rollout/idle_share"),
        "learner_idle": learner if learner is not None else run.last("learner/idle_share"),
    }


def _gain_in_se(first: Evaluation | None, last: Evaluation | None) -> float | None:
    """The reward's change in standard errors of the difference; None without two evaluations and their
    errors.
    """
    if first is None or last is None or first is last:
        return None
    if first.reward is None or last.reward is None or first.reward_se is None or last.reward_se is None:
        return None
    spread = math.hypot(first.reward_se, last.reward_se)
    return (last.reward - first.reward) / spread if spread > 0 else None
