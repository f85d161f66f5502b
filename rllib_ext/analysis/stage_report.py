"""The sections of a supervised stage's report, and the reward model's report as JSON and CSVs beside it."""

from __future__ import annotations

import json
from pathlib import Path

from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.analysis.html_tags import Html, table, tag
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.report_sections import figure_of, percent
from rllib_ext.analysis.reward_tables import GROUPS, accuracy_table, position_table, reward_report
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.stage_data import StageRun

REWARD_REPORT = "reward_model.json"
_SHARES = ("accuracy", "padding_difference_share", "other_positions_negative_share")
_COUNTS = ("read", "kept", "dropped_long", "quarantined", "other_split")


def stage_lead(stage: StageRun) -> Html:
    """The stage in one sentence."""
    losses = stage.series("loss")
    if not losses:
        return tag("p", "The stage has taken no update yet.", class_="lead soft")
    state = "finished after" if stage.finished else "is at"
    accuracy = number(stage.metrics.get("accuracy"))
    held = "" if accuracy is None else f" It ranks {accuracy:.1%} of the held-out comparisons right."
    sentence = f"The stage {state} {losses[-1][0]:,.0f} updates; loss {losses[0][1]:.3f} at the first, "
    return tag("p", sentence, tag("strong", f"{losses[-1][1]:.3f}"), f" at the last.{held}", class_="lead")


def figures_section(stage: StageRun) -> Html:
    """Every figure of stage.json."""
    rows = []
    for name, value in stage.metrics.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, item in parts:
            found = number(item)
            shown = percent(found) if name in _SHARES else "n/a" if found is None else f"{found:.6g}"
            rows.append((one_line(f"{name} {part}".strip().replace("_", " ")), shown))
    if not rows:
        return tag("p", "The stage is not finished; its figures come with its last update.", class_="soft")
    return tag("div", table(("figure", "value"), rows, (1,)), class_="card")


def rows_section(stage: StageRun) -> Html:
    """What became of the rows that were read; kept + dropped as too long + quarantined = read."""
    readings = stage.finished.get("rows")
    found = [row for row in readings if isinstance(row, dict)] if isinstance(readings, list) else []
    if not found:
        return tag("p", "The stage is not finished; the counts come with its last update.", class_="soft")
    lines = [
        (
            *(one_line(row.get(name)) for name in ("purpose", "source", "split")),
            *(_count(row, name) for name in _COUNTS),
        )
        for row in found
    ]
    names = ("for", "source", "split", "read", "kept", "too long", "quarantined", "of other splits")
    return tag("div", table(names, lines, (3, 4, 5, 6, 7)), class_="card")


def _count(row: dict, name: str) -> str:
    return figure_of(number(row.get(name)), 0)


def write_reward_report(stage: StageRun, folder: Path) -> None:
    """``reward_model.json`` and a CSV for every group, where the stage has scored comparisons."""
    if not stage.comparisons:
        return
    found = reward_report(stage.comparisons, stage.diagnostics)
    (folder / REWARD_REPORT).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for group in GROUPS:
        write_csv(accuracy_table(stage.comparisons, group), folder)
    write_csv(position_table(stage.diagnostics), folder)
