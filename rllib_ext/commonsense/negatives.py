"""Negatives: for evaluation, one for each positive; in training, three for each, made of the others of its batch.

A corruption replaces exactly one slot of a true triple by that slot of another. The published evaluation files have some
that are true (11 of 1,200 test negatives are training triples) or nothing but the original; here both are refused, and
how often is reported. In training the same holds with ``reject_known``; the published code takes them as they fall.

Source: Li et al. 2016; Jastrzębski et al. 2018 (arXiv 1804.09259) for the batch and for the adversarial filter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_ext.commonsense.triples import Triples, key_parts
from rllib_ext.errors import BadConfig, BadData

SLOTS = ("head", "relation", "tail")
TRIES = 100
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]


class Known:
    """Triples that are stated as true, to be looked up by their keys."""

    def __init__(self, *parts: Triples) -> None:
        keys = [part.keys() for part in parts] or [np.zeros(0, np.uint64)]
        self._sorted = np.unique(np.concatenate(keys))

    def __len__(self) -> int:
        return len(self._sorted)

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Whether each is one of them."""
        if not len(self._sorted):
            return np.zeros(keys.shape, bool)
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return self._sorted[place] == keys


@dataclass(frozen=True)
class NegativeReport:
    """made + identities + known + repeated = drawn. Shares of ``drawn`` are what taking them as they fall would cost."""

    made: int
    drawn: int
    identities: int
    known: int
    repeated: int

    def as_json(self) -> dict[str, float]:
        shares = {
            f"{name}_share": getattr(self, name) / self.drawn for name in ("identities", "known", "repeated")
        }
        return {"made": self.made, "drawn": self.drawn, **shares}


def evaluation_negatives(
    positives: Triples, known: Known, draw: np.random.Generator
) -> tuple[Triples, NegativeReport]:
    """One negative for each positive, in the same order: negative i is positive i with one slot replaced.

    The slot is drawn uniformly, its filler uniformly from the same positives, as published; what gives the positive
    itself, a known triple or a negative that there is already is drawn again, slot and filler. Raises BadData where a
    positive has none after 100 draws.
    """
    count = len(positives)
    parts = key_parts(positives.heads, positives.relations, positives.tails)
    own = parts[0] + parts[1] + parts[2]
    sources = np.tile(np.arange(count), (3, 1))  # row of each slot's content
    open_rows, taken = np.arange(count), np.zeros(0, np.uint64)
    tally = {"drawn": 0, "identities": 0, "known": 0, "repeated": 0}
    for _ in range(TRIES):
        if not len(open_rows):
            break
        slots, fillers = draw.integers(3, size=len(open_rows)), draw.integers(count, size=len(open_rows))
        rows = np.tile(open_rows, (3, 1))
        rows[slots, np.arange(len(open_rows))] = fillers
        keys = parts[0][rows[0]] + parts[1][rows[1]] + parts[2][rows[2]]
        identity = keys == own[open_rows]
        stated = known.has(keys) & ~identity
        repeated = np.isin(keys, taken) | _again(keys)
        repeated &= ~identity & ~stated
        right = ~(identity | stated | repeated)
        for name, found in (("identities", identity), ("known", stated), ("repeated", repeated)):
            tally[name] += int(found.sum())
        tally["drawn"] += len(open_rows)
        sources[:, open_rows[right]] = rows[:, right]
        taken = np.concatenate([taken, keys[right]])
        open_rows = open_rows[~right]
    if len(open_rows):
        raise BadData(
            f"no negative was found for {len(open_rows)} of {count} triples, first {positives.text(int(open_rows[0]))}: "
            "every replacement is known. Give more, or more different, positives."
        )
    made = Triples(
        positives.heads[sources[0]],
        positives.relations[sources[1]],
        positives.tails[sources[2]],
        positives.vocabulary,
    )
    return made.labelled(0), NegativeReport(made=count, **tally)


def _again(keys: Keys) -> NDArray[np.bool_]:
    """Which of them have appeared before in the same array."""
    _, first = np.unique(keys, return_index=True)
    found = np.ones(len(keys), bool)
    found[first] = False
    return found


@dataclass(frozen=True)
class Corruptions:
    """Negatives of a batch of B positives, as rows of that batch: negative j has the head of row ``heads[j]``, and so on.

    refused: how many of the k B there could have been are left out.
    """

    heads: Ints
    relations: Ints
    tails: Ints
    refused: int


class InBatchCorruptor:
    """Negatives of a batch out of the batch itself: of each positive ``k``, their slots in turn relation, head, tail.

    Fillers are drawn uniformly with replacement from the batch. With ``reject_known`` what gives a known triple (training
    triples are known, so the positive itself is one) is drawn again up to ``retries`` times and then left out.

    adversarial: keep only negatives whose head and tail have a dot product above this, their vectors being the sums of
    their words' (the published filter); the vectors of the batch are then needed.
    """

    ORDER = (1, 0, 2)

    def __init__(
        self, train: Triples, *, k: int = 3, reject_known: bool = True, adversarial: float | None = None,
        retries: int = 8, known: Known | None = None,
    ) -> None:  # fmt: skip
        if k < 1 or retries < 0:
            raise BadConfig(f"k is {k} and retries {retries}; they must be at least 1 and 0")
        self.k, self.adversarial, self._retries = k, adversarial, retries
        self._known = (known or Known(train)) if reject_known else None
        self._parts = key_parts(train.heads, train.relations, train.tails)

    def corrupt(
        self, rows_B: Ints, draw: np.random.Generator, sums: tuple[NDArray, NDArray] | None = None
    ) -> Corruptions:
        """Negatives of these rows of the training set. sums: summed vectors of their heads and tails, [B, D] each."""
        size = len(rows_B)
        own = np.tile(np.arange(size), self.k)
        slots = np.repeat([self.ORDER[i % 3] for i in range(self.k)], size)
        places = np.tile(own, (3, 1))
        places[slots, np.arange(len(own))] = draw.integers(size, size=len(own))
        right = np.ones(len(own), bool)
        if self._known is not None:
            right = self._fresh(rows_B, places)
            for _ in range(self._retries):
                wrong = np.flatnonzero(~right)
                if not len(wrong):
                    break
                places[slots[wrong], wrong] = draw.integers(size, size=len(wrong))
                right[wrong] = self._fresh(rows_B, places[:, wrong])
        if self.adversarial is not None:
            if sums is None:
                raise BadConfig("adversarial needs the summed vectors of the batch's heads and tails")
            right &= np.einsum("nd,nd->n", sums[0][places[0]], sums[1][places[2]]) > self.adversarial
        kept = places[:, right]
        return Corruptions(kept[0], kept[1], kept[2], len(own) - kept.shape[1])

    def _fresh(self, rows_B: Ints, places: Ints) -> NDArray[np.bool_]:
        head, relation, tail = (part[rows_B] for part in self._parts)
        return ~self._known.has(head[places[0]] + relation[places[1]] + tail[places[2]])  # type: ignore[union-attr]
