"""Win rates against references: who judges, in which order the two answers are shown, and what is made of the verdicts.

A judge that reads two answers favours a place, so each item's order is drawn from the seed and its own index. A verdict
that cannot be read (None) is settled by a coin from the same stream and counted, as the N+ paper does. Offline, the judge
is a gold reward: the higher score wins, strictly, and it does not see places at all.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), its judge protocol. Left out: asking a remote
model (pass a callable that does; secrets and retries are its own).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envs.text.rewards import Reward
from envs.text.task import Sample, Task
from rllib_ext.errors import BadData
from rllib_ext.functional.win_rate import LengthControlled, Share, length_controlled, share, wins_by_length
from rllib_ext.runtime.seeding import SeedTree

Judge = Callable[
    [str, str, str], int | None
]  # (prompt, first, second) -> 0 or 1, the better one; None: unreadable
LENGTH_EDGES = (-math.inf, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, math.inf)


@dataclass(frozen=True)
class Contest:
    """One item: a completion against its reference."""

    prompt: str
    completion: str
    reference: str

    @property
    def log_length_ratio(self) -> float:
        """log of own words over the reference's; an empty text counts as one word."""
        return math.log(max(1, len(self.completion.split())) / max(1, len(self.reference.split())))


@dataclass(frozen=True)
class Verdicts:
    """``wins`` of the completions in order; ``unscored`` items are in neither. ``first_share``: how often the text that
    was shown first was preferred, 0.5 for a judge that does not look at the place; None without places.
    """

    wins: tuple[bool, ...]
    contests: tuple[Contest, ...]
    coin_flips: int = 0
    unscored: int = 0
    first_share: float | None = None
    lengths: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", tuple(contest.log_length_ratio for contest in self.contests))

    @property
    def win_rate(self) -> Share:
        return share(sum(self.wins), len(self.wins))

    @property
    def length_controlled(self) -> LengthControlled:
        return length_controlled(self.wins, self.lengths)

    def by_length(self) -> list[tuple[float, float, Share]]:
        """The win rate in stretches of the length log-ratio."""
        return wins_by_length(self.wins, self.lengths, LENGTH_EDGES)

    def as_json(self) -> dict[str, Any]:
        raw, fit = self.win_rate, self.length_controlled
        return {
            "win_rate": raw.value,
            "win_rate_low": raw.low,
            "win_rate_high": raw.high,
            "length_controlled_win_rate": fit.value,
            "length_slope": fit.slope,
            "n": raw.count,
            "coin_flips": self.coin_flips,
            "unscored": self.unscored,
            "first_share": self.first_share,
        }


def ask_judge(judge: Judge, contests: Sequence[Contest], seed: int = 0) -> Verdicts:
    """Show every item to ``judge`` in an order drawn for it, and book what it says."""
    stream = SeedTree(seed).child("judge")
    wins, firsts, flips = [], 0, 0
    for index, contest in enumerate(contests):
        draw = stream.child(index).python()
        own_place = draw.randrange(2)
        shown = (contest.completion, contest.reference)
        answer = judge(contest.prompt, shown[own_place], shown[1 - own_place])
        if answer is None:
            answer, flips = draw.randrange(2), flips + 1
        elif isinstance(answer, bool) or answer not in (0, 1):
            raise BadData(f"the judge answered {answer!r} to item {index}; it must be 0, 1 or None")
        firsts += answer == 0
        wins.append(answer == own_place)
    first_share = firsts / len(contests) if contests else None
    return Verdicts(tuple(wins), tuple(contests), coin_flips=flips, first_share=first_share)


def ask_reward(reward: Reward, contests: Sequence[Contest]) -> Verdicts:
    """A gold reward as the judge: the completion wins where it scores strictly higher; unscored items are left out."""
    sides = []
    for name in ("completion", "reference"):
        samples = [
            Sample(Task(f"{index}-{name}", contest.prompt, contest.reference), getattr(contest, name))
            for index, contest in enumerate(contests)
        ]
        sides.append(reward.score(samples))
    scored = [
        (contest, own > other)
        for contest, own, other in zip(contests, *sides, strict=True)
        if own is not None and other is not None
    ]
    return Verdicts(
        tuple(won for _, won in scored),
        tuple(contest for contest, _ in scored),
        unscored=len(contests) - len(scored),
    )
