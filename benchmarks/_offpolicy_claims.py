"""What the off-policyness study says: win rates by N, what is kept of them, and which claims of the paper hold here.

A seed is the unit: it draws prompts and samples, and every method and N sees the same ones, so claims are judged by
differences within a seed and Student's interval of their mean (``_statistics.py``). True, false or undecided, never
"nearly". The numbers of the claims are those of spec A.1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._offpolicy_plan import METHODS, N_VALUES, WIDTHS
from benchmarks._statistics import student_interval, verdict

Row = Mapping[str, Any]
FIGURES = ("win_rate", "reward_mean", "kl_ref", "ppl_completion")
PAPER_RETENTION = {"dpo": 0.965, "ppo": 0.884, "rloo_proximal": 0.939}
TOLERANCE = 0.02  # of a win rate: what counts as no loss


def by_seed(rows: Sequence[Row], value: str = "win_rate", **wanted: Any) -> dict[int, float]:
    """Seed -> value, of the rows that have all the ``wanted`` settings."""
    return {
        row["seed"]: row[value]
        for row in rows
        if all(row[name] == setting for name, setting in wanted.items())
    }


def table(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, Any]]]:
    """Method -> N -> figure -> interval over seeds."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for method in METHODS:
        for n in N_VALUES:
            if by_seed(rows, study="n", method=method, n=n):
                found[method][str(n)] = {
                    name: student_interval(list(by_seed(rows, name, study="n", method=method, n=n).values()))
                    for name in FIGURES
                }
    return dict(found)


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> dict[str, Any] | None:
    """Interval of one - other over the seeds that both have, with its verdict ("above 0"); None without two of them."""
    seeds = sorted(one.keys() & other.keys())
    if len(seeds) < 2:
        return None
    found = student_interval([one[seed] - other[seed] for seed in seeds])
    return {**found, "above_0": verdict(found)}


def retention(rows: Sequence[Row], method: str, n: int, **wanted: Any) -> dict[int, float]:
    """Seed -> win(n) / win(1)."""
    first = by_seed(rows, study="n", method=method, n=1)
    later = by_seed(rows, method=method, n=n, **({"study": "n"} | wanted))
    return {seed: later[seed] / first[seed] for seed in sorted(first.keys() & later.keys()) if first[seed]}


def kept_excess(rows: Sequence[Row], method: str, n: int, width: int) -> dict[int, float]:
    """Seed -> what is left at N = n of the win rate gained over the SFT policy at N = 1."""
    wanted = [
        row
        for row in rows
        if row["method"] == method and row["width"] == width and row["study"] in ("n", "size")
    ]
    start = by_seed(wanted, "win_rate_before", n=1)
    first, later = by_seed(wanted, n=1), by_seed(wanted, n=n)
    seeds = start.keys() & first.keys() & later.keys()
    return {s: (later[s] - start[s]) / (first[s] - start[s]) for s in sorted(seeds) if first[s] > start[s]}


def claims(rows: Sequence[Row]) -> dict[str, Any]:
    """Claim -> {holds, and the intervals behind it}; absent where the study has not the runs yet."""
    found: dict[str, Any] = {}
    for method in ("dpo", "ppo"):
        one, two = (by_seed(rows, study="n", method=method, n=n) for n in (1, 2))
        if (loss := paired(two, {seed: value - TOLERANCE for seed, value in one.items()})) is not None:
            found[f"A5 {method}: N=2 loses less than {TOLERANCE}"] = {
                "holds": loss["above_0"],
                "margin": loss,
            }
    for n in (16, 64):
        for other in METHODS:
            if other != "dpo":
                lead = paired(retention(rows, "dpo", n), retention(rows, other, n))
                if lead is not None:
                    found[f"A6 N={n}: DPO keeps more than {other}"] = {"holds": lead["above_0"], "lead": lead}
    small, large = WIDTHS[0], WIDTHS[-1]
    for n in (16, 64):
        growth = paired(kept_excess(rows, "dpo", n, large), kept_excess(rows, "dpo", n, small))
        if growth is not None:
            found[f"A7 N={n}: width {large} keeps more than {small}"] = {
                "holds": growth["above_0"],
                "gain": growth,
            }
    base = {
        value: by_seed(rows, value, study="n", method="dpo", n=1) for value in ("win_rate", "ppl_completion")
    }
    for t in (2, 3):
        gain = paired(by_seed(rows, study="t", t=t), base["win_rate"])
        drift = paired(by_seed(rows, "ppl_completion", study="t", t=t), base["ppl_completion"])
        if gain is not None:
            found[f"A8 T={t}: more wins from the same prompts"] = {
                "holds": gain["above_0"],
                "gain": gain,
                "ppl": drift,
            }
    four = by_seed(rows, study="k", k=4)
    close = paired(four, {seed: value - 0.03 for seed, value in base["win_rate"].items()})
    if close is not None:
        drift = paired(by_seed(rows, "ppl_completion", study="k", k=4), base["ppl_completion"])
        found["A9 K=4 in half the updates within 0.03"] = {
            "holds": close["above_0"],
            "margin": close,
            "ppl": drift,
        }
    return found


def artefact(rows: Sequence[Row]) -> dict[str, Any]:
    """What stepping the learning rate by round costs: win rate by update less win rate by round, and retentions."""
    found = {}
    for method in ("dpo", "ppo"):
        for n in (16, 64):
            ours = by_seed(rows, study="n", method=method, n=n)
            loss = paired(ours, by_seed(rows, study="schedule", method=method, n=n))
            if loss is not None:
                found[f"{method} N={n}"] = loss
    return found


def retentions(rows: Sequence[Row]) -> dict[str, Any]:
    """Method -> N -> interval of win(N) / win(1), beside the paper's figure at N = 16."""
    found: dict[str, Any] = {}
    for method in METHODS:
        values = {n: list(retention(rows, method, n).values()) for n in (2, 16, 64)}
        found[method] = {str(n): student_interval(kept) for n, kept in values.items() if kept}
        if method in PAPER_RETENTION:
            found[method]["paper, 16"] = PAPER_RETENTION[method]
    return found
