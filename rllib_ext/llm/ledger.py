"""Which prompt is learnt from when: every prompt of an epoch exactly once, in an order fixed by the seed.

The order is a pure function of (seed, position), so that the only thing to remember is a position: round r
covers positions [r * size, (r + 1) * size), and a run that resumes at round r sees what an undisturbed run
would have seen. A ledger of what was really trained stands beside it and refuses a second time: the promise
is checked, not hoped for.

An endless environment makes its prompts as it goes and has no number of them. There the index of a prompt is
its position, all in epoch 0: no prompt ever comes twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from rllib_ext.errors import BadData, RllibExtError
from rllib_ext.runtime.seeding import SeedTree


class PromptLedger:
    """num_prompts: size of the training split, None: endless. prompts_per_round: consumed by one round."""

    def __init__(self, num_prompts: int | None, prompts_per_round: int, seed: int) -> None:
        if num_prompts is not None and num_prompts < 1:
            raise BadData("the training split has no prompts")
        self.num_prompts = num_prompts
        self.prompts_per_round = prompts_per_round
        self._seeds = SeedTree(seed).child("prompts")
        self._order = lru_cache(maxsize=2)(self._shuffled)
        self._trained: dict[int, set[int]] = {}
        # All epochs (endless: all positions) below it were trained, so that no set has to grow for ever.
        self._through = 0

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(self._seeds.child(str(epoch)).int()).permutation(self.num_prompts)

    def at(self, position: int) -> tuple[int, int]:
        """(epoch, prompt index) at a position of the endless stream."""
        if self.num_prompts is None:
            return 0, position
        epoch, offset = divmod(position, self.num_prompts)
        return epoch, int(self._order(epoch)[offset])

    def prompts(self, round_index: int) -> list[tuple[int, int]]:
        """The (epoch, prompt index) pairs of a round."""
        start = round_index * self.prompts_per_round
        return [self.at(position) for position in range(start, start + self.prompts_per_round)]

    def record(self, prompts: Iterable[tuple[int, int]]) -> None:
        """Note that these were learnt from. Raises if one of them already was in the same epoch."""
        for epoch, index in prompts:
            seen = self._trained.setdefault(epoch, set())
            if index in seen or (epoch if self.num_prompts else index) < self._through:
                raise RllibExtError(
                    f"prompt {index} came up twice in epoch {epoch}; this is a defect of the scheduler, "
                    "please report it"
                )
            seen.add(index)
        if self.num_prompts is None:
            seen = self._trained.get(0, set())
            while self._through in seen:
                seen.remove(self._through)
                self._through += 1
        else:
            while len(self._trained.get(self._through, ())) == self.num_prompts:
                del self._trained[self._through]
                self._through += 1

    def resume_at(self, round_index: int) -> None:
        """Restore the record to the state after all rounds before ``round_index``."""
        stop = round_index * self.prompts_per_round
        self._trained, self._through = {}, stop // (self.num_prompts or 1)
        start = self._through * (self.num_prompts or 1)
        self.record(self.at(position) for position in range(start, stop))
