"""Scores on Atari 100k: human-normalised, aggregated over games, with intervals over runs. Maths alone.

    HNS = (score - random) / (human - random)       with the ends in `envs.atari_games`

| aggregate | over |
|---|---|
| median, mean | the games' mean HNS (SimPLe and after) |
| IQM | all runs of all games: the mean of the middle half |
| optimality gap | all runs of all games: the mean of max(0, 1 - HNS), how much is missing to 1; lower is better |
| probability of improvement | the mean over games of P(X > Y) + P(X = Y) / 2 for a run X of one method, Y of another |

Intervals are percentiles of a bootstrap that resamples the runs within each game, so every resample holds as many runs of
each game as there were. Definitions: Agarwal et al. 2021 (arXiv 2108.13264) and its library rliable. Games may have
different numbers of runs; an IQM then weighs runs and not games, so give each game the same number.

The reference columns (`reference`) are single numbers a game, of the tables in SGI's public code: DER, SPR, DQN after
200M frames, and the DQN behind DQN Replay. They have no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.atari_games import ATARI_100K, find_game
from rllib_ext.analysis.estimators import Estimate, iqm
from rllib_ext.analysis.tables import Table
from rllib_ext.errors import BadData, unknown_name

Scores = Mapping[str, Sequence[float]]  # game -> one score a run
RESAMPLES = 10_000  # rliable's default is 50,000
AT_ONCE = 500
REFERENCES = ("random", "human", "der", "spr", "nature_dqn", "offline_dqn")


@dataclass(frozen=True)
class Aggregates:
    """What one method is worth over all its games."""

    median: Estimate
    mean: Estimate
    iqm: Estimate
    optimality_gap: Estimate
    above_human: int
    above_random: int
    games: int


def human_normalised(game: str, scores: Sequence[float] | float) -> NDArray[np.float64]:
    """HNS of raw scores of one game: 0 plays at random, 1 like a person."""
    entry = find_game(game)
    return (np.asarray(scores, np.float64) - entry.random) / (entry.human - entry.random)


def reference(column: str) -> dict[str, list[float]]:
    """Raw scores of a reference agent, one a game."""
    if column not in REFERENCES:
        raise unknown_name("reference", column, REFERENCES)
    return {game.name: [getattr(game, column)] for game in ATARI_100K}


def aggregate(scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> Aggregates:
    """All aggregates of a method's raw scores. Raises BadData for no games, no runs, or scores that are no numbers."""
    games = _normalised(scores)
    means = np.array([values.mean() for values in games.values()])
    estimates = {
        name: _estimate(list(games.values()), statistic, resamples, seed)
        for name, statistic in (
            ("median", median_of_means),
            ("mean", mean_of_means),
            ("iqm", iqm_of_runs),
            ("optimality_gap", optimality_gap),
        )
    }
    return Aggregates(
        **estimates, above_human=int((means > 1).sum()), above_random=int((means > 0).sum()), games=len(means)
    )


def probability_of_improvement(
    one: Scores, other: Scores, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """The chance that a run of ``one`` beats a run of ``other`` on a game drawn uniformly; a tie is half a win.

    Of the games that both have played. Runs of both methods are resampled.
    """
    first, second = _normalised(one), _normalised(other)
    both = [name for name in first if name in second]
    if not both:
        raise BadData("the two methods have no game in common: nothing can be compared.")
    pairs = [(first[name], second[name]) for name in both]
    value = float(np.mean([_beats(x[None], y[None])[0] for x, y in pairs]))
    runs = min(len(values) for pair in pairs for values in pair)
    if max(len(values) for pair in pairs for values in pair) < 2:
        return Estimate(value, None, None, runs)
    draw, found = np.random.default_rng(seed), []
    for count in _pieces(resamples):
        each = [_beats(_resampled(x, count, draw), _resampled(y, count, draw)) for x, y in pairs]
        found.append(np.mean(each, axis=0))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return Estimate(value, float(low), float(high), runs)


def median_of_means(games: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """games: one (R, runs) array a game, R resamples. (R,) medians over games of the games' means."""
    return np.median([values.mean(axis=1) for values in games], axis=0)


def mean_of_means(games: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(R,) means over games of the games' means."""
    return np.mean([values.mean(axis=1) for values in games], axis=0)


def iqm_of_runs(games: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(R,) means of the middle half of all runs: the lowest and highest floor(n / 4) are left out."""
    return np.array([iqm(row) for row in np.concatenate(list(games), axis=1)])


def optimality_gap(games: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(R,) means over all runs of max(0, 1 - HNS)."""
    return np.maximum(0.0, 1.0 - np.concatenate(list(games), axis=1)).mean(axis=1)


def score_table(methods: Mapping[str, Scores]) -> Table:
    """A row a game: random, human, and of each method the mean raw score and HNS; None where it has not played."""
    plain = {method: _checked(scores) for method, scores in methods.items()}
    rows = []
    for game in ATARI_100K:
        if any(game.name in scores for scores in plain.values()):
            cells: list[object] = [game.name, game.random, game.human]
            for scores in plain.values():
                values = scores.get(game.name)
                cells += (
                    [None, None]
                    if values is None
                    else [float(values.mean()), float(human_normalised(game.name, values.tolist()).mean())]
                )
            rows.append(tuple(cells))
    named = [column for method in methods for column in (method, f"{method} HNS")]
    return Table("atari_scores", ("game", "random", "human", *named), rows)


def aggregate_table(methods: Mapping[str, Aggregates]) -> Table:
    """A row a method: every aggregate with the ends of its interval."""
    columns: list[str] = ["method", "games", "above human", "above random"]
    for name in ("median", "mean", "iqm", "optimality_gap"):
        columns += [name, f"{name} low", f"{name} high"]
    rows = []
    for method, found in methods.items():
        cells: list[object] = [method, found.games, found.above_human, found.above_random]
        for estimate in (found.median, found.mean, found.iqm, found.optimality_gap):
            cells += [estimate.value, estimate.low, estimate.high]
        rows.append(tuple(cells))
    return Table("atari_aggregates", tuple(columns), rows)


def _checked(scores: Scores) -> dict[str, NDArray[np.float64]]:
    plain = {find_game(game).name: np.asarray(values, np.float64).ravel() for game, values in scores.items()}
    wrong = [game for game, values in plain.items() if not values.size or not np.isfinite(values).all()]
    if not plain or wrong:
        raise BadData(f"scores of {wrong or 'no game'}: each game needs at least one run, and numbers only.")
    return plain


def _normalised(scores: Scores) -> dict[str, NDArray[np.float64]]:
    return {game: human_normalised(game, values.tolist()) for game, values in _checked(scores).items()}


def _estimate(
    games: list[NDArray[np.float64]],
    statistic: Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]],
    resamples: int,
    seed: int,
) -> Estimate:
    value, runs = float(statistic([values[None] for values in games])[0]), min(map(len, games))
    if max(map(len, games)) < 2:
        return Estimate(value, None, None, runs)
    draw = np.random.default_rng(seed)
    found = [statistic([_resampled(values, count, draw) for values in games]) for count in _pieces(resamples)]
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return Estimate(value, float(low), float(high), runs)


def _resampled(values: NDArray[np.float64], count: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """(count, runs): resamples with replacement."""
    return values[draw.integers(len(values), size=(count, len(values)))]


def _beats(x_RN: NDArray[np.float64], y_RM: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,): the share of pairs that the first wins, ties half: the Mann-Whitney U over N M."""
    apart = np.sign(x_RN[:, :, None] - y_RM[:, None, :])
    return (0.5 * (1 + apart)).mean(axis=(1, 2))


def _pieces(resamples: int) -> list[int]:
    return [min(AT_ONCE, resamples - start) for start in range(0, resamples, AT_ONCE)]
