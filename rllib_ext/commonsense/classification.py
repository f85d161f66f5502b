"""Is a triple true? Threshold, accuracy, F1, AUC and positive rate, for all triples and by novelty.

Source: Li et al. 2016 and Jastrzębski et al. 2018 (arXiv 1804.09259): the threshold is the one of the highest accuracy on
dev1, and no other data may choose it. Their tables mix accuracy ("entire") with F1 (buckets); here every group has all
four figures, because F1 follows the positive rate and AUC does not. A figure that is not defined (AUC of one class, F1
where nothing is true or called true) is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.analysis.estimators import Estimate, stratified_bootstrap
from rllib_ext.errors import BadConfig, BadData

FIGURES = ("accuracy", "f1", "auc", "positive_rate")
RESAMPLES = 1000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Masks = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Threshold:
    """Call true what scores above ``value``. accuracy: what that is right about on ``source``, of ``n`` triples."""

    value: float
    accuracy: float
    source: str
    n: int


@dataclass(frozen=True)
class Figures:
    """How right a threshold is about one group of triples; None: not defined there."""

    n: int
    positives: int
    accuracy: float | None
    f1: float | None
    auc: float | None

    @property
    def positive_rate(self) -> float | None:
        """Share of the group that is true, whatever the scores say: what F1 has to be read beside."""
        return self.positives / self.n if self.n else None

    def as_json(self) -> dict[str, Any]:
        return {"n": self.n, **{name: getattr(self, name) for name in FIGURES}}


def best_threshold(score_N: Floats, label_N: Ints, source: str = "dev1") -> Threshold:
    """The threshold of the highest accuracy: halfway between two neighbouring scores, or beyond all of them.

    Of several it is the one in the widest gap between two scores, which moves least with the sample; of equally wide ones
    the lowest. Beyond all scores only where nothing between them is as good.
    """
    _check(score_N, label_N)
    order = np.argsort(score_N, kind="stable")
    scores, labels = score_N[order].astype(np.float64), label_N[order]
    right = np.concatenate([[0], np.cumsum(labels == 0)]) + np.concatenate(
        [np.cumsum((labels == 1)[::-1])[::-1], [0]]
    )  # with the first k called false
    edges = np.concatenate([[scores[0] - 2.0], scores, [scores[-1] + 2.0]])
    gap = edges[1:] - edges[:-1]
    possible = gap > 0  # equal scores cannot be told apart
    best = np.flatnonzero(possible & (right == right[possible].max()))
    inside = np.concatenate([[0.0], gap[1:-1], [0.0]])
    chosen = int(best[np.argmax(inside[best])])
    middle = edges[chosen] + gap[chosen] / 2
    value = float(middle if middle < edges[chosen + 1] else edges[chosen])  # neighbours of floating point
    return Threshold(value, float(right[chosen] / len(labels)), source, len(labels))


def figures(score_N: Floats, label_N: Ints, threshold: float) -> Figures:
    """Accuracy, F1 and AUC of one group; an empty group has none."""
    positives = int((label_N == 1).sum())
    if not len(label_N):
        return Figures(0, 0, None, None, None)
    _check(score_N, label_N)
    try:
        from sklearn import metrics
    except ImportError as error:
        raise BadConfig('Figures of triples need scikit-learn: pip install "rllib-ext[plot]"') from error
    said = (score_N > threshold).astype(np.int64)
    some, both = positives or said.any(), 0 < positives < len(label_N)
    return Figures(
        n=len(label_N),
        positives=positives,
        accuracy=float(metrics.accuracy_score(label_N, said)),
        f1=float(metrics.f1_score(label_N, said)) if some else None,
        auc=float(metrics.roc_auc_score(label_N, score_N)) if both else None,
    )


def report(score_N: Floats, label_N: Ints, threshold: float, groups: Masks) -> dict[str, Figures]:
    """Figures of all triples ("all") and of every group: buckets, or relations (`by_relation`)."""
    found = {"all": figures(score_N, label_N, threshold)}
    return found | {name: figures(score_N[mask], label_N[mask], threshold) for name, mask in groups.items()}


def by_relation(relation_N: Ints, names: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
    """Relation -> its triples, for those that occur."""
    return {names[number]: relation_N == number for number in np.unique(relation_N)}


def interval(
    name: str,
    score_N: Floats,
    label_N: Ints,
    threshold: float,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate | None:
    """A figure and its 95 % percentile interval over resampled triples; None where the figure is not defined.

    True and false triples are resampled apart (two strata), so every resample has the group's own positive rate, which is
    fixed by how the set was made. The threshold stays: its own uncertainty is no part of the interval.
    """
    if name not in FIGURES[:3]:
        raise BadConfig(f"there is no interval of {name!r}; choose one of {', '.join(FIGURES[:3])}")
    value = getattr(figures(score_N, label_N, threshold), name)
    if value is None:
        return None
    measure = _quick(name, score_N, label_N, threshold)
    strata = [np.flatnonzero(label_N == label).astype(np.float64) for label in (0, 1)]
    return stratified_bootstrap(strata, measure, resamples=resamples, seed=seed)


def _quick(
    name: str, score_N: Floats, label_N: Ints, threshold: float
) -> Callable[[NDArray[np.float64]], float]:
    """The figure of a resample, given as rows; the same numbers as scikit-learn's without its checks."""
    from scipy.stats import rankdata

    said_N, true_N = score_N > threshold, label_N == 1

    def measure(rows: NDArray[np.float64]) -> float:
        at = rows.astype(np.int64)
        said, true = said_N[at], true_N[at]
        if name == "accuracy":
            return float((said == true).mean())
        if name == "f1":
            both = int(said.sum() + true.sum())
            return 2.0 * float((said & true).sum()) / both if both else 0.0
        ranks, positives = rankdata(score_N[at])[true].sum(), int(true.sum())
        return float((ranks - positives * (positives + 1) / 2) / (positives * max(1, len(true) - positives)))

    return measure


def _check(score_N: Floats, label_N: Ints) -> None:
    if len(score_N) != len(label_N) or not len(score_N):
        raise BadData(f"there are {len(score_N)} scores for {len(label_N)} labels; give as many, and some")
    if not np.isfinite(score_N).all():
        raise BadData(f"{int((~np.isfinite(score_N)).sum())} scores are not finite")
    if not np.isin(label_N, (0, 1)).all():
        raise BadData("labels must be 0 (false) or 1 (true)")
