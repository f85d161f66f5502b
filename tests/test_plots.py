"""The plots: the numbers behind them are the fixture's closed forms, and the pixels show those numbers."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import run_folder_fixture as fx

pytest.importorskip("matplotlib")
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from rllib_ext.analysis import figures, idle, reward_curves, timeline, trust_curves
from rllib_ext.analysis.plots import Plot, draw_all
from rllib_ext.analysis.run_data import RunData, load_run
from rllib_ext.errors import BadConfig

NAMES = ["reward_vs_kl", "reward_over_updates", "timeline", "idle_shares", "sample_ages", "loss_and_parity"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return load_run(fx.write_run(tmp_path_factory.mktemp("plots") / "run"))


@pytest.fixture(scope="module")
def plots(run: RunData) -> list[Plot]:
    return draw_all(run, run.folder / "report")


def rows(run: RunData, name: str) -> list[dict[str, str]]:
    with (run.folder / "report" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels(figure: Figure) -> np.ndarray:
    """The drawn figure as (height, width, 3) floats in [0, 1], first row on top."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba(), dtype=float)[..., :3] / 255


def close_to(image: np.ndarray, colour: str) -> np.ndarray:
    return np.abs(image - np.array(to_rgb(colour))).max(axis=-1) < 0.02


def test_every_plot_is_a_picture_a_drawing_and_a_table(plots: list[Plot]) -> None:
    assert [plot.name for plot in plots] == NAMES
    for plot in plots:
        assert plot.missing == "" and plot.png is not None and plot.svg is not None
        image = imread(plot.png)[..., :3]
        assert min(image.shape[:2]) >= 400
        ink = (image < 0.9).any(axis=-1)
        assert 0.005 < ink.mean() < 0.6, plot.name
        top, middle = ink[: image.shape[0] // 5], ink[image.shape[0] // 4 : -image.shape[0] // 4]
        assert top.any() and middle.any()
        assert not ink[:, :4].any() and not ink[:, -4:].any(), f"{plot.name} is cut at its edge"
        assert ElementTree.parse(plot.svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_reward_against_kl_csv_has_the_points_and_their_intervals(run: RunData, plots: list[Plot]) -> None:
    found = [row for row in rows(run, "reward_vs_kl") if row["split"] == "validation"]
    assert [float(row["updates"]) for row in found] == list(range(0, 49, 8))
    for row in found:
        updates = float(row["updates"])
        assert float(row["reward_mean"]) == fx.reward_at(updates) and float(row["kl_ref"]) == fx.kl_at(
            updates
        )
        assert float(row["reward_low"]) == fx.reward_at(updates) - 1.96 * 0.008
        assert float(row["reward_high"]) == fx.reward_at(updates) + 1.96 * 0.008
        p = fx.win_rate_at(updates)
        assert float(row["win_rate_se"]) == pytest.approx((p * (1 - p) / 256) ** 0.5, rel=1e-12)


def test_idle_csv_equals_the_closed_form_with_unions(run: RunData, plots: list[Plot]) -> None:
    found = {row["who"]: row for row in rows(run, "idle_shares")}
    assert list(found) == ["worker 1", "worker 2", "learner"]
    for who, busy in fx.BUSY_S.items():
        assert float(found[who]["busy_s"]) == busy
        assert float(found[who]["window_s"]) == fx.WINDOW_S
        assert float(found[who]["idle_share"]) == 1 - busy / fx.WINDOW_S


def test_ages_csv_counts_every_sample(run: RunData, plots: list[Plot]) -> None:
    found = rows(run, "sample_ages")
    assert {int(row["age_updates"]): int(row["samples"]) for row in found} == fx.AGE_COUNTS
    assert float(found[-1]["cumulative_share"]) == 1.0


def test_timeline_csv_has_every_interval_since_the_first(run: RunData, plots: list[Plot]) -> None:
    found = rows(run, "timeline")
    assert len(found) == len(fx.timeline())
    assert min(float(row["start_s"]) for row in found) == 0.0
    learn = [row for row in found if row["role"] == "learn"]
    assert [float(row["start_s"]) for row in learn] == [fx.PERIOD * r for r in range(1, fx.ROUNDS)]
    assert {float(row["seconds"]) for row in learn} == {fx.LEARN}


def test_training_csv_has_the_loss_without_the_sum_over_modules(run: RunData, plots: list[Plot]) -> None:
    found = rows(run, "loss_and_parity")
    assert [float(row["learners/default_policy/total_loss"]) for row in found] == [
        0.69 - 0.01 * i for i in range(1, fx.ROUNDS + 1)
    ]
    assert not any("__all_modules__" in column for column in found[0])


def test_histogram_bars_are_as_tall_as_the_counts(run: RunData) -> None:
    figure = trust_curves.sample_ages(run)
    blue = close_to(pixels(figure), figures.BLUE)
    (ax,) = figure.axes
    heights = [blue[:, int(ax.transData.transform((age, 0))[0])].sum() for age in fx.AGE_COUNTS]
    full = ax.transData.transform((0, 1))[1] - ax.transData.transform((0, 0))[1]
    total = sum(fx.AGE_COUNTS.values())
    assert heights == pytest.approx([full * count / total for count in fx.AGE_COUNTS.values()], abs=3)


@pytest.mark.parametrize(
    ("place", "busy"), [(0, fx.LEARN / fx.PERIOD), (1, fx.GENERATE / fx.PERIOD)], ids=["learner", "worker 2"]
)
def test_lanes_of_the_timeline_are_coloured_for_as_long_as_they_worked(
    run: RunData, place: int, busy: float
) -> None:
    """Along a lane, above the number in its bars, the share of a round's colours is busy time over time."""
    figure = timeline.timeline(run)
    image, ax = pixels(figure), figure.axes[0]
    row = image.shape[0] - int(ax.transData.transform((0, place + 0.25))[1])
    start = fx.PERIOD * 8
    left, right = (int(ax.transData.transform((at, 0))[0]) for at in (start, start + 8 * fx.PERIOD))
    lane = image[row, left:right]
    coloured = np.any([close_to(lane, colour) for colour in figures.ROUND_COLOURS], axis=0)
    assert coloured.mean() == pytest.approx(busy, abs=0.03)


def test_a_round_has_one_colour_in_generation_and_learning(run: RunData) -> None:
    figure = timeline.timeline(run)
    image, ax = pixels(figure), figure.axes[0]

    def colour(place: int, at: float) -> np.ndarray:
        x, y = ax.transData.transform((at, place + 0.25))
        return image[image.shape[0] - int(y), int(x)]

    for r in range(8, 16):
        generated, learnt = colour(1, fx.PERIOD * r + 0.2), colour(0, fx.PERIOD * (r + 1) + 0.2)
        assert np.allclose(generated, learnt)
        assert not np.allclose(generated, colour(0, fx.PERIOD * r + 0.2))


def test_title_tells_overlap_from_taking_turns(run: RunData, tmp_path: Path) -> None:
    folder = fx.write_run(tmp_path / "sync")
    turns = []
    for r in range(5):
        turns.append(fx._row("generate", "worker 1", fx.T0 + 2 * r, 1.0, r, r))
        turns.append(fx._row("learn", "learner", fx.T0 + 2 * r + 1, 1.0, r, r))
    fx.write_lines(folder / "timeline.jsonl", turns)
    titles = [timeline.timeline(data).texts[0].get_text() for data in (run, load_run(folder))]
    assert titles == ["Generation and learning overlap", "Generation and learning take turns"]


def test_drawing_twice_gives_the_same_bytes_and_leaves_pyplot_alone(run: RunData, tmp_path: Path) -> None:
    before = "matplotlib.pyplot" in sys.modules
    bytes_of = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        figures.save_figure(reward_curves.reward_vs_kl(run), folder, "plot")
        bytes_of.append([(folder / f"plot.{kind}").read_bytes() for kind in ("png", "svg")])
    assert bytes_of[0] == bytes_of[1]
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_a_run_without_numbers_draws_nothing_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    stale = tmp_path / "report" / "timeline.png"
    stale.parent.mkdir()
    stale.write_bytes(b"of an earlier drawing")
    drawn = draw_all(load_run(tmp_path), tmp_path / "report")
    assert [plot.name for plot in drawn] == NAMES
    assert all(plot.png is None and plot.missing and plot.csv.exists() for plot in drawn)
    assert not stale.exists()


@pytest.mark.parametrize("kept", [1, 2])
@pytest.mark.parametrize(
    "draw",
    [
        reward_curves.reward_vs_kl,
        reward_curves.reward_over_updates,
        timeline.timeline,
        idle.idle_shares,
        trust_curves.sample_ages,
        trust_curves.loss_and_parity,
    ],
)
def test_the_first_minutes_of_a_run_can_be_drawn(
    tmp_path: Path, draw: Callable[[RunData], Figure | None], kept: int
) -> None:
    """One or two iterations and one evaluation without error, win rate or KL."""
    folder = fx.write_run(tmp_path / "young")
    fx.write_lines(folder / "result.json", fx.results()[:kept])
    fx.write_lines(folder / "rounds.jsonl", fx.rounds()[:kept])
    fx.write_lines(folder / "timeline.jsonl", fx.timeline()[:kept])
    fx.write_lines(folder / "evaluations.jsonl", [{"updates": 0, "split": "test", "reward_mean": 0.1}])
    figure = draw(load_run(folder))
    assert figure is not None
    figure.canvas.draw()


def test_names_with_dollar_signs_are_not_mathematics(run: RunData, tmp_path: Path) -> None:
    folder = fx.write_run(tmp_path / "dollar")
    rows_ = [row | {"who": "$\\frac{1$ worker"} for row in fx.timeline() if row["role"] == "generate"]
    fx.write_lines(folder / "timeline.jsonl", rows_)
    timeline.timeline(load_run(folder)).canvas.draw()


def test_without_matplotlib_one_sentence_names_the_extra(
    run: RunData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BadConfig, match=r'pip install "rllib-ext\[plot\]"'):
        draw_all(run, tmp_path / "report")
