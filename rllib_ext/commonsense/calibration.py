"""From a score to a probability: Platt's sigmoid, fitted on labelled triples that trained nothing.

    p = 1 / (1 + exp(-(slope * score + intercept)))

Source: Platt 1999, with his smoothed targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2), so that scores which separate the
classes do not give a slope without end. The probability is that of a triple drawn as the fitted ones were: half of dev1
is true, and of mined candidates far less is. It orders triples exactly as the score does, since the slope is positive.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadConfig, BadData

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """source, n: what it was fitted on."""

    slope: float
    intercept: float
    source: str = "dev1"
    n: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise BadConfig(
                f"a calibration has a positive slope and a finite intercept, not {self.slope} and {self.intercept}"
            )

    def __call__(self, score_N: Floats) -> Floats:
        """Probabilities, without overflow for any score."""
        logit = self.slope * np.asarray(score_N, np.float64) + self.intercept
        small = np.exp(-np.abs(logit))
        return np.where(logit >= 0, 1.0, small) / (1.0 + small)

    def as_json(self) -> dict[str, float | str | int]:
        return asdict(self)


def fit_calibration(score_N: Floats, label_N: NDArray[np.int64], source: str = "dev1") -> Calibration:
    """The sigmoid of the least cross-entropy. Raises BadData where a higher score is no better sign."""
    positives, count = int((label_N == 1).sum()), len(label_N)
    if not 0 < positives < count or not np.isfinite(score_N).all():
        raise BadData(
            f"calibration needs finite scores of both labels; there are {positives} true of {count}"
        )
    centre, spread = float(np.mean(score_N)), float(np.std(score_N))
    if spread == 0:
        raise BadData("all scores are equal: there is nothing to calibrate")
    target = np.where(label_N == 1, (positives + 1) / (positives + 2), 1 / (count - positives + 2))
    slope, intercept = _sigmoid((score_N - centre) / spread, target)
    if slope <= 0:
        raise BadData(
            f"higher scores are no sign of a true triple on {source} (slope {slope:.3g}): wrong scorer or labels?"
        )
    return Calibration(slope / spread, intercept - slope * centre / spread, source, count)


def calibration_error(probability_N: Floats, label_N: NDArray[np.int64], bins: int = 10) -> float:
    """Mean distance of probability and share of true triples, over bins of equally many triples."""
    order = np.array_split(np.argsort(probability_N, kind="stable"), min(bins, len(probability_N)))
    gaps = [len(part) * abs(float(probability_N[part].mean() - label_N[part].mean())) for part in order]
    return sum(gaps) / len(probability_N)


def _sigmoid(score_N: Floats, target_N: Floats) -> tuple[float, float]:
    """Slope and intercept for soft targets: every triple counts as true with its target and as false with the rest."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise BadConfig('Calibration needs scikit-learn: pip install "rllib-ext[plot]"') from error
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(score_N, 2)[:, None],
        np.repeat([1, 0], len(score_N)),
        sample_weight=np.concatenate([target_N, 1 - target_N]),
    )
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
