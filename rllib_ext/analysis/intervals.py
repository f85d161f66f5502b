"""Who was busy when: the arithmetic of a run's timeline (plain maths, no files, no drawing).

A lane is one ``who`` of ``timeline.jsonl`` ("worker 1", "learner"). With window W (seconds) and busy time B,
the measure of the *union* of the lane's intervals, its idle share is 1 - B / W. The union matters: scoring
may overlap generation in one lane, and adding lengths would call a lane more than busy. In the steady state
of asynchronous training the side that waits is idle for |(g+w) - (r+u)| / max(g+w, r+u) of the time (Async
RLHF, A.2.3), which is what these numbers show when the run is long against its start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Order in which overlapping work of one lane is attributed; the first role keeps the overlap.
ROLE_ORDER = ("generate", "learn", "score", "publish")


@dataclass(frozen=True, slots=True)
class Interval:
    """One stretch of work: seconds since the epoch, the generation round and the weight version it
    concerns.
    """

    role: str
    who: str
    start: float
    end: float
    round: int | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class LaneUse:
    """How one lane spent the run. ``by_role`` is disjoint and adds up to ``busy_s``."""

    who: str
    kind: str
    window_s: float
    busy_s: float
    by_role: dict[str, float]

    @property
    def idle_share(self) -> float:
        """1 - busy / window; NaN where the window is empty, because nothing was measured."""
        return 1.0 - self.busy_s / self.window_s if self.window_s > 0 else float("nan")


def union_s(spans: Iterable[tuple[float, float]]) -> float:
    """The measure of a union of closed intervals; touching and nested ones count once."""
    total, reach = 0.0, float("-inf")
    for start, end in sorted(spans):
        if end > reach:
            total += end - max(start, reach)
            reach = end
    return total


def sessions(timeline: Sequence[Interval], resumed_at: Sequence[float] = ()) -> list[list[Interval]]:
    """Cut the timeline where the run was resumed: hours between a crash and its resume are nobody's idle
    time.
    """
    parts: list[list[Interval]] = [[] for _ in range(len(resumed_at) + 1)]
    cuts = sorted(resumed_at)
    for item in sorted(timeline, key=lambda item: item.start):
        parts[sum(item.start >= cut for cut in cuts)].append(item)
    return [part for part in parts if part]


def window(items: Sequence[Interval]) -> tuple[float, float]:
    """From the first start to the last end."""
    return min(item.start for item in items), max(item.end for item in items)


def lane_use(timeline: Sequence[Interval], resumed_at: Sequence[float] = ()) -> list[LaneUse]:
    """The use of every lane over the whole run, workers first, learner last.

    All lanes share one window (the sum of the sessions), so a worker that joined late or died early counts as
    idle while it was away: the share says what the machine's time was used for, not how busy a survivor was.
    """
    parts = sessions(timeline, resumed_at)
    window_s = sum(end - start for start, end in map(window, parts))
    return [_use_of(who, [i for i in timeline if i.who == who], window_s) for who in lanes(timeline)]


def _use_of(who: str, items: Sequence[Interval], window_s: float) -> LaneUse:
    roles = {item.role for item in items}
    order = [role for role in ROLE_ORDER if role in roles] + sorted(roles.difference(ROLE_ORDER))
    by_role: dict[str, float] = {}
    covered, spans = 0.0, []
    for role in order:
        spans += [(item.start, item.end) for item in items if item.role == role]
        reached = union_s(spans)
        by_role[role], covered = reached - covered, reached
    return LaneUse(who, kind_of(roles), window_s, covered, by_role)


def kind_of(roles: Iterable[str]) -> str:
    """ "learner" if the lane ever learns, "generator" if it generates, else "other"."""
    roles = set(roles)
    return "learner" if "learn" in roles else "generator" if "generate" in roles else "other"


def lanes(timeline: Iterable[Interval]) -> list[str]:
    """Lane names, generators first and the learner last; "worker 10" after "worker 9"."""
    roles: dict[str, set[str]] = {}
    for item in timeline:
        roles.setdefault(item.who, set()).add(item.role)
    rank = {"generator": 0, "other": 1, "learner": 2}
    return sorted(roles, key=lambda who: (rank[kind_of(roles[who])], _natural(who)))


def _natural(name: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(1, int(part)) if index % 2 else (0, part) for index, part in enumerate(parts)]


def idle_share(uses: Iterable[LaneUse], kind: str) -> float | None:
    """Mean idle share over the lanes of one kind; None when the run has no such lane."""
    shares = [use.idle_share for use in uses if use.kind == kind and use.window_s > 0]
    return sum(shares) / len(shares) if shares else None


def middle_rounds(items: Sequence[Interval], count: int) -> tuple[list[int], tuple[float, float]]:
    """``count`` rounds in the middle of the run and the stretch of time that holds their work.

    The middle, because the first rounds pay for warming up and the last for draining. A run with fewer rounds
    is shown whole. Without round numbers the middle tenth of the time is taken and no round is named.
    """
    rounds = sorted({item.round for item in items if item.round is not None and item.role != "publish"})
    if not rounds:
        start, end = window(items)
        return [], (start + 0.45 * (end - start), start + 0.55 * (end - start))
    first = max(0, (len(rounds) - count) // 2)
    chosen = rounds[first : first + count]
    inside = [i for i in items if i.round in set(chosen) and i.role != "publish"]
    return chosen, window(inside)
