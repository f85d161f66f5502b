"""Learning rate as a function of the optimizer update.

Stepping it once a generation round instead, as the paper's code does, gives a run of N = 64 only four values,
the last of them 0; part of what looks like harm from stale samples is then a smaller learning rate.
"""

from __future__ import annotations

from typing import Any


def learning_rate(update: int, config: Any, peak: float | None = None) -> float:
    """Rate of update number ``update`` (0-based): linear warm-up, then constant or linear to 0 at
    total_updates. peak: None for the config's ``lr``.
    """
    rate = float(config.lr if peak is None else peak)
    if update < config.warmup_updates:
        return rate * (update + 1) / config.warmup_updates
    if config.lr_schedule == "constant":
        return rate
    span = max(1, config.total_updates - config.warmup_updates)
    return rate * max(0.0, 1.0 - (update - config.warmup_updates) / span)
