"""Which (X, Y) pairs a learner is asked about in training, and which it never sees before it is examined.

"#rhs/lhs" is the number of right-hand classes Y that each left-hand class X is paired with in training: 1 is the extreme,
num_glyphs - 1 leaves nothing unseen. The other pairs are cut in half: unseen validation, unseen test (disjoint).

At 1 the published rule draws each partner on its own, so that about 36% of the classes (((G - 2) / (G - 1))^(G - 1) of
them) never stand on the right. ``cover`` pairs by shifts round a random circle instead: every class is X and Y exactly
#rhs/lhs times. `Pairs.covered_as_y` says what share of the classes stands on the right in training.

Source: Bahdanau et al. 2019, "Systematic Generalization: What Is Required and Can It Be Learned?" (arXiv 1811.12889).
Their released split cannot be drawn again (its seed was never set); ours can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.errors import BadEnv
from envs.grid.arguments import flag, whole
from envs.sqoop.vocabulary import Ints


@dataclass(frozen=True)
class Pairs:
    """Three disjoint sets of (X, Y), int64 [P, 2]; unseen ones are empty where every pair is trained.

    covered_as_y    share of the classes that are the Y of a training pair (all are the X of one)
    """

    train: Ints
    unseen_val: Ints
    unseen_test: Ints
    covered_as_y: float

    def of(self, split: str) -> Ints:
        """The pairs of "train" and "seen" (the same pairs; other scenes), "unseen_val" or "unseen_test"."""
        if split not in SPLITS:
            raise BadEnv(f"split = {split!r} must be one of {', '.join(SPLITS)}.")
        chosen: Ints = self.train if split in ("train", "seen") else getattr(self, split)
        if not len(chosen):
            raise BadEnv(
                f"split = {split!r} has no pairs: rhs_per_lhs is so high that every pair is trained on. Lower it."
            )
        return chosen


SPLITS = ("train", "seen", "unseen_val", "unseen_test")


def make_pairs(num_glyphs: int, rhs_per_lhs: int, seed: int, cover: bool = False) -> Pairs:
    """Pairs of a seed; the module says by what rule. Raises BadEnv where ``rhs_per_lhs`` is out of 1 .. G - 1."""
    rhs = whole("rhs_per_lhs", rhs_per_lhs, 1, num_glyphs - 1)
    rng = np.random.default_rng(np.random.SeedSequence([whole("seed", seed, 0), 1]))
    trained = np.zeros((num_glyphs, num_glyphs), bool)
    if flag("cover", cover):
        circle = rng.permutation(num_glyphs)
        for shift in 1 + rng.permutation(num_glyphs - 1)[:rhs]:
            trained[circle, np.roll(circle, -shift)] = True
    else:
        for x in range(num_glyphs):
            others = np.delete(np.arange(num_glyphs), x)
            trained[x, rng.permutation(others)[:rhs]] = True
    unseen = rng.permutation(np.argwhere(~trained & ~np.eye(num_glyphs, dtype=bool)))
    half = len(unseen) // 2
    return Pairs(
        np.argwhere(trained).astype(np.int64),
        unseen[:half].astype(np.int64),
        unseen[half:].astype(np.int64),
        float(trained.any(axis=0).mean()),
    )
