"""One iteration as a person reads it while it happens: a result dict in, a row of figures and words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rllib_ext.analysis.rows import flatten, number
from rllib_ext.analysis.run_data import UPDATES

#: The estimate of the time left looks at this many of the newest iterations.
RATE_WINDOW = 20
NOTHING = "-"
_SPARKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


@dataclass(frozen=True, slots=True)
class LiveRow:
    """The figures of one iteration; None is what the result did not have. ``at`` is the clock's time."""

    at: float
    iteration: float | None = None
    updates: float | None = None
    reward: float | None = None
    reward_se: float | None = None
    kl: float | None = None
    win_rate: float | None = None
    tokens_per_s: float | None = None
    age_mean: float | None = None
    age_p95: float | None = None
    generator_idle: float | None = None
    learner_idle: float | None = None


def read_row(result: Mapping[str, Any], at: float, before: LiveRow | None = None) -> LiveRow:
    """Read a nested or flat result. The win rate is measured now and then, so it stays until the next one."""
    flat = flatten(result)

    def value(key: str) -> float | None:
        return number(flat.get(key))

    win_rate, reward, kl = value("evaluation/win_rate"), value("reward/mean"), value("policy/kl_ref")
    return LiveRow(
        at=at,
        iteration=value("training_iteration"),
        updates=value(UPDATES),
        reward=reward if reward is not None else value("env_runners/episode_return_mean"),
        reward_se=value("reward/se"),
        kl=kl if kl is not None else value("evaluation/kl_ref"),
        win_rate=win_rate if win_rate is not None or before is None else before.win_rate,
        tokens_per_s=value("rollout/tokens_per_s"),
        age_mean=value("staleness/mean"),
        age_p95=value("staleness/p95"),
        generator_idle=value("rollout/idle_share"),
        learner_idle=value("learner/idle_share"),
    )


def seconds_left(rows: Sequence[LiveRow], total_updates: float | None) -> float | None:
    """The time the remaining updates take at the pace of the newest rows; None before there is a pace.

    Two rows are needed, because a resumed run begins with updates that took no time of this one.
    """
    known = [row for row in rows if row.updates is not None][-RATE_WINDOW:]
    if total_updates is None or len(known) < 2:
        return None
    done = (known[-1].updates or 0.0) - (known[0].updates or 0.0)
    if done <= 0:
        return None
    return max(0.0, total_updates - (known[-1].updates or 0.0)) * (known[-1].at - known[0].at) / done


def plain_line(row: LiveRow, total_updates: float | None, elapsed: float, left: float | None) -> str:
    """The row as one line of text, for logs and pipes."""
    updates = whole(row.updates) + (f"/{total_updates:.0f}" if total_updates else "")
    return "  ".join(
        (
            f"iter {whole(row.iteration)}",
            f"updates {updates}",
            f"reward {reward_words(row)}",
            f"kl {fixed(row.kl)}",
            f"win {share(row.win_rate)}",
            f"tok/s {whole(row.tokens_per_s)}",
            f"age {age_words(row)}",
            f"idle gen {share(row.generator_idle)} learn {share(row.learner_idle)}",
            f"elapsed {clock_words(elapsed)}",
            f"eta {clock_words(left)}",
        )
    )


def reward_words(row: LiveRow) -> str:
    return fixed(row.reward, 4) + ("" if row.reward_se is None else f" \u00b1 {row.reward_se:.4f}")


def age_words(row: LiveRow) -> str:
    """Mean and 95th percentile in updates."""
    return f"{fixed(row.age_mean, 1)}/{whole(row.age_p95)}"


def fixed(value: float | None, digits: int = 3) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def whole(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}"


def clock_words(seconds: float | None) -> str:
    """m:ss, from an hour on h:mm:ss."""
    if seconds is None:
        return NOTHING
    whole_seconds = max(0, round(seconds))
    minutes, rest = divmod(whole_seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Values as a line of block characters, lowest to highest; neighbours are averaged to fit ``width``."""
    if not values:
        return ""
    count = min(width, len(values))
    bounds = [len(values) * index // count for index in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, high = min(means), max(means)
    scale = (len(_SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_SPARKS[round((value - low) * scale)] for value in means)
