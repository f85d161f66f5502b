"""The report of a run that trains no language model: its figures over the updates, each in a panel of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.html_tags import Html, table, tag
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.recipes import Recipe
from rllib_ext.analysis.rows import flatten, number
from rllib_ext.analysis.run_data import UPDATES, RunData
from rllib_ext.analysis.tables import Table
from rllib_ext.registry import KINDS, NO_LANGUAGE_MODEL, TRAINABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "figures"
#: Measures that multi-agent environments have of their own.
_MEASURES = ("success", "captured", "arrived", "arrival", "mean_speed")
#: What is told of a run, in this order: the columns whose names begin so.
_TOLD = (
    "game/",
    "drift/",
    "protocol/",
    "evaluation/env_runners/episode_return_mean",
    "env_runners/episode_return_mean",
    *(f"{of}env_runners/{name}_mean" for name in _MEASURES for of in ("evaluation/", "")),
    *(f"best/{part}" for part in ("dev2/accuracy", "test/accuracy", "test/auc", "novel/auc")),
    *(f"kbc/{part}" for part in ("dev2/accuracy", "test/accuracy")),
    "er/num_resets",
    "er/dist_online_init",
    "er/kl_beta",
)
_LOSSES = (
    "loss",
    "total_loss",
    "policy_loss",
    "vf_loss",
    "entropy",
    "cacl_loss",
    "aecomm_loss",
    "c51_loss",
    "spr_loss",
    "self_prediction_loss",
    "goal_loss",
    "inverse_loss",
    "inverse_accuracy",
    "spread",
    "effective_rank",
    "bce_loss",
)
_MOST_PANELS, _COLUMNS = 12, 3


def is_plain(run: RunData) -> bool:
    """Whether the run trains no language model, by its configuration."""
    return run.config.get("algorithm") in (*TRAINABLES, *NO_LANGUAGE_MODEL)


def figures_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The newest value of every figure that is told, by its column; of the losses where there is none yet."""
    found: dict[str, float] = {}
    for row in rows:
        found |= {name: value for name, cell in flatten(row).items() if (value := number(cell)) is not None}
    told = {name: found[name] for start in _TOLD for name in found if name.startswith(start)}
    return told or {name: value for name, value in found.items() if _is_loss(name)}


def plain_recipes(run: RunData) -> list[Recipe]:
    """One plot with all figures; a run with Elastic Reset has its saw-tooth beside it."""
    from rllib_ext.analysis.frontier_report import elastic_recipes

    figures = Recipe(
        NAME,
        "What was measured",
        "Every figure over the updates. What a reset moves back falls at once, and grows again.",
        _panels,
        lambda run: Table(NAME, (UPDATES, *_columns(run)), _rows(run)),
        "result.json has no figure yet",
    )
    return [figures, *(elastic_recipes(run) if run.config.get("algorithm") in KINDS["gymnasium"] else [])]


def plain_lead(run: RunData) -> Html:
    """How far the run is, in one sentence."""
    updates = run.last(UPDATES)
    if updates is None:
        return tag("p", "The run has taken no update yet.", class_="lead soft")
    return tag("p", f"{updates:,.0f} updates in {len(run.results)} iterations.", class_="lead")


def plain_figures(run: RunData) -> Html:
    """The newest value of every figure, and its first."""
    columns = _columns(run)
    series = [run.series(name) for name in columns]
    rows = [
        (one_line(name), f"{curve[0][1]:.6g}", f"{curve[-1][1]:.6g}")
        for name, curve in zip(columns, series, strict=True)
    ]
    if not rows:
        return tag("p", "The run has measured nothing yet.", class_="soft")
    return tag("div", table(("figure", "first", "last"), rows, (1, 2)), class_="card")


def _columns(run: RunData) -> list[str]:
    names = list(dict.fromkeys(name for row in run.results for name in row))
    told = [name for start in _TOLD for name in names if name.startswith(start)]
    return [name for name in (*told, *filter(_is_loss, names)) if run.series(name)]


def _is_loss(name: str) -> bool:
    return name.startswith("learners/") and name.rpartition("/")[2] in _LOSSES


def _rows(run: RunData) -> list[tuple[Any, ...]]:
    return [tuple(number(row.get(name)) for name in (UPDATES, *_columns(run))) for row in run.results]


def _panels(run: RunData) -> Figure | None:
    columns = _columns(run)[:_MOST_PANELS]
    if not columns:
        return None
    rows = -(-len(columns) // _COLUMNS)
    figure, axes = look.new_figure(11.4, 2.5 * rows + 1.2, rows=rows, columns=_COLUMNS, right=0.35, gap=0.36)
    curves = [run.series(name) for name in columns]
    for ax, name, curve in zip(axes, columns, curves, strict=False):
        look.draw_curve(ax, curve, look.BLUE)
        look.updates_axis(ax)
        look.name_axes(ax, "updates", None)
        title = name.removeprefix("learners/").replace(
            "env_runners/", ""
        )  # RLlib's names: too long beside an axis
        ax.set_title(look.label(title), loc="left", color=look.INK, size=10)
    for ax in axes[len(columns) :]:
        ax.set_axis_off()
    look.heading(figure, "What was measured", f"{len(run.results)} iterations" + look.smoothing_note(curves))
    return figure
