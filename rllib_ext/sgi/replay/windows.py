"""What a window of replay says: n-step return, discount of the value behind it, which of its steps are of one episode.

From step t on, with rewards r, d_k = 1 where the episode ends with step t + k, alive_k = prod over j < k of (1 - d_j):

    R        = sum over k < n of gamma^k alive_k r_{t+k}
    discount = gamma^n alive_n              of the value at t + n: 0 where an episode ended before
    mask_k   = alive_k,  k = 1..K           whether o_{t+k} belongs to the episode of o_t

An episode ends where the game is over or cut off, and where a life is lost if the protocol has that end an episode. One
that is cut off has a value behind its last step, but the frame it would be computed from is the next episode's: steps
whose return would need it are told by `needs_lost_frame`.
"""

from __future__ import annotations

import numpy as np


def alive(ended_NL: np.ndarray) -> np.ndarray:
    """(N, L + 1): column k is whether no episode ended in the first k steps."""
    survived_NL = np.cumprod(~ended_NL, axis=1, dtype=bool)
    return np.concatenate([np.ones((len(ended_NL), 1), dtype=bool), survived_NL], axis=1)


def n_step(
    reward_NL: np.ndarray, ended_NL: np.ndarray, steps: int, gamma: float
) -> tuple[np.ndarray, np.ndarray]:
    """(R, discount), float32, of the first ``steps`` steps."""
    alive_NL = alive(ended_NL[:, :steps])
    weights = gamma ** np.arange(steps)
    return_N = (reward_NL[:, :steps] * alive_NL[:, :-1] * weights).sum(axis=1)
    return return_N.astype(np.float32), (gamma**steps * alive_NL[:, -1]).astype(np.float32)


def needs_lost_frame(terminated_NL: np.ndarray, truncated_NL: np.ndarray) -> np.ndarray:
    """Whether an episode is cut off within these steps, and no earlier one of them ends it: (N,)."""
    before_NL = alive(terminated_NL | truncated_NL)[:, :-1]
    return (before_NL & truncated_NL & ~terminated_NL).any(axis=1)


def steps_within(ended_NL: np.ndarray) -> np.ndarray:
    """(N, L + 1): how many steps column k goes forward if it stays in the episode: k, or those to its last step."""
    alive_NL = alive(ended_NL)
    return np.concatenate(
        [np.zeros((len(ended_NL), 1), dtype=np.int64), np.cumsum(alive_NL[:, 1:], axis=1)], axis=1
    )
