"""The numbers of a reward model's report: accuracy by group, calibration, what padding changes (no files, no drawing).

Accuracy is the share of held-out comparisons whose chosen side scores strictly higher, with Wilson's 95 % interval. By
group (labelling batch, confidence, split) because it differs between them by more than between models (N+ detail 16).
Calibration puts accuracy beside sigmoid of the score difference, which the loss makes the model's own estimate of it
(detail 18): each comparison is taken by the absolute difference, in tenths of the comparisons.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), details 13, 14, 16, 18.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rllib_ext.analysis.rows import Row, number
from rllib_ext.analysis.tables import Table
from rllib_ext.functional.win_rate import share

GROUPS = ("batch", "confidence", "split")
BINS = 10
_ACCURACY = ("accuracy", "low", "high", "n")


def margins(rows: Sequence[Row]) -> list[tuple[float, Row]]:
    """(chosen minus rejected score, row) of every row that has both scores."""
    found = []
    for row in rows:
        chosen, rejected = number(row.get("chosen")), number(row.get("rejected"))
        if chosen is not None and rejected is not None:
            found.append((chosen - rejected, row))
    return found


def accuracy_table(rows: Sequence[Row], group: str) -> Table:
    """Accuracy of every value of ``group``, largest groups first; rows without one are not in it."""
    by_value: dict[Any, list[float]] = {}
    for margin, row in margins(rows):
        value = row.get(group)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            by_value.setdefault(value, []).append(margin)
    order = sorted(by_value, key=lambda value: (-len(by_value[value]), str(value)))
    if group == "confidence":
        order = sorted(by_value, key=lambda value: (number(value) is None, number(value) or 0.0, str(value)))
    lines = [(value, *_accuracy(by_value[value])) for value in order]
    return Table(f"accuracy_by_{group}", (group, *_ACCURACY), lines)


def _accuracy(values: Sequence[float]) -> tuple[float, float, float, int]:
    found = share(sum(value > 0 for value in values), len(values))
    return found.value, found.low, found.high, found.count


def calibration_table(rows: Sequence[Row], bins: int = BINS) -> Table:
    """Accuracy by tenth of the absolute score difference, and what sigmoid of the difference would make it."""
    ordered = sorted(margins(rows), key=lambda item: abs(item[0]))
    lines = []
    for index in range(bins):
        part = [
            value for value, _ in ordered[index * len(ordered) // bins : (index + 1) * len(ordered) // bins]
        ]
        if part:
            sizes = [abs(value) for value in part]
            expected = sum(_sigmoid(size) for size in sizes) / len(part)
            lines.append((min(sizes), sum(sizes) / len(part), max(sizes), expected, *_accuracy(part)))
    columns = ("difference_from", "difference_mean", "difference_to", "sigmoid_of_difference", *_ACCURACY)
    return Table("calibration", columns, lines)


def calibration_error(table: Table) -> float | None:
    """Mean distance of accuracy from sigmoid of the difference, weighted by comparisons; None without any."""
    total = sum(table.column("n"))
    if not total:
        return None
    pairs = zip(
        table.column("accuracy"), table.column("sigmoid_of_difference"), table.column("n"), strict=True
    )
    return sum(abs(accuracy - expected) * count for accuracy, expected, count in pairs) / total


def padding_table(diagnostics: Row) -> Table:
    """Right-padded minus left-padded score of each row (detail 14)."""
    found = diagnostics.get("padding")
    values = found.get("differences") if isinstance(found, dict) else None
    numbers = [value for item in values or [] if (value := number(item)) is not None]
    return Table("padding_difference", ("row", "right_minus_left"), list(enumerate(numbers)))


def position_table(diagnostics: Row) -> Table:
    """The head's output along the text, in twentieths of the way to the last token (detail 13)."""
    found = diagnostics.get("positions")
    values = found.get("by_place") if isinstance(found, dict) else None
    numbers = [number(item) for item in values or []]
    lines = [((place + 0.5) / 20, value) for place, value in enumerate(numbers) if value is not None]
    return Table("position_scores", ("share_of_the_text", "mean_output"), lines)


def reward_report(rows: Sequence[Row], diagnostics: Row) -> dict[str, Any]:
    """Everything as one JSON object, as it is written beside the pictures."""
    everything = [margin for margin, _ in margins(rows)]
    calibration = calibration_table(rows)
    padding = [value for _, value in padding_table(diagnostics).rows]
    return {
        "accuracy": dict(zip(_ACCURACY, _accuracy(everything), strict=True)) if everything else None,
        **{f"by_{group}": _records(accuracy_table(rows, group)) for group in GROUPS},
        "calibration": _records(calibration),
        "calibration_error": calibration_error(calibration),
        "padding": {
            "mean": sum(padding) / len(padding) if padding else None,
            "share_above_1e-2": sum(abs(value) > 1e-2 for value in padding) / len(padding)
            if padding
            else None,
            "n": len(padding),
        },
        "positions": diagnostics.get("positions"),
    }


def _records(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))
