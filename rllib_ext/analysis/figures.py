"""How the plots look: one palette, one canvas, one way to save (matplotlib enters the package here and only
here).

Figures are made without pyplot, so drawing keeps no state between calls and is safe in a thread. Colours are
Okabe and Ito's, which stay apart under the common kinds of colour blindness; what differs in colour differs
in label, marker or hatch as well. Margins are given in inches, so that figures of different heights look like
one family.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rllib_ext.analysis.plain_text import one_line
from rllib_ext.errors import BadConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, SKY, GREEN, AMBER, RED, PINK = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
INK, GREY, FAINT = "#1f2430", "#6b7280", "#e5e7eb"
#: Neighbours in this cycle are far apart in lightness too, so rounds stay apart in grey print.
ROUND_COLOURS = (BLUE, AMBER, GREEN, PINK, SKY, RED)
DPI = 160
#: Least distance between the middles of two labels, in points.
LABEL_PITCH = 13.0
#: Curves with this many points or more are drawn smoothed over their raw line.
SMOOTHED_FROM = 60


def require_matplotlib() -> None:
    """Raise BadConfig with the one command that helps where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BadConfig('Plots need matplotlib: pip install "rllib-ext[plot]"') from error


def new_figure(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    *,
    left: float = 0.85,
    right: float = 0.9,
    bottom: float = 0.6,
    top: float = 0.9,
    widths: tuple[float, ...] | None = None,
    gap: float = 0.32,
    share_x: bool = False,
    share_y: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure of ``width`` x ``height`` inches and its axes, row by row; ``top`` inches belong to the
    heading.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        width_ratios=widths,
        hspace=gap,
        wspace=gap,
    )
    axes = grid.subplots(sharex=share_x, sharey=share_y, squeeze=False).ravel().tolist()
    for ax in axes:
        _quiet(ax)
    return figure, axes


def _quiet(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#c3c8d0")
    ax.tick_params(colors=GREY, labelsize=9, length=3, width=0.8)
    ax.grid(True, color=FAINT, linewidth=0.8)
    ax.set_axisbelow(True)


def heading(figure: Figure, title: str, subtitle: str) -> None:
    """What the picture shows, and below it in grey what to know for reading it."""
    width, height = figure.get_size_inches()
    left = 0.22 / width
    figure.text(left, 1 - 0.16 / height, label(title), size=14, weight="bold", color=INK, va="top")
    figure.text(left, 1 - 0.46 / height, label(subtitle), size=9.5, color=GREY, va="top")


def name_axes(ax: Axes, x: str | None, y: str | None) -> None:
    if x:
        ax.set_xlabel(x, color=INK, size=10)
    if y:
        ax.set_ylabel(y, color=INK, size=10)


def draw_curve(ax: Axes, curve: list[tuple[float, float]], colour: str) -> tuple[float, float]:
    """A line; from ``SMOOTHED_FROM`` points on faint, with the mean of each point's neighbours bold above it.

    Returns the right end of what the eye follows, for its label. Not for extremes: a mean of maxima hides
    them.
    """
    if len(curve) < SMOOTHED_FROM:
        mark = "o" if len(curve) == 1 else None  # a line through one point is none
        ax.plot(*zip(*curve, strict=True), color=colour, linewidth=1.7, zorder=2, marker=mark)
        return curve[-1]
    ax.plot(*zip(*curve, strict=True), color=colour, linewidth=0.8, alpha=0.35, zorder=2)
    reach = len(curve) // 30
    means = []
    for index, (x, _) in enumerate(curve):
        ys = [y for _, y in curve[max(0, index - reach) : index + reach + 1]]
        means.append((x, sum(ys) / len(ys)))
    ax.plot(*zip(*means, strict=True), color=colour, linewidth=1.9, zorder=2.5)
    return means[-1]


def smoothing_note(curves: list[list[tuple[float, float]]]) -> str:
    """What the subtitle has to add where ``draw_curve`` smoothed one of ``curves``."""
    return "; bold: local mean" if any(len(curve) >= SMOOTHED_FROM for curve in curves) else ""


def updates_axis(ax: Axes) -> None:
    """Updates are whole numbers, so their ticks are too."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def percent_axis(axis: Axis) -> None:
    """Shares as percentages; nothing is named above 100 %."""
    axis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%" if share < 1.0001 else "")


def nothing_here(ax: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    ax.text(0.5, 0.5, label(text), transform=ax.transAxes, ha="center", va="center", size=10, color=GREY)
    ax.set_yticks([])
    ax.grid(False)


def label(text: str) -> str:
    """Text for a figure: harmless, on one line, and no part of it read as mathematics."""
    return one_line(text, 160).replace("$", r"\$")


def point_label(
    ax: Axes, at: tuple[float, float], text: str, colour: str, offset: tuple[float, float]
) -> None:
    """A direct label beside a point, with a white edge so that lines below it do not cut it."""
    from matplotlib.patheffects import withStroke

    ax.annotate(
        label(text),
        xy=at,
        xytext=offset,
        textcoords="offset points",
        color=colour,
        size=9,
        weight="bold",
        ha="left" if offset[0] > 0 else "right" if offset[0] < 0 else "center",
        va="center",
        path_effects=[withStroke(linewidth=3, foreground="white")],
        annotation_clip=False,
    )


def end_labels(ax: Axes, labels: list[tuple[tuple[float, float], str, str]]) -> None:
    """Name lines at their right ends, (point, text, colour) each, moved apart vertically where they would
    touch.

    Call it when everything else is drawn: it reads where the points lie on the page.
    """
    ax.autoscale_view()
    to_points = 72.0 / DPI
    edge = max((ax.transData.transform(at)[0] for at, _, _ in labels), default=0.0)
    placed = float("-inf")
    for at, text, colour in sorted(labels, key=lambda item: ax.transData.transform(item[0])[1]):
        x, y = (value * to_points for value in ax.transData.transform(at))
        placed = max(y, placed + LABEL_PITCH)
        point_label(ax, at, text, colour, (edge * to_points - x + 9, placed - y))


def save_figure(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write ``name``.png and ``name``.svg; the same figure gives the same bytes."""
    import matplotlib

    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    figure.savefig(png, format="png")
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return png, svg
