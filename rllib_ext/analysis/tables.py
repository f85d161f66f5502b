"""The numbers behind every plot and the report's headline: a run in, small tables out (no files, no drawing).

Each table is written beside its picture as CSV, so that a figure can be checked or redrawn. Standard errors:
a mean reward carries the one that the evaluation measured; a win rate p over n prompts has sqrt(p (1 - p) /
n). Bars are plus and minus 1.96 of them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rllib_ext.analysis.intervals import LaneUse
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.run_data import UPDATES, RunData

Z_95 = 1.96
_LOSS = re.compile(r"learners/(?!__all_modules__/)([^/]+)/total_loss")


@dataclass(frozen=True)
class Table:
    """Columns and rows, in the order in which they are written."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def column(self, name: str) -> list[Any]:
        index = self.columns.index(name)
        return [row[index] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation on one split; absent figures are None."""

    updates: float
    split: str
    reward: float | None
    reward_se: float | None
    win_rate: float | None
    kl: float | None
    n: float | None
    against: str = "reference"
    ppl_completion: float | None = None
    ppl_diluted: float | None = None

    @property
    def win_rate_se(self) -> float | None:
        if self.win_rate is None or not self.n or not 0 <= self.win_rate <= 1:
            return None
        return math.sqrt(self.win_rate * (1 - self.win_rate) / self.n)


def evaluations(run: RunData, split: str | None = None) -> list[Evaluation]:
    """Evaluations in order of updates, of one split or all.

    At 0 updates the policy *is* the SFT model, so its KL is 0 whether or not the run measured it.
    """
    found = []
    for row in run.evaluations:
        updates = number(row.get("updates"))
        if updates is None or (split is not None and str(row.get("split", "")) != split):
            continue
        found.append(
            Evaluation(
                updates=updates,
                split=str(row.get("split", "")),
                reward=number(row.get("reward_mean")),
                reward_se=number(row.get("reward_se")),
                win_rate=number(row.get("win_rate")),
                kl=0.0 if updates == 0 else number(row.get("kl_ref")),
                n=number(row.get("n")),
                against=str(row.get("win_rate_against") or "reference"),
                ppl_completion=number(row.get("ppl_completion")),
                ppl_diluted=number(row.get("ppl_diluted")),
            )
        )
    return sorted(found, key=lambda item: item.updates)


def main_split(run: RunData) -> str | None:
    """The held-out split that was evaluated most often; "validation" first on a tie, "train" only if
    alone.
    """
    counts = Counter(item.split for item in evaluations(run))
    return min(
        counts, key=lambda name: (name == "train", -counts[name], name != "validation", name), default=None
    )


def evaluation_table(run: RunData) -> Table:
    """Every evaluation with its intervals."""
    columns = ("updates", "split", "reward_mean", "reward_se", "reward_low", "reward_high")
    columns += ("win_rate", "win_rate_se", "kl_ref", "ppl_completion", "ppl_diluted", "n")
    rows = [
        (
            *(item.updates, item.split, item.reward, item.reward_se, *_interval(item.reward, item.reward_se)),
            *(item.win_rate, item.win_rate_se, item.kl, item.ppl_completion, item.ppl_diluted, item.n),
        )
        for item in evaluations(run)
    ]
    return Table("reward_vs_kl", columns, rows)


def _interval(mean: float | None, se: float | None) -> tuple[float | None, float | None]:
    if mean is None or se is None:
        return None, None
    return mean - Z_95 * se, mean + Z_95 * se


def reward_table(run: RunData) -> Table:
    """Reward and win rate over updates, one row a point; ``source`` is "training samples" or the evaluated
    split.
    """
    columns = ("updates", "source", "reward_mean", "reward_se", "win_rate", "win_rate_se")
    rows: list[tuple[Any, ...]] = [
        (updates, "training samples", value, number(row.get("reward/se")), None, None)
        for row in run.results
        if (updates := number(row.get(UPDATES))) is not None
        and (value := number(row.get("reward/mean"))) is not None
    ]
    rows += [
        (item.updates, item.split, item.reward, item.reward_se, item.win_rate, item.win_rate_se)
        for item in evaluations(run)
    ]
    return Table("reward_over_updates", columns, rows)


def loss_keys(run: RunData) -> list[str]:
    """The total-loss keys of the run's modules, without RLlib's sum over all of them."""
    return sorted({key for row in run.results for key in row if _LOSS.fullmatch(key)})


def training_table(run: RunData) -> Table:
    """The curves of the training iterations, one row a result."""
    keys = [
        "training_iteration",
        UPDATES,
        "reward/mean",
        "reward/se",
        "policy/kl_ref",
        "rollout/tokens_per_s",
    ]
    keys += ["rollout/idle_share", "learner/idle_share", "policy/logp_diff_mean", "policy/logp_diff_max"]
    keys += loss_keys(run)
    rows = [tuple(number(row.get(key)) for key in keys) for row in run.results]
    return Table("training", tuple(keys), rows)


def age_counts(run: RunData) -> dict[int, int]:
    """Samples learnt from, by age in updates, summed over the rounds."""
    counts: Counter[int] = Counter()
    for row in run.rounds:
        ages = row.get("ages")
        for age, count in ages.items() if isinstance(ages, dict) else ():
            if re.fullmatch(r"[0-9]{1,9}", str(age)) and (found := number(count)) is not None and found > 0:
                counts[int(age)] += int(found)
    return dict(sorted(counts.items()))


def age_table(run: RunData) -> Table:
    """Age, samples, share and the share that is at most this old."""
    counts, rows, seen = age_counts(run), [], 0
    total = sum(counts.values())
    for age, count in counts.items():
        seen += count
        rows.append((age, count, count / total, seen / total))
    return Table("sample_ages", ("age_updates", "samples", "share", "cumulative_share"), rows)


def age_quantile(counts: dict[int, int], q: float) -> int | None:
    """The smallest age that at least a share ``q`` of the samples does not exceed (nearest rank)."""
    need, seen = q * sum(counts.values()), 0
    for age, count in sorted(counts.items()):
        seen += count
        if seen >= need - 1e-9:
            return age
    return None


def age_mean(counts: dict[int, int]) -> float | None:
    total = sum(counts.values())
    return sum(age * count for age, count in counts.items()) / total if total else None


def round_totals(run: RunData) -> dict[str, int]:
    """Counts over the whole run of what was generated and not learnt from."""
    keys = ("prompts", "dropped_stale", "tied", "unscored")
    return {key: int(sum(number(row.get(key)) or 0 for row in run.rounds)) for key in keys}


def lane_table(uses: list[LaneUse]) -> Table:
    """Busy time and idle share of every lane over the whole run."""
    roles = sorted({role for use in uses for role in use.by_role})
    columns = ("who", "kind", "window_s", "busy_s", "idle_share", *(f"{role}_s" for role in roles))
    rows = [
        (
            use.who,
            use.kind,
            use.window_s,
            use.busy_s,
            use.idle_share,
            *(use.by_role.get(r, 0.0) for r in roles),
        )
        for use in uses
    ]
    return Table("idle_shares", columns, rows)
