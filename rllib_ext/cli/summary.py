"""The end of a run: its report, and its figures as a text or as one JSON object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rllib_ext.analysis.headline import headline
from rllib_ext.analysis.run_data import load_run
from rllib_ext.cli.settings import RunSettings
from rllib_ext.errors import RllibExtError
from rllib_ext.runtime.history import scan

ROWS = {
    "updates": "updates",
    "reward_before": "reward before",
    "reward_after": "reward after",
    "kl": "KL to the start",
    "win_rate": "win rate",
    "staleness_mean": "age of samples, mean",
    "staleness_p95": "age of samples, p95",
    "tokens_per_s": "tokens a second",
    "seconds": "seconds",
    "report": "report",
    "checkpoint": "checkpoint",
    "pretrained": "pretrained",
}


def build_report_or_say_why(folder: Path, say: Callable[[str], None]) -> None:
    """The report is the last step of a run and must not turn a trained model into a failure."""
    from rllib_ext.analysis.report import build_report

    try:
        build_report(folder)
    except (RllibExtError, OSError) as error:
        say(f"no report: {error} (rllib-ext plot {folder} makes it later)")


def summary_of(settings: RunSettings, folder: Path, code: int, seconds: float) -> dict[str, Any]:
    """The run's figures (those of the report's headline), and where everything is."""
    names = {"algorithm": settings.algorithm, "env": settings.env}
    return {**names, **headline(load_run(folder)), **left_behind(folder, code, seconds)}


def left_behind(folder: Path, code: int, seconds: float) -> dict[str, Any]:
    """What the summary of any run ends with: its time, and where everything is."""
    saved, report = scan(folder / "checkpoints"), folder / "report" / "report.html"
    return {
        "seconds": round(seconds, 1),
        "run": str(folder),
        "report": str(report) if report.exists() else None,
        "checkpoint": str(saved[0].path) if saved else None,
        "checkpoint_updates": saved[0].step if saved else None,
        "exit_code": code,
    }


def summary_text(summary: dict[str, Any]) -> str:
    """The same for people; what was not measured is left out."""
    titles = {**ROWS, "win_rate": f"win rate against the {summary.get('win_rate_against')}"}
    shown = {title: summary[key] for key, title in titles.items() if summary.get(key) is not None}
    width = max(map(len, shown), default=0)
    return "\n".join(f"{title:<{width}}  {_value(value)}" for title, value in shown.items())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
