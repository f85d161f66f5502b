"""B6 and B6b: the scheduler's promises about the age of samples, exactly.

B6: asynchronous mode with a bound of 0 makes the same updates as synchronous mode, bit for bit. That a bound of 1 makes
others shows that the comparison can fail. B6b: with a bound of 1 every sample is 0 updates old in the first round and
exactly 1 after it; with any bound none is older than it; every sample carries the version that really sampled it.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks._gate_runs import Gate, StampedDPO, distance, policy_of, small_run


def _trained(
    mode: str, updates: int, bound: int | None
) -> tuple[dict[str, torch.Tensor], list[list[int]], StampedDPO]:
    """(final weights, ages round by round, the stopped algorithm) of one run."""
    algorithm = small_run(mode, updates, max_staleness=bound, prompts=8, new_tokens=8)
    ages = []
    try:
        for _ in range(updates):
            algorithm.iterate()
            ages.append(list(algorithm.ages))
        weights = policy_of(algorithm)
    finally:
        algorithm.stop()
    return weights, ages, algorithm


def staleness_gates(updates: int) -> list[Gate]:
    runs: dict[Any, Any] = {"sync": _trained("sync", updates, None)}
    for bound in (0, 1, 3):
        runs[bound] = _trained("async", updates, bound)
    equal = all(torch.equal(runs["sync"][0][name], runs[0][0][name]) for name in runs["sync"][0])
    stale = distance(runs["sync"][0], runs[1][0])
    b6 = Gate(
        "B6", f"async with bound 0 equals sync after {updates} updates, bit for bit",
        distance(runs["sync"][0], runs[0][0]), 0.0, "largest difference of a weight", equal and stale > 0.0,
        {"difference_at_bound_1": stale},
    )  # fmt: skip
    expected = [0] + [1] * (updates - 1)
    wrong = sum(age != want for want, ages in zip(expected, runs[1][1], strict=True) for age in ages)
    over = sum(age > bound for bound in (0, 1, 3) for ages in runs[bound][1] for age in ages)
    stamps = [stamp for _, _, algorithm in runs.values() for stamp in algorithm.stamps]
    unstamped = sum(version is None or int(version) != served for version, served in stamps)
    counts = {str(bound): sorted({age for ages in runs[bound][1] for age in ages}) for bound in (0, 1, 3)}
    b6b = Gate(
        "B6b", "age 0 in the first round and exactly 1 after it (bound 1); never above any bound; all samples stamped",
        float(wrong + over + unstamped), 0.0, "samples that break it", not (wrong or over or unstamped) and bool(stamps),
        {"wrong_age": wrong, "over_bound": over, "unstamped": unstamped, "samples": len(stamps), "ages": counts},
    )  # fmt: skip
    return [b6, b6b]
