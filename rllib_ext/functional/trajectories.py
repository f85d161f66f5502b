"""Advantages along fixed-length stretches of many agents' lives, which begin, end and are cut off anywhere in them.

Source: Schulman et al. 2016 (generalised advantage estimation). Token-level advantages of language models, whose rows are
whole episodes, are in `advantages`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["gae_over_time"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def gae_over_time(
    rewards_TX: Floats,
    values_TX: Floats,
    following_TX: Floats,
    ended_TX: Bools,
    *,
    discount: float,
    trace_decay: float,
) -> Floats:
    """A_t = delta_t + gamma lambda A_{t+1} within an agent's life, delta_t = r_t + gamma V(s_{t+1}) - V(s_t).

    Time goes first; X is any shape (environments, agents). values_TX: V(s_t); following_TX: V(s_{t+1}) of the same life,
    0 where it terminated, the value of its last observation where it was cut off; ended_TX: the life ended or was cut
    off after step t, so that A_{t+1} belongs to another one. The last row goes no further by itself. Returns float32.
    """
    advantages_TX = np.zeros_like(values_TX)
    delta_TX = rewards_TX + discount * following_TX - values_TX
    decay_TX = np.where(ended_TX, np.float32(0.0), np.float32(discount * trace_decay))
    running_X = np.zeros_like(values_TX[0])
    for t in range(len(values_TX) - 1, -1, -1):
        running_X = delta_TX[t] + decay_TX[t] * running_X
        advantages_TX[t] = running_X
    return advantages_TX
