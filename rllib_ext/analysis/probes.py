"""Probes: what can be read from messages by a classifier that has seen other episodes.

Accuracy alone says little, so a probe comes with what it must beat: the share of the most frequent class, and the same
probe trained on shuffled labels. Three choices against flattering figures:

- episodes, not steps, are split 70/30: steps of an episode share labels such as the goal's cell, and a split by step
  would let the probe recognise the episode instead of reading the label;
- classes are equally frequent in both parts, so chance is one over their number;
- the test part is never used for a choice.

``linear`` is logistic regression, ``mlp`` one hidden layer of 32 before the output: two layers, the size that agents
themselves listen with (CACL, 2023 text, section on probing). The transfer probe is trained on one agent's messages and
scored on another's: it is above chance only where the two mean the same by the same numbers. Left out: regression.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadConfig, BadData, unknown_name

KINDS = ("linear", "mlp")
TRAIN_SHARE = 0.7
MOST_ROWS = 1500
#: Rows of each class that either part must have at least; rarer classes are left out.
LEAST_ROWS = 8
HIDDEN = 32


@dataclass(frozen=True)
class Probe:
    """Means over the splits. accuracy; majority: of always saying the most frequent class; shuffled: of the probe trained
    on shuffled labels; classes: how many are told apart; rows: test rows.
    """

    accuracy: float
    majority: float
    shuffled: float
    classes: float
    rows: float


@dataclass(frozen=True)
class _Split:
    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]


def probe(
    messages_RD: NDArray[Any],
    labels_R: NDArray[Any],
    episodes_R: NDArray[Any],
    *,
    kind: str = "linear",
    splits: int = 3,
    seed: int = 0,
) -> Probe | None:
    """Probe R messages for their labels, over ``splits`` random splits of the episodes.

    None where no split leaves two classes with LEAST_ROWS rows in either part: there is nothing to tell apart.
    """
    return transfer_probe(
        (messages_RD, labels_R, episodes_R), (messages_RD, labels_R, episodes_R), kind=kind, splits=splits, seed=seed
    )  # fmt: skip


def transfer_probe(
    source: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    target: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    *,
    kind: str = "linear",
    splits: int = 3,
    seed: int = 0,
) -> Probe | None:
    """Train on ``source`` and score on ``target``, each (messages (R, D), labels (R,), episodes (R,)).

    Episodes of the training part are not scored on, in the target either: agents of an episode share its labels.
    """
    if kind not in KINDS:
        raise unknown_name("kind of probe", kind, KINDS)
    for messages_RD, labels_R, episodes_R in (source, target):
        if not len(messages_RD) == len(labels_R) == len(episodes_R) or np.ndim(messages_RD) != 2:
            raise BadData(
                f"a probe was given messages {np.shape(messages_RD)}, labels {np.shape(labels_R)} and episodes "
                f"{np.shape(episodes_R)}; give (R, D), (R,) and (R,)."
            )
    if not source[0].shape[1]:
        return None  # no channel
    scores = []
    for number in range(splits):
        draw = np.random.default_rng((seed, number))
        split = _split(source, target, draw)
        if split is not None:
            scores.append(_score(split, kind, draw))
    if not scores:
        return None
    return Probe(*(float(np.mean([getattr(s, f.name) for s in scores])) for f in fields(Probe)))


def _split(source: Any, target: Any, draw: np.random.Generator) -> _Split | None:
    """Balanced rows of training episodes of the source, and of the other episodes of the target."""
    train = training_episodes(source[1], source[2], draw)
    inside, outside = np.isin(source[2], train), ~np.isin(target[2], train)
    parts = [(x[rows], y[rows]) for (x, y, _), rows in ((source, inside), (target, outside))]
    counts = [dict(zip(*np.unique(y, return_counts=True), strict=True)) for _, y in parts]
    classes = [c for c in counts[0] if min(count.get(c, 0) for count in counts) >= LEAST_ROWS]
    if len(classes) < 2:
        return None
    (x_train, y_train), (x_test, y_test) = (_balanced(x, y, classes, draw) for x, y in parts)
    return _Split(x_train, y_train, x_test, y_test)


def training_episodes(
    labels_R: NDArray[Any], episodes_R: NDArray[Any], draw: np.random.Generator
) -> NDArray[Any]:
    """TRAIN_SHARE of the episodes, of each label the same share: an episode counts for its most frequent label.

    A label with two episodes or more has one in either part, where rounding leaves none.
    """
    kept: list[Any] = []
    alone: list[Any] = []
    of_label: dict[Any, list[Any]] = {}
    for episode in np.unique(episodes_R):
        values, counts = np.unique(labels_R[episodes_R == episode], return_counts=True)
        of_label.setdefault(values[counts.argmax()].item(), []).append(episode)
    for episodes in of_label.values():
        if len(episodes) == 1:
            alone += episodes
            continue
        size = min(max(round(TRAIN_SHARE * len(episodes)), 1), len(episodes) - 1)
        kept += draw.permutation(episodes)[:size].tolist()
    return np.array(kept + draw.permutation(alone)[: round(TRAIN_SHARE * len(alone))].tolist())


def _balanced(x: NDArray[Any], y: NDArray[Any], classes: list[Any], draw: np.random.Generator) -> Any:
    """The same number of rows of each class, drawn without replacement; MOST_ROWS in all at most."""
    size = min(min(int((y == c).sum()) for c in classes), max(1, MOST_ROWS // len(classes)))
    rows = np.concatenate([draw.permutation(np.flatnonzero(y == c))[:size] for c in classes])
    return x[rows], y[rows]


def _score(split: _Split, kind: str, draw: np.random.Generator) -> Probe:
    values, counts = np.unique(split.y_train, return_counts=True)
    majority = float((split.y_test == values[counts.argmax()]).mean())
    accuracy = _accuracy(split, split.y_train, kind)
    shuffled = _accuracy(split, draw.permutation(split.y_train), kind)
    return Probe(accuracy, majority, shuffled, len(values), len(split.y_test))


def _accuracy(split: _Split, y_train: NDArray[Any], kind: str) -> float:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise BadConfig('Probes need scikit-learn: pip install "rllib-ext[plot]"') from error
    if kind == "linear":
        model = LogisticRegression(C=10.0, max_iter=1000)
    else:
        model = MLPClassifier((HIDDEN,), solver="lbfgs", alpha=1e-2, max_iter=200, random_state=0)
    with warnings.catch_warnings():  # a probe that stops at its limit of steps is a probe still
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = make_pipeline(StandardScaler(), model).fit(split.x_train, y_train)
    return float(fitted.score(split.x_test, split.y_test))
