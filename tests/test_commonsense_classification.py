"""Threshold, accuracy, F1, AUC and positive rate of scored triples (invariant 10 of knowledge-base completion)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from rllib_ext.commonsense.classification import (
    Figures,
    best_threshold,
    by_relation,
    figures,
    interval,
    report,
)
from rllib_ext.errors import BadConfig, BadData

SCORES = np.array([2.0, 1.0, -1.0, 1.5, -2.0, 0.5])
LABELS = np.array([1, 1, 1, 0, 0, 0])


def test_c3_kbc_10_metrics_of_six_rows_are_those_worked_out_by_hand() -> None:
    """Above 0.75: 2.0 (true), 1.5 (false), 1.0 (true). So 2 hits, 1 false alarm, 1 miss, 2 rightly refused.

    Accuracy 4/6; precision 2/3, recall 2/3, F1 2/3. Of the nine pairs (true, false) the true one is above in
    2.0: three, 1.0: two (-2.0, 0.5), -1.0: one (-2.0): AUC 6/9.
    """
    found = figures(SCORES, LABELS, 0.75)
    assert found.n == 6 and found.positives == 3
    assert found.positive_rate == pytest.approx(1 / 2)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.auc == pytest.approx(6 / 9)


def test_the_threshold_of_six_rows_is_the_one_worked_out_by_hand() -> None:
    """Right answers with the lowest k called false: 3 4 3 4 3 4 3... counted below; ties go to the widest gap.

    Sorted: -2.0 (0), -1.0 (1), 0.5 (0), 1.0 (1), 1.5 (0), 2.0 (1). k = 0: 3, 1: 4, 2: 3, 3: 4, 4: 3, 5: 4, 6: 3. Of
    the gaps (-2, -1), (0.5, 1.0) and (1.5, 2.0) the first is the widest.
    """
    found = best_threshold(SCORES, LABELS)
    assert found.value == pytest.approx(-1.5)
    assert found.accuracy == pytest.approx(4 / 6)
    assert (found.source, found.n) == ("dev1", 6)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0]) | st.floats(-5, 5), st.booleans()), min_size=1
    )
)
@settings(max_examples=50, deadline=None)
def test_no_threshold_is_better(rows: list[tuple[float, bool]]) -> None:
    scores, labels = np.array([row[0] for row in rows]), np.array([int(row[1]) for row in rows])
    found = best_threshold(scores, labels)
    tried = [((scores > cut) == labels).mean() for cut in [*scores, scores.min() - 1]]
    assert found.accuracy == pytest.approx(max(tried))
    assert ((scores > found.value) == labels).mean() == pytest.approx(found.accuracy)


def test_what_is_not_defined_is_none_and_never_0() -> None:
    assert figures(np.empty(0), np.empty(0), 0.0) == Figures(0, 0, None, None, None)
    one_class = figures(np.array([1.0, 2.0]), np.array([1, 1]), 0.0)
    assert one_class.auc is None and one_class.f1 == 1.0
    nothing_true = figures(np.array([-1.0, -2.0]), np.array([0, 0]), 0.0)
    assert nothing_true.f1 is None and nothing_true.accuracy == 1.0
    assert interval("auc", np.array([1.0, 2.0]), np.array([1, 1]), 0.0) is None


def test_a_report_has_all_and_each_group() -> None:
    masks = by_relation(np.array([0, 0, 1, 0, 1, 1]), ("IsA", "HasA", "UsedFor"))
    found = report(SCORES, LABELS, 0.75, masks)
    assert list(found) == ["all", "IsA", "HasA"]
    assert found["all"].n == found["IsA"].n + found["HasA"].n == 6
    assert found["IsA"].as_json() == {
        "n": 3, "accuracy": pytest.approx(2 / 3), "f1": pytest.approx(0.8), "auc": pytest.approx(0.5),
        "positive_rate": pytest.approx(2 / 3),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["accuracy", "f1", "auc"])
def test_intervals_hold_their_level(name: str) -> None:
    """Of 40 samples of 150 triples, the 95 % interval holds the value of the whole population nearly always."""
    draw = np.random.default_rng(3)
    labels = draw.integers(2, size=40_000)
    scores = draw.normal(size=len(labels)) + labels
    truth = getattr(figures(scores, labels, 0.5), name)
    held = 0
    for _ in range(40):
        rows = draw.choice(len(labels), 150, replace=False)
        found = interval(name, scores[rows], labels[rows], 0.5, resamples=100)
        assert found is not None and found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert held >= 33  # of 38 expected, three standard deviations below


@pytest.mark.parametrize("name", ["accuracy", "f1", "auc"])
def test_the_resampled_figure_is_scikit_learns(name: str) -> None:
    """The bootstrap computes its figures itself, for speed; `Estimate.value` is that computation on all rows."""
    draw = np.random.default_rng(0)
    scores, labels = draw.normal(size=50).round(1), draw.integers(2, size=50)
    found = interval(name, scores, labels, 0.1, resamples=3)
    peer = {
        "accuracy": lambda: metrics.accuracy_score(labels, scores > 0.1),
        "f1": lambda: metrics.f1_score(labels, scores > 0.1),
        "auc": lambda: metrics.roc_auc_score(labels, scores),
    }[name]()
    assert found is not None and found.value == pytest.approx(peer)


def test_what_is_refused() -> None:
    with pytest.raises(BadData, match="5 scores for 6 labels"):
        best_threshold(SCORES[:5], LABELS)
    with pytest.raises(BadData, match="1 scores are not finite"):
        figures(np.array([1.0, np.nan]), np.array([0, 1]), 0.0)
    with pytest.raises(BadData, match="labels must be 0"):
        figures(np.array([1.0, 2.0]), np.array([0, 2]), 0.0)
    with pytest.raises(BadConfig, match="positive_rate"):
        interval("positive_rate", SCORES, LABELS, 0.0)
