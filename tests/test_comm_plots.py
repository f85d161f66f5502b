"""Records of communication, their tables and pictures: closed forms behind them, and pixels that show them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from envs.grid.pictures import colour_of
from rllib_ext.analysis import comm_plots, comm_tables
from rllib_ext.analysis.comm_records import (
    FILE,
    Record,
    cross_play_records,
    read_records,
    records_of,
    write_records,
)
from rllib_ext.analysis.communication import plot_communication, read_communication
from rllib_ext.analysis.episode_strip import BAR_HEIGHT, animate, draw_strip, episode_frames
from rllib_ext.analysis.recordings import Recording
from rllib_ext.cli import main
from rllib_ext.errors import BadData

SEEDS = range(5)


def team(
    method: str = "cacl", seed: int = 0, inbox: str = "none", success: float = 0.5, frames: int = 0
) -> Recording:
    """Forty episodes of ten steps, two agents; messages are a one-hot code of a label of four values, each its own."""
    draw = np.random.default_rng(seed)
    episode, time = np.divmod(np.arange(400), 10)
    place = draw.integers(4, size=40)[episode]
    code = np.eye(4, dtype=np.float32)
    names = [0, 1, 2, 3], [1, 2, 3, 0]
    messages = np.stack([code[order][place] for order in names], axis=1)
    shape = (400, 2)
    spoken = np.stack([code[np.arange(100) % 4]] * 2, axis=1)
    won = np.zeros(40)
    won[: round(40 * success)] = 1.0
    return Recording(
        np.zeros((*shape, 3), np.float32), messages, np.zeros(shape, np.int64), np.ones(shape, bool), episode, time,
        spoken, {"place": np.stack([place, place], 1)}, {"return": 3 * won, "success": won},
        np.full((frames, 48, 48, 3), 200, np.uint8) if frames else np.zeros((0, 1, 1, 3), np.uint8),
        {"method": method, "env": "Beacon", "seed": seed, "inbox": inbox, "filmed": 7 if frames else -1},
    )  # fmt: skip


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """CACL succeeds in 0.6, 0.65, ... and falls to 0.25 with the inbox empty; without a channel 0.4."""
    found = []
    for seed in SEEDS:
        found += records_of([team("cacl", seed, success=0.6 + 0.05 * seed), team("cacl", seed, "zero", 0.25)])
        silent = team("none", seed, success=0.4)
        silent = replace(silent, messages=silent.messages[..., :0], spoken=silent.spoken[..., :0])
        found += records_of([silent])
        for step in (0.0, 100.0, 200.0):
            found.append(Record("cacl", "Beacon", seed, "curve/success", step / 200 + seed / 100, step=step))
    teams = {(a, b): team(success=0.9 if a == b else 0.3) for a in (0, 1) for b in (0, 1)}
    return found + cross_play_records(teams, [("cacl", 0), ("cacl", 1)])


def rows(table: Any, **wanted: Any) -> list[dict[str, Any]]:
    named = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return [row for row in named if all(row[name] == value for name, value in wanted.items())]


def test_one_table_holds_means_over_seeds_and_their_intervals(records: list[Record]) -> None:
    table = comm_tables.communication_table(records)
    [whole] = rows(table, method="cacl", measure="success", detail="")
    values = [0.6, 0.65, 0.7, 0.75, 0.8]
    assert (
        whole["mean"] == pytest.approx(0.7)
        and whole["n"] == 5
        and whole["std"] == pytest.approx(np.std(values, ddof=1))
    )
    assert 0.6 < whole["low"] < 0.7 < whole["high"] < 0.8
    [silent] = rows(table, method="none", measure="success")
    assert silent["mean"] == silent["low"] == silent["high"] == 0.4
    [read] = rows(table, method="cacl", measure="probe/linear", detail="place")
    [chance] = rows(table, method="cacl", measure="probe/majority", detail="place")
    [moved] = rows(table, method="cacl", measure="transfer/linear", detail="place")
    assert (read["mean"], chance["mean"], moved["mean"]) == (1.0, 0.25, 0.0)
    [symmetry] = rows(table, method="cacl", measure="symmetry/mean")
    assert symmetry["mean"] == pytest.approx(1.0)
    assert not [row for row in rows(table, method="none") if "/" in row["measure"]], "no channel, no probe"


def test_ablations_are_differences_run_by_run(records: list[Record]) -> None:
    table = comm_tables.ablation_table(records)
    [lost] = rows(table, measure="success", inbox="zero")
    assert lost["mean"] == pytest.approx(0.25 - 0.7) and lost["method"] == "cacl"
    alone = comm_tables.ablation_table([r for r in records if r.detail == "zero"])
    assert not alone.rows, "nothing to compare with"


def test_cross_play_is_told_apart_from_self_play(records: list[Record]) -> None:
    table = comm_tables.cross_play_table(records)
    [own], [cross] = (rows(table, measure="success", relation=relation) for relation in ("self", "cross"))
    assert own["mean"] == pytest.approx(0.9) and cross["mean"] == pytest.approx(0.3) and cross["n"] == 2
    grid = comm_plots.cross_play_grid(table, "success", ["cacl", "dial"])
    assert grid[0, 0] == pytest.approx(0.3) and grid[0, 2] == pytest.approx(0.9) and np.isnan(grid[1]).all()


def test_learning_curves_are_means_over_runs_at_their_steps(records: list[Record]) -> None:
    found = rows(comm_tables.curve_table(records), method="cacl")
    assert [row["env_steps"] for row in found] == [0.0, 100.0, 200.0]
    assert [row["mean"] for row in found] == pytest.approx([0.02, 0.52, 1.02])
    assert all(row["low"] < row["mean"] < row["high"] and row["measure"] == "success" for row in found)


def test_records_come_back_and_other_files_are_refused(records: list[Record], tmp_path: Path) -> None:
    assert read_records(write_records(records, tmp_path)) == records
    good = json.loads((tmp_path / FILE).read_text())
    for spoil in ({"value": "high"}, {"seed": 1.5}, {"step": "late"}, {"extra": 1}):
        rows_ = [{**good["records"][0], **spoil}]
        (tmp_path / FILE).write_text(json.dumps({**good, "records": rows_}))
        with pytest.raises(BadData, match=FILE):
            read_records(tmp_path / FILE)
    with pytest.raises(BadData, match="missing"):
        read_records(tmp_path / "missing.json")


def test_everything_is_drawn_with_its_table(records: list[Record], tmp_path: Path) -> None:
    written = {path.name for path in plot_communication(records, tmp_path / "out")}
    figures = (
        "learning_curves",
        "probes_linear",
        "probes_mlp",
        "transfer",
        "symmetry",
        "ablations",
        "cross_play",
    )
    assert {f"{name}.{kind}" for name in figures for kind in ("png", "svg")} <= written
    assert {"communication.csv", "ablations.csv", "cross_play.csv", "learning_curves.csv"} <= written
    for name in figures:
        image = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("RGB"))
        ink = (image < 230).any(-1)
        assert 0.005 < ink.mean() < 0.7, name
        assert not ink[:, :3].any() and not ink[:, -3:].any(), f"{name} is cut at its edge"
    with (tmp_path / "out" / "ablations.csv").open(encoding="utf-8") as file:
        [lost] = [row for row in csv.DictReader(file) if row["measure"] == "success"]
    assert float(lost["mean"]) == pytest.approx(-0.45)


def test_a_method_has_one_colour_in_every_figure(records: list[Record]) -> None:
    from matplotlib.colors import to_hex

    ablations, probes = comm_plots.ablation_bars(records), comm_plots.probe_bars(records)
    assert ablations is not None and probes is not None
    painted = [
        [to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches] for figure in (ablations, probes)
    ]
    heights = [round(bar.get_height(), 6) for bar in ablations.axes[0].patches]
    assert heights == [0.4, 0.7, 0.25] and painted[0][1] == painted[0][2] == painted[1][0] != painted[0][0]
    curves = comm_plots.learning_curves(records)
    assert curves is not None and to_hex(curves.axes[0].lines[0].get_color()) == painted[1][0]


def test_several_environments_have_figures_of_their_own(records: list[Record], tmp_path: Path) -> None:
    both = [*records, *(replace(record, env="My Env/v0") for record in records)]
    names = {path.name for path in plot_communication(both, tmp_path)}
    assert {"symmetry_Beacon.png", "symmetry_My-Env-v0.png"} <= names and "symmetry.png" not in names


# ----- the strip


def strip_bars(recording: Recording, step: int, agent: int) -> list[int]:
    """Heights of an agent's bars under one frame, in pixels of its colour."""
    panel = episode_frames(recording)[step]
    below = panel[-2 * (BAR_HEIGHT + 4) - 8 :, 8:-8]
    painted = (below == colour_of(agent)).all(-1)
    width = painted.shape[1] // 4
    return [int(painted[:, i * width + width // 2].sum()) for i in range(4)]


def test_bars_are_as_high_as_the_messages_numbers() -> None:
    recording = team(frames=10)
    recording.messages[70:80, 0] = [0.0, 0.5, 1.0, 0.25]
    recording.active[75, 1] = False
    assert strip_bars(recording, 0, 0) == [0, BAR_HEIGHT // 2, BAR_HEIGHT, round(BAR_HEIGHT / 4)]
    assert max(strip_bars(recording, 4, 1)) == BAR_HEIGHT
    assert strip_bars(recording, 5, 1) == [0] * 4, "who is not there says nothing"


def test_a_strip_and_an_animation_have_every_step(tmp_path: Path) -> None:
    recording = team(frames=10)
    with Image.open(animate(recording, tmp_path / "a.gif")) as film:
        assert film.n_frames in range(1, 11) and film.format == "GIF"
        size = film.size
    strip = Image.open(draw_strip(recording, tmp_path / "a.png"))
    assert strip.size == (6 * size[0], 2 * size[1])
    with pytest.raises(BadData, match="pictures=True"):
        draw_strip(team(), tmp_path / "none.png")


# ----- folders and the command line


def test_a_folder_of_runs_is_drawn_from_the_command_line(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    for seed in (0, 1):
        run = results / f"cacl-{seed}"
        run.mkdir(parents=True)
        write_records([r for r in records if (r.method, r.seed, r.step) == ("cacl", seed, None)], run)
        team(seed=seed, frames=10).save(run / "communication.npz")
    out = results / "report" / "communication"
    assert main(["plot", str(results)]) == 0, "a folder that holds no run"
    assert capsys.readouterr().out == f"{out}\n" and not (out / "learning_curves.png").exists()
    for seed in (0, 1):
        lines = [
            {"training_iteration": i, "num_env_steps_sampled_lifetime": 100 * i,
             "env_runners": {"success_mean": 0.1 * i, "episode_return_mean": float(i)}} for i in (1, 2, 3)
        ]  # fmt: skip
        (results / f"cacl-{seed}" / "result.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
    found = read_communication(results)
    curve = [r for r in found.records if r.measure == "curve/success" and r.seed == 1]
    assert [(r.step, r.value) for r in curve] == [(100.0, 0.1), (200.0, 0.2), (300.0, pytest.approx(0.3))]
    assert main(["plot", str(results)]) == 0, "a sweep"
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert {"learning_curves.png", "episode_cacl_0.gif", "episode_cacl_1.png"} <= {
        p.name for p in out.iterdir()
    }
    with pytest.raises(BadData, match="examine"):
        read_communication(out)


def test_examining_writes_what_is_drawn(tmp_path: Path) -> None:
    from comm_fixture import small

    from rllib_ext.contrastive_comm import examine
    from rllib_ext.contrastive_comm.runner import CommEnvRunner

    config = small("Beacon", {"agents": 2})
    config.validate()
    records = examine(CommEnvRunner(config=config, worker_index=0, num_workers=0), tmp_path, 24)
    assert read_records(tmp_path / FILE) == records
    assert {(r.measure, r.detail) for r in records} >= {
        ("success", ""), ("success", "zero"), ("success", "shuffle"), ("symmetry/mean_shuffled", ""),
        ("probe/linear", "sighted"), ("probe/mlp_shuffled", "sighted"), ("transfer/linear", "sighted"),
    }  # fmt: skip
    [recording] = read_communication(tmp_path).recordings.values()
    assert len(recording.frames) and recording.about["method"] == "cacl"
