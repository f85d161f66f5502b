"""A tree of sums over priorities: draw a leaf in proportion to its value, in O(log n), for whole batches at once.

Leaves are the lower half of one array of 2 n numbers; the parent of node i is i // 2. A parent is always computed from
its two children, never by adding differences: the sums do not drift, and a tree that is filled from saved leaves is the
saved tree, to the bit.
"""

from __future__ import annotations

import numpy as np

from rllib_ext.errors import BadData


class SumTree:
    """Values of ``leaves`` leaves, zero at first."""

    def __init__(self, leaves: int) -> None:
        self.leaves = leaves
        self._first = 1 << max(0, leaves - 1).bit_length()
        self._nodes = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """The sum of all leaves."""
        return float(self._nodes[1])

    def values(self, leaf_N: np.ndarray | None = None) -> np.ndarray:
        """The values of these leaves, or of all of them; a copy."""
        leaves = self._nodes[self._first : self._first + self.leaves]
        return leaves.copy() if leaf_N is None else leaves[leaf_N]

    def set(self, leaf_N: np.ndarray, value_N: np.ndarray | float) -> None:
        """Give leaves their values; of a leaf that is named twice the last one counts.

        Raises BadData for a value that is negative or no number: it would poison every sum above it.
        """
        value_N = np.asarray(value_N, dtype=np.float64)
        if not (np.isfinite(value_N).all() and (value_N >= 0).all()):
            raise BadData(f"priorities must be finite and at least 0; got {value_N.ravel()[:8].tolist()}")
        if not len(leaf_N):
            return
        nodes = np.asarray(leaf_N, dtype=np.int64) + self._first
        self._nodes[nodes] = value_N
        while self._first > 1 and nodes[0] > 1:
            nodes = np.unique(nodes >> 1)
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, mass_N: np.ndarray) -> np.ndarray:
        """The leaves at which the running sum of values passes ``mass_N``, each in [0, total).

        Where rounding leaves a mass at the very edge, the way goes to a child that has something: a leaf of value 0 is
        never found while any other is there.
        """
        mass_N = np.array(mass_N, dtype=np.float64)
        node_N = np.ones(len(mass_N), dtype=np.int64)
        while node_N.size and node_N[0] < self._first:
            left_N = self._nodes[2 * node_N]
            right_N = (mass_N >= left_N) & (self._nodes[2 * node_N + 1] > 0)
            mass_N -= np.where(right_N, left_N, 0.0)
            node_N = 2 * node_N + right_N
        return node_N - self._first
