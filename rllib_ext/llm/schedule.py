"""Learning rate as a function of the optimizer update.

Stepping it once a generation round instead ("linear_by_round"), as the paper's code does, gives a run of 256 updates
with N = 64 only four values, the last of them 0; part of what looks like harm from stale samples is then a smaller
learning rate.
"""

from __future__ import annotations

from typing import Any


def learning_rate(update: int, config: Any, peak: float | None = None) -> float:
    """Rate of update number ``update`` (0-based): linear warm-up, then constant, or linear to 0 at total_updates, or
    that for whole rounds. peak: None for the config's ``lr``.
    """
    rate = float(config.lr if peak is None else peak)
    if update < config.warmup_updates:
        return rate * (update + 1) / config.warmup_updates
    if config.lr_schedule == "constant":
        return rate
    if config.lr_schedule == "linear_by_round":
        rounds = -(-config.total_updates // config.updates_per_round)
        return rate * max(0.0, 1.0 - (update // config.updates_per_round + 1) / rounds)
    span = max(1, config.total_updates - config.warmup_updates)
    return rate * max(0.0, 1.0 - (update - config.warmup_updates) / span)
