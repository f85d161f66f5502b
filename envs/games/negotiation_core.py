"""The negotiation game in B copies, as arrays; `envs.games.negotiation` is the documentation page and the face of one.

All copies are dealt together and go turn by turn; a copy whose game is over stays over until the next deal. Whoever moves
sees only what `observe` gives: the pool, its own utilities, and what the other said through the channels that are open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.games.bargain import (
    REWARDS,
    Bools,
    Floats,
    Ints,
    draw_horizons,
    draw_pools,
    draw_utilities,
    joint_worth,
    own_worth,
    rewards,
    split,
)
from envs.grid.arguments import choice, flag, real, whole

CHANNELS = ("none", "proposal", "linguistic", "both")
SPEECH = ("cheap_talk", "masked")
TERMINATION = ("accept", "match")
POISSON = "poisson"


@dataclass(frozen=True)
class Seen:
    """What the movers of B games see. pool_BI, utility_BI: public and own; proposal_BI: the other's last, zeros where
    hidden or where nothing was said; utterance_BU: likewise; first_B: nothing was said yet.
    """

    pool_BI: Ints
    utility_BI: Ints
    proposal_BI: Ints
    utterance_BU: Ints
    first_B: Bools


@dataclass(frozen=True)
class Turn:
    """What a turn brought. over_B: the game ended in it; agreed_B: with a deal; rewards_B2: of the games that ended,
    zeros elsewhere; own_B2, joint_B: worth of the deal to each and together, zeros without one.
    """

    over_B: Bools
    agreed_B: Bools
    rewards_B2: Floats
    own_B2: Floats
    joint_B: Floats


class NegotiationCore:
    """B games; arguments are those of `envs.games.negotiation`."""

    def __init__(
        self,
        num_games: int,
        *,
        channels: str = "both",
        speech: str = "cheap_talk",
        termination: str = "accept",
        reward: str = "selfish",
        alpha: float = 0.5,
        items: int = 3,
        max_quantity: int = 5,
        max_utility: int = 10,
        horizon: int | str = POISSON,
        vocabulary: int = 11,
        utterance_length: int = 6,
        randomize_first: bool = False,
        quirks: bool = False,
    ) -> None:
        self.num_games = whole("num_games", num_games, 1)
        self.channels = choice("channels", channels, CHANNELS)
        self.speech = choice("speech", speech, SPEECH)
        self.termination = choice("termination", termination, TERMINATION)
        self.reward = choice("reward", reward, REWARDS)
        self.alpha = real("alpha", alpha, 0.0, 1.0)
        self.items = whole("items", items, 1)
        self.max_quantity = whole("max_quantity", max_quantity, 1)
        self.max_utility = whole("max_utility", max_utility, 1)
        self.horizon = horizon if horizon == POISSON else whole("horizon", horizon, 1)
        self.vocabulary = whole("vocabulary", vocabulary, 2)
        self.utterance_length = whole("utterance_length", utterance_length, 1)
        self.randomize_first = flag("randomize_first", randomize_first)
        self.quirks = flag("quirks", quirks)
        self.shows_proposals = channels in ("proposal", "both")
        self.speaks = channels in ("linguistic", "both")
        if self.speech == "masked":  # own utilities and, where proposals are hidden, the own proposal
            self.utterance_length, self.vocabulary = 2 * self.items, max(max_quantity, max_utility) + 1
        self.rng = np.random.default_rng()

    @property
    def mover_B(self) -> Ints:
        """(B,) 0 or 1: whose turn it is, or was last."""
        return (self.turn + self.first_B) % 2

    def deal(self, seed: int | None = None, games: int | None = None) -> Seen:
        """New games in all copies. games: another number of copies than so far. The same seed deals the same."""
        if seed is not None:
            self.rng = np.random.default_rng(whole("seed", seed, 0))
        if games is not None:
            self.num_games = whole("games", games, 1)
        count, rng = self.num_games, self.rng
        self.pool_BI = draw_pools(rng, count, self.items, self.max_quantity, first_never_zero=self.quirks)
        self.utilities_B2I = draw_utilities(rng, self.pool_BI, self.max_utility)
        drawn_B = draw_horizons(rng, count)
        self.horizon_B = drawn_B if self.horizon == POISSON else np.full(count, self.horizon)
        self.first_B = rng.integers(0, 2, count) if self.randomize_first else np.zeros(count, np.int64)
        self.begin()
        return self.observe()

    def begin(self) -> None:
        """Take the games that are dealt from their first turn."""
        self.turn = 0
        self.over_B = np.zeros(self.num_games, bool)
        self.proposal_BI = np.zeros((self.num_games, self.items), np.int64)
        self.utterance_BU = np.zeros((self.num_games, self.utterance_length), np.int64)

    def observe(self) -> Seen:
        """What those who move next see."""
        return Seen(
            self.pool_BI,
            self.utilities_B2I[np.arange(self.num_games), self.mover_B],
            self.proposal_BI if self.shows_proposals else np.zeros_like(self.proposal_BI),
            self.utterance_BU if self.speaks else np.zeros_like(self.utterance_BU),
            np.full(self.num_games, self.turn == 0),
        )

    def step(self, terminate_B: Bools, proposal_BI: Ints, utterance_BU: Ints) -> Turn:
        """One turn of every game that is not over. terminate_B means nothing where termination is "match"."""
        mover_B, running_B = self.mover_B, ~self.over_B
        if self.termination == "accept":
            closes_B = running_B & terminate_B
        else:
            named_BI = self.proposal_BI
            if self.quirks and not self.shows_proposals:
                named_BI = np.zeros_like(named_BI)
            closes_B = running_B & (proposal_BI == named_BI).all(axis=1) & (self.turn > 0)
        shares_B2I, possible_B = split(self.proposal_BI, 1 - mover_B, self.pool_BI)
        agreed_B = closes_B & possible_B & (self.turn > 0)
        shares_B2I = np.where(agreed_B[:, None, None], shares_B2I, 0)
        own_B2 = own_worth(shares_B2I, self.utilities_B2I, self.pool_BI)
        joint_B = joint_worth(shares_B2I, self.utilities_B2I, self.pool_BI)
        over_B = running_B & (closes_B | (self.turn + 1 >= self.horizon_B))
        self.utterance_BU = np.where(
            running_B[:, None], self._spoken(proposal_BI, utterance_BU), self.utterance_BU
        )
        self.proposal_BI = np.where(running_B[:, None], proposal_BI, self.proposal_BI)
        self.over_B = self.over_B | over_B
        self.turn += 1
        return Turn(over_B, agreed_B, rewards(self.reward, own_B2, joint_B, self.alpha), own_B2, joint_B)

    def _spoken(self, proposal_BI: Ints, utterance_BU: Ints) -> Ints:
        """What the other hears: the symbols themselves, or the truths that a mask lets through."""
        if self.speech == "cheap_talk":
            return utterance_BU
        utility_BI = self.utilities_B2I[np.arange(self.num_games), self.mover_B]
        hidden_BI = np.zeros_like(proposal_BI) if self.shows_proposals else proposal_BI
        revealed_BU: Ints = utterance_BU * np.concatenate([utility_BI, hidden_BI], axis=1)
        return revealed_BU
