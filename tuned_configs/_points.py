"""A sweep over listed trials: exactly these, in this order, each as often as it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune import TuneConfig
from ray.tune.search.basic_variant import BasicVariantGenerator

Points = list[dict[str, Any]]


def listed(
    fixed: Mapping[str, Any], points: Sequence[Mapping[str, Any]], repeats: int = 1
) -> tuple[dict[str, Any], TuneConfig]:
    """(param_space, what runs its trials); every point has the same knobs, of which some may be dictionaries of knobs."""
    every = [dict(point) for point in points for _ in range(repeats)]
    return dict(fixed) | _choices(every), TuneConfig(
        search_alg=BasicVariantGenerator(points_to_evaluate=every), num_samples=len(every)
    )


def _choices(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {}
    for knob in dict.fromkeys(knob for point in points for knob in point):
        values = [point[knob] for point in points]
        nested = isinstance(values[0], Mapping)
        found[knob] = _choices(values) if nested else tune.choice(_distinct(values))
    return found


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
