"""How old a sample is when it is learnt from, and which samples may still be asked for.

The unit of age is the optimizer update. Every sample carries the version of the weights that generated it,
and a version is the number of updates those weights had received; its age is the version of the weights it
meets minus its own.

Generation proceeds in rounds. With U updates per round (mini-batches per round times passes over each), round
r is learnt from versions rU, rU + 1, ..., rU + U - 1, one update each. Admission control bounds the age
before anything is generated; dropping old samples afterwards would bias the data to short and easy
completions, which finish first (AReaL and SkyRL admit, TRL and prime-rl drop). Source of the rounds and of
the timeline: Async RLHF (arXiv 2410.18252).

Plain integers and floats, no tensors. Left out: who is late and why, and the re-queueing of prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = [
    "AgeSummary",
    "Timeline",
    "age",
    "furthest_round",
    "learning_ages",
    "maximum_age",
    "may_submit",
    "minimum_staleness",
    "one_step_staleness",
    "summary",
    "summary_of_histogram",
    "timeline_ideal",
]


def age(learner_version: int, version: int) -> int:
    """Age of a sample in the update that starts from ``learner_version``: learner_version - version.

    Edge: a sample newer than the learner has a wrong stamp: ValueError.
    """
    if not 0 <= version <= learner_version:
        raise ValueError(
            f"age: a sample of version {version} cannot be learnt from at version {learner_version}: "
            "versions start at 0 and the learner is never behind its own samples. Check who stamps them."
        )
    return learner_version - version


def learning_ages(round_index: int, version: int, updates_per_round: int) -> tuple[int, ...]:
    """Ages in the U updates of the round: rU + i - version for i = 0 .. U - 1.

    Updates that precede the version are left out: a sample generated anew while its round is being learnt
    (its worker died) can only meet the updates still to come.
    """
    maximum_age(round_index, version, updates_per_round)
    start = round_index * updates_per_round
    return tuple(age(start + i, version) for i in range(updates_per_round) if start + i >= version)


def maximum_age(round_index: int, version: int, updates_per_round: int) -> int:
    """The greatest of ``learning_ages``: rU + U - 1 - version, reached in the round's last update.

    Edge: a version beyond the round's last update means that the round is over: ValueError, as in ``age``.
    """
    _require_rounds("maximum_age", round_index, updates_per_round)
    return age(round_index * updates_per_round + updates_per_round - 1, version)


def may_submit(round_index: int, version: int, updates_per_round: int, max_staleness: int) -> bool:
    """Whether a round generated with weights of ``version`` keeps every age within ``max_staleness``.

    rU + U - 1 - version <= max_staleness

    Decided before generation starts, from what is known then; it holds because rounds are learnt in order,
    each from exactly its own U updates. A round that may not be submitted yet may be once newer weights are
    published.
    Edge: with max_staleness below ``minimum_staleness`` not even the weights at the start of a round are
    fresh enough for it, so nothing would ever be generated: refuse such a setting before the run.
    """
    return maximum_age(round_index, version, updates_per_round) <= max_staleness


def furthest_round(version: int, updates_per_round: int, max_staleness: int) -> int | None:
    """The last round that ``may_submit`` admits with weights of ``version``, None where it admits none.

    floor((version + max_staleness - U + 1) / U), provided that this round is not over: at least floor(version
    / U).
    """
    _require_rounds("furthest_round", 0, updates_per_round)
    last = (version + max_staleness - updates_per_round + 1) // updates_per_round
    return last if last >= version // updates_per_round else None


def minimum_staleness(updates_per_round: int) -> int:
    """U - 1: the bound below which nothing can be trained; synchronous training reaches it (0 with U = 1)."""
    _require_rounds("minimum_staleness", 0, updates_per_round)
    return updates_per_round - 1


def one_step_staleness(updates_per_round: int) -> int:
    """2U - 1: the bound that lets generation run one round ahead, the asynchronous mode (1 with U = 1)."""
    _require_rounds("one_step_staleness", 0, updates_per_round)
    return 2 * updates_per_round - 1


def _require_rounds(where: str, round_index: int, updates_per_round: int) -> None:
    if round_index < 0 or updates_per_round < 1:
        raise ValueError(
            f"{where}: round {round_index} with {updates_per_round} updates per round; rounds count from 0 "
            "and have at least one update."
        )


@dataclass(frozen=True)
class AgeSummary:
    """Ages of samples in updates; ``histogram`` maps an age to its number of samples, ascending."""

    count: int
    mean: float
    p95: int
    maximum: int
    histogram: dict[int, int]


def summary(ages: Iterable[int]) -> AgeSummary:
    """Mean, 95th percentile, maximum and histogram of ``ages``.

    The percentile is the nearest rank: the smallest age that at least 95 % of the samples do not exceed, so
    it is always an age that occurred. Among 20 samples it is the 19th, among fewer than 20 the greatest.
    Edge: no ages give count 0 and zeros everywhere: read ``count`` first. A negative age raises ValueError.
    """
    return summary_of_histogram(Counter(ages))


def summary_of_histogram(histogram: Mapping[int, int]) -> AgeSummary:
    """``summary`` from numbers of samples by age; iterations merge by adding their histograms."""
    ordered = {value: histogram[value] for value in sorted(histogram) if histogram[value] != 0}
    if any(value < 0 or number < 0 for value, number in ordered.items()):
        raise ValueError(
            f"summary: ages and their numbers are at least 0, got {ordered}. Check the version stamps."
        )
    count = sum(ordered.values())
    if count == 0:
        return AgeSummary(0, 0.0, 0, 0, {})
    rank, seen, p95 = (95 * count + 99) // 100, 0, 0
    for value, number in ordered.items():
        seen += number
        if seen >= rank:
            p95 = value
            break
    mean = sum(value * number for value, number in ordered.items()) / count
    return AgeSummary(count, mean, p95, max(ordered), ordered)


@dataclass(frozen=True)
class Timeline:
    """What overlap can give: seconds per round, ``ratio`` sync over async, ``idle_share`` of who waits.

    bound: "generation" where the learner waits, "training" where the generator waits, "balanced" where
    neither does.
    """

    sync_s: float
    async_s: float
    ratio: float
    idle_share: float
    bound: str


def timeline_ideal(generate_s: float, publish_s: float, score_s: float, update_s: float) -> Timeline:
    """Round times with and without overlap: g generates, w publishes, r scores, u updates.

    sync S = g + w + r + u,   async A = max(g + w, r + u),   ratio S / A,   idle = |(g + w) - (r + u)| / A

    Two workers who never wait except for each other: no one-step overlap can be faster, and its ratio is at
    most 2, at g + w = r + u. Measured ratios are compared with this one.

    All in seconds, at least 0. Edge: a round that takes no time has ratio 1 and no idle share.
    """
    phases = (generate_s, publish_s, score_s, update_s)
    if not all(0.0 <= phase < float("inf") for phase in phases):
        raise ValueError(f"timeline_ideal: phases are {phases} seconds; give finite times of at least 0.")
    generating, training = generate_s + publish_s, score_s + update_s
    total, longest = generating + training, max(generating, training)
    bound = "balanced" if generating == training else "generation" if generating > training else "training"
    if longest == 0.0:
        return Timeline(0.0, 0.0, 1.0, 0.0, bound)
    return Timeline(total, longest, total / longest, abs(generating - training) / longest, bound)
