"""From what was read to train, dev1, dev2 and test.

published    the evaluation files as they are, with their negatives, of which some are true
confidence   the evaluation files' positives with negatives of ours; where there are no such files, the highest-confidence
             training triples are the evaluation set, as in the published one (whose exact rule is not known). Close to
             training by construction
random       training and evaluation positives in one pool, shuffled; test, dev1 and dev2 off its front, negatives of ours

The last two are the splits of Jastrzębski et al. 2018 (arXiv 1804.09259), without the defects of their negatives: see
`negatives`. Equal triples of the pool are one; a positive of an evaluation set that is in train is taken out of train.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rllib_ext.commonsense.negatives import Known, evaluation_negatives
from rllib_ext.commonsense.triples import KnowledgeBase, Triples, stacked
from rllib_ext.errors import BadConfig, BadData

SPLITS = ("published", "confidence", "random")
PARTS = ("dev1", "dev2", "test")
PUBLISHED_SIZES = {"dev1": 600, "dev2": 600, "test": 1200}  # positives


@dataclass(frozen=True)
class Split:
    """A base, and what was done to make it: sizes, and a report of the negatives of each part made here."""

    base: KnowledgeBase
    about: dict[str, Any]


def split(
    kind: str,
    train: Triples,
    evaluated: Mapping[str, Triples] | None = None,
    *,
    sizes: Mapping[str, int] = PUBLISHED_SIZES,
    seed: int = 0,
) -> Split:
    """A split of one kind.

    train: stated as true. evaluated: dev1, dev2 and test with labels, on the same vocabulary; "random" and "confidence"
    can do without. sizes: positives of each part where they are taken from a pool. seed: of shuffling and negatives.
    """
    if kind not in SPLITS:
        raise BadConfig(f"split is {kind!r}; it must be one of {', '.join(map(repr, SPLITS))}")
    evaluated = dict(evaluated or {})
    if evaluated and set(evaluated) != set(PARTS):
        raise BadData(
            f"there are evaluation files {sorted(evaluated)}; give all of {', '.join(PARTS)}, or none"
        )
    draw = np.random.default_rng(np.random.SeedSequence([seed, 777]))
    if kind == "published":
        return _published(train, evaluated)
    if kind == "confidence" and evaluated:
        positives = {name: _positives(evaluated[name]) for name in PARTS}
        return _with_negatives(_without(train, positives), positives, draw)
    return _pooled(
        kind, _distinct(stacked(train, *(_positives(part) for part in evaluated.values()))), sizes, draw
    )


def _pooled(kind: str, pool: Triples, sizes: Mapping[str, int], draw: np.random.Generator) -> Split:
    """Evaluation sets out of one pool: any of it, or its surest triples."""
    front = sum(sizes.values())
    if front >= len(pool):
        raise BadData(f"{front} positives are to be taken out of {len(pool)}; lower sizes {dict(sizes)}")
    order = draw.permutation(len(pool))
    if kind == "confidence":
        if pool.confidence is None:
            raise BadData(
                "split='confidence' needs evaluation files, or a confidence for every training triple"
            )
        order = order[
            np.argsort(-pool.confidence[order], kind="stable")
        ]  # ties are in the order of the shuffle
        order = np.concatenate([draw.permutation(order[:front]), order[front:]])
    positives, start = {}, 0
    for name in ("test", "dev1", "dev2"):
        positives[name] = pool.take(order[start : start + sizes[name]])
        start += sizes[name]
    return _with_negatives(pool.take(np.sort(order[start:])), positives, draw)


def _published(train: Triples, evaluated: Mapping[str, Triples]) -> Split:
    if not evaluated:
        raise BadData(
            "split='published' needs the evaluation files dev1, dev2 and test; or take split='random'"
        )
    known = Known(train)
    about = {
        name: {"true_negatives": int(known.has(part.take(part.labels == 0).keys()).sum())}
        for name, part in evaluated.items()
    }
    return Split(KnowledgeBase(train, **evaluated), {"sizes": _sizes(train, evaluated), "parts": about})


def _with_negatives(train: Triples, positives: Mapping[str, Triples], draw: np.random.Generator) -> Split:
    known = Known(train, *positives.values())
    parts, about = {}, {}
    for name in PARTS:
        negatives, report = evaluation_negatives(positives[name], known, draw)
        parts[name] = replace(stacked(positives[name].labelled(1), negatives), confidence=None)
        about[name] = report.as_json()
    return Split(KnowledgeBase(train, **parts), {"sizes": _sizes(train, parts), "parts": about})


def _sizes(train: Triples, parts: Mapping[str, Triples]) -> dict[str, int]:
    return {"train": len(train), **{name: len(part) for name, part in parts.items()}}


def _positives(part: Triples) -> Triples:
    if part.labels is None:
        raise BadData("the evaluation files have no labels; read them with labelled=True")
    return replace(part.take(part.labels == 1), labels=None)


def _without(train: Triples, positives: Mapping[str, Triples]) -> Triples:
    return train.take(~Known(*positives.values()).has(train.keys()))


def _distinct(pool: Triples) -> Triples:
    _, first = np.unique(pool.keys(), return_index=True)
    return pool.take(np.sort(first))
