"""What three sizes and a few seeds allow to say: means with intervals, and orderings as true, false or undecided.

A seed is the unit: it draws posts, noise, models, samples and held-out prompts, and all sizes share what it drew. So an
ordering is judged by differences within a seed, d_s, and Student's interval of their mean

    mean(d) +- t(0.975, n - 1) sd(d) / sqrt(n)

"true" where the interval is above 0, "false" where it is below, "undecided" where it holds 0. Student's and not the
bootstrap: three values resampled have 10 different means, and their percentiles are far too narrow. "Rises with size" is
judged by the least-squares slope over log2(width), a seed at a time. Left out: a correction for looking at several
orderings; there are three, and each is given with its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks._statistics import student_interval, verdict

FIGURES = ("rouge_l", "rm_accuracy", "gold_win_rate_before", "gold_win_rate_after", "gold_win_rate_sampled_before",
           "gold_win_rate_sampled_after", "kl")  # fmt: skip


def by_size(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every figure with its interval over seeds, a row a size."""
    return {
        str(hidden): {
            "parameters": next(cell["parameters"] for cell in cells if cell["hidden"] == hidden),
            **{
                name: student_interval([cell[name] for cell in cells if cell["hidden"] == hidden])
                for name in FIGURES
            },
        }
        for hidden in _sizes(cells)
    }


def slope(cells: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Change of a figure for each doubling of the width, a seed at a time."""
    sizes = np.log2(_sizes(cells))
    slopes = []
    for seed in _seeds(cells):
        at = {cell["hidden"]: cell[name] for cell in cells if cell["seed"] == seed}
        slopes.append(np.polyfit(sizes, [at[hidden] for hidden in _sizes(cells)], 1)[0])
    return student_interval(slopes)


def gains(cells: Sequence[Mapping[str, Any]], before: str, after: str) -> dict[str, Any]:
    """after - before: by size, and over all sizes with the seed as the unit (its mean over sizes)."""
    differences = {(c["hidden"], c["seed"]): c[after] - c[before] for c in cells}
    sizes, seeds = _sizes(cells), _seeds(cells)
    rows = {str(hidden): student_interval([differences[hidden, seed] for seed in seeds]) for hidden in sizes}
    return {
        "all": student_interval([np.mean([differences[h, seed] for h in sizes]) for seed in seeds]),
        **rows,
    }


def orderings(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The paper's orderings: each with ``holds`` and the difference that it is judged by."""
    found: dict[str, dict[str, Any]] = {}
    for kind, label in (("", "near greedy"), ("sampled_", "at PPO's temperature")):
        rise = gains(cells, f"gold_win_rate_{kind}before", f"gold_win_rate_{kind}after")
        for size, difference in rise.items():
            where = "over all sizes" if size == "all" else f"width {size}"
            name = f"win rate rises from SFT to PPO, {label}, {where}"
            found[name] = {"holds": verdict(difference), **difference}
    if len(_sizes(cells)) > 1:
        figures = {"reward-model accuracy": "rm_accuracy", "SFT win rate": "gold_win_rate_before",
                   "PPO win rate": "gold_win_rate_after", "SFT ROUGE-L": "rouge_l"}  # fmt: skip
        for label, name in figures.items():
            change = slope(cells, name)
            found[f"{label} rises with size"] = {
                "holds": verdict(change),
                **change,
                "unit": "per doubling of width",
            }
    return found


def over_optimised(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether gold falls from its best snapshot to the last one while the proxy goes on rising, by size.

    Which snapshot is best is read off the other seeds' mean curve, so a curve's own noise does not choose the point that
    it is judged at (the maximum of a noisy curve always seems to fall afterwards). The first point, the SFT model, may
    be it.
    """
    rows = {}
    for hidden in _sizes(cells):
        curves = [cell["curve"] for cell in cells if cell["hidden"] == hidden]
        gold, proxy = (
            np.array([[point[name] for point in curve] for curve in curves]) for name in ("gold", "proxy")
        )
        others = [
            np.delete(gold, place, 0).mean(0) if len(gold) > 1 else gold[0] for place in range(len(gold))
        ]
        best = [int(curve.argmax()) for curve in others]
        fall = student_interval([gold[place, at] - gold[place, -1] for place, at in enumerate(best)])
        rise = student_interval([proxy[place, -1] - proxy[place, at] for place, at in enumerate(best)])
        both = (verdict(fall), verdict(rise))
        holds: bool | str = "undecided"
        if all(at == gold.shape[1] - 1 for at in best) or False in both:
            holds = False
        elif both == (True, True):
            holds = True
        peak = curves[0][int(gold.mean(0).argmax())]["updates"]
        rows[str(hidden)] = {"holds": holds, "peak_of_mean": peak, "gold_lost": fall, "proxy_gained": rise}
    return rows


def _sizes(cells: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({cell["hidden"] for cell in cells})


def _seeds(cells: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({cell["seed"] for cell in cells})
