"""Atari 100k scores: the published aggregates, scipy's estimators, intervals against closed forms, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from frames_fixture import episode, frame, write
from scipy import stats

from envs.atari_games import ATARI_100K
from rllib_ext.analysis.atari_plots import animate_game, draw_aggregates, draw_game, game_frames
from rllib_ext.analysis.atari_scores import (
    aggregate,
    aggregate_table,
    human_normalised,
    probability_of_improvement,
    reference,
    score_table,
)
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames.store import FrameStore


def runs(seed: int, games: int = 26, count: int = 5, scale: float = 1.0) -> dict[str, list[float]]:
    draw = np.random.default_rng(seed)
    return {
        game.name: (game.random + (game.human - game.random) * scale * draw.gamma(1.0, 0.6, count)).tolist()
        for game in ATARI_100K[:games]
    }


@pytest.mark.parametrize(
    ("column", "median", "mean", "above_human", "above_random"),
    [
        ("der", 0.161, 0.285, 2, 26),
        ("spr", 0.444, 0.621, 6, 25),
        ("nature_dqn", 0.959, 2.201, None, None),
        ("offline_dqn", 1.139, 2.199, None, None),
        ("random", 0.0, 0.0, 0, 0),
        ("human", 1.0, 1.0, 0, 26),
    ],
)
def test_f8_01_the_reference_columns_give_the_published_aggregates(
    column: str, median: float, mean: float, above_human: int | None, above_random: int | None
) -> None:
    found = aggregate(reference(column))
    assert found.median.value == pytest.approx(median, abs=5e-4)
    assert found.mean.value == pytest.approx(mean, abs=5e-4)
    assert found.games == 26 and found.iqm.low is None and found.median.n == 1
    if above_human is not None:
        assert (found.above_human, found.above_random) == (above_human, above_random)


def test_f8_01_a_normalised_score_is_0_at_random_and_1_at_human() -> None:
    assert human_normalised("pong", [-20.7, 14.6, 18.9]) == pytest.approx([0, 1, 39.6 / 35.3])
    assert human_normalised("MsPacman", 307.3) == pytest.approx(0.0)


def test_f8_01_estimators_are_scipys() -> None:
    scores = runs(0)
    hns = np.array([human_normalised(game, values) for game, values in scores.items()])
    found = aggregate(scores, resamples=10)
    assert found.iqm.value == pytest.approx(stats.trim_mean(hns, 0.25, axis=None))
    assert found.median.value == pytest.approx(np.median(hns.mean(axis=1)))
    assert found.mean.value == pytest.approx(hns.mean())
    assert found.optimality_gap.value == pytest.approx(1 - np.minimum(hns, 1).mean())
    other = runs(1, count=7)
    wins = [
        stats.mannwhitneyu(x, y, alternative="greater").statistic / 35
        for x, y in zip(scores.values(), other.values(), strict=True)
    ]
    assert probability_of_improvement(scores, other, resamples=10).value == pytest.approx(np.mean(wins))


def test_intervals_are_as_wide_as_the_bootstraps_closed_form() -> None:
    scores = runs(3, games=20, count=6)
    found = aggregate(scores, resamples=20_000).mean
    hns = np.array([human_normalised(game, values) for game, values in scores.items()])
    deviation = np.sqrt((hns.var(axis=1) / 6).sum()) / 20  # of a mean of 20 resampled means of 6
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.05)
    assert found.low < found.value < found.high and found.n == 6


def test_resamples_hold_as_many_runs_of_each_game() -> None:
    """Without variance inside the games nothing moves, however far the games are apart."""
    still = {game.name: [game.random + k] * 4 for k, game in enumerate(ATARI_100K)}
    found = aggregate(still, resamples=200)
    for estimate in (found.median, found.mean, found.iqm, found.optimality_gap):
        assert estimate.low == pytest.approx(estimate.value) == pytest.approx(estimate.high)


def test_improvement_of_a_method_over_itself_is_a_half_and_over_a_worse_one_more() -> None:
    scores = runs(0)
    assert probability_of_improvement(scores, scores, resamples=10).value == pytest.approx(0.5)
    better = probability_of_improvement(runs(5, scale=3.0), runs(6), resamples=500)
    assert better.low > 0.6 and better.high < 1
    other = probability_of_improvement(runs(6), runs(5, scale=3.0), resamples=10)
    assert other.value == pytest.approx(1 - better.value)
    few = {game: values for game, values in list(scores.items())[:3]}
    assert probability_of_improvement(few, scores, resamples=10).value == pytest.approx(0.5)  # common games


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(BadData, match="no game"):
        aggregate({})
    with pytest.raises(BadData, match="Pong"):
        aggregate({"Pong": []})
    with pytest.raises(BadData, match="Pong"):
        aggregate({"Pong": [1.0, float("nan")]})
    with pytest.raises(BadData, match="in common"):
        probability_of_improvement({"Pong": [1.0]}, {"Breakout": [1.0]})
    with pytest.raises(BadConfig, match="spr"):
        reference("sprr")


def test_tables_and_pictures(tmp_path: Path) -> None:
    methods = {"SPR": reference("spr"), "ours": runs(0, games=3)}
    table = score_table(methods)
    assert table.columns == ("game", "random", "human", "SPR", "SPR HNS", "ours", "ours HNS")
    assert len(table.rows) == 26 and table.rows[5][5:] == (None, None)
    assert table.column("SPR")[20] == -3.8
    found = {name: aggregate(scores, resamples=50) for name, scores in methods.items()}
    rows = aggregate_table(found).rows
    assert rows[0][:4] == ("SPR", 26, 6, 25) and rows[0][5] is None and rows[1][5] is not None
    png, svg, csv = draw_aggregates(found, tmp_path)
    assert png.stat().st_size > 10_000 and "IQM" in svg.read_text() and csv.read_text().startswith("method,")
    with pytest.raises(BadData, match="no methods"):
        draw_aggregates({}, tmp_path)


def test_a_game_is_drawn_frame_by_frame(tmp_path: Path) -> None:
    from PIL import Image as image

    store = FrameStore(write(tmp_path / "data", episode(0, 20), episode(1, 10)))
    frames_NHW = game_frames(store, 1)
    strip = np.asarray(image.open(draw_game(frames_NHW, tmp_path / "game.png")))
    assert strip.shape == (2 * 172, 8 * 172)
    assert np.array_equal(strip[174:342:2, 2 + 172 : 170 + 172 : 2], frame(1, 9))  # second row, second tile
    with image.open(animate_game(frames_NHW[::2], tmp_path / "game.gif")) as film:
        assert film.n_frames == 5 and film.size == (168, 168)
    assert len(game_frames(store, 0, every=3)) == 7
    with pytest.raises(BadData, match="no game 7"):
        game_frames(store, 7)
    with pytest.raises(BadConfig, match="every"):
        game_frames(store, 0, every=0)
