"""Pictures of Atari 100k: aggregates with their intervals, a panel each; a game as a strip of frames or a GIF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.atari_scores import Aggregates, aggregate_table
from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.analysis.estimators import Estimate
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames.store import FrameStore

PANELS = (
    ("median", "Median"),
    ("iqm", "IQM"),
    ("mean", "Mean"),
    ("optimality_gap", "Optimality gap (lower is better)"),
)
ROW_INCHES = 0.42
COLUMNS, MOST_FRAMES, SCALE, MS_A_FRAME = 8, 64, 2, 66  # 15 steps a second of play


def draw_aggregates(methods: Mapping[str, Aggregates], folder: Path) -> tuple[Path, Path, Path]:
    """`atari_aggregates` as PNG, SVG and CSV: a row a method, bars are 95 % intervals over runs."""
    if not methods:
        raise BadData("no methods to draw: give at least one.")
    height = 1.75 + ROW_INCHES * len(methods)
    figure, axes = look.new_figure(
        12.5, height, 1, len(PANELS), left=1.7, right=0.35, bottom=0.65, top=1.1, share_y=True
    )
    for ax, (field, title) in zip(axes, PANELS, strict=True):
        for row, found in enumerate(methods.values()):
            _interval(ax, row, getattr(found, field), look.ROUND_COLOURS[row % len(look.ROUND_COLOURS)])
        ax.use_sticky_edges = False  # bars keep off the panel's edge
        ax.margins(x=0.08)
        ax.set_title(title, size=10, color=look.INK)
        ax.set_ylim(len(methods) - 0.5, -0.5)
        look.name_axes(ax, "human-normalised score", None)
    axes[0].set_yticks(range(len(methods)), [look.label(method) for method in methods])
    games = sorted({found.games for found in methods.values()})
    look.heading(
        figure,
        "Atari 100k",
        f"{' to '.join(map(str, games))} games; a point without a bar is one number a game; 0 random, 1 human",
    )
    png, svg = look.save_figure(figure, folder, "atari_aggregates")
    return png, svg, write_csv(aggregate_table(methods), folder)


def game_frames(store: FrameStore, episode_id: int, *, every: int = 1) -> NDArray[np.uint8]:
    """(n, 84, 84): every so many frames of one game. Raises BadData where the store has no such game."""
    rows = np.flatnonzero(store.rows.episode_id_N == episode_id)
    if not len(rows):
        known = np.unique(store.rows.episode_id_N)
        raise BadData(f"{store.folder} has no game {episode_id}; it has {known[0]} to {known[-1]}.")
    if every < 1:
        raise BadConfig(f"every = {every} must be 1 or more.")
    return store.frames_NHW[rows[::every]]


def draw_game(frames_NHW: NDArray[np.uint8], path: Path) -> Path:
    """Up to 64 frames, spread evenly over the game, as one PNG, eight a row."""
    chosen = np.unique(np.linspace(0, len(frames_NHW) - 1, min(MOST_FRAMES, len(frames_NHW))).astype(int))
    tiles = np.pad(
        _enlarged(frames_NHW[chosen]), ((0, -len(chosen) % COLUMNS), (2, 2), (2, 2)), constant_values=255
    )
    rows = [np.concatenate(list(tiles[at : at + COLUMNS]), axis=1) for at in range(0, len(tiles), COLUMNS)]
    _pillow().fromarray(np.concatenate(rows)).save(path, format="PNG")
    return path


def animate_game(frames_NHW: NDArray[np.uint8], path: Path) -> Path:
    """A GIF at the speed of play (four emulated frames a step), that begins again at its end."""
    images = [_pillow().fromarray(frame) for frame in _enlarged(frames_NHW)]
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=MS_A_FRAME, loop=0)
    return path


def _interval(ax: Any, row: int, estimate: Estimate, colour: str) -> None:
    if estimate.low is not None and estimate.high is not None:
        ax.barh(row, estimate.high - estimate.low, left=estimate.low, height=0.55, color=colour, alpha=0.45)
    ax.plot([estimate.value] * 2, [row - 0.28, row + 0.28], color=look.INK, linewidth=1.8)


def _enlarged(frames_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return frames_NHW.repeat(SCALE, axis=1).repeat(SCALE, axis=2)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise BadConfig('Pictures of games need Pillow: pip install "rllib-ext[atari]"') from error
    return Image
