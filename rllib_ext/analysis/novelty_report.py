"""Pictures by novelty of what CommonsenseKBC measured: of one run, or of a sweep with intervals over its seeds.

Read from results: ``best/test/<scheme>/<bucket>/<figure>`` (`rllib_ext.commonsense.evaluation`), the newest of each. A
picture a scheme of buckets, and in a sweep one for every split and source of word vectors: what is compared within a
picture are scorers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rllib_ext.analysis.novelty_plots import PANELS, GroupFigure, draw_by_novelty
from rllib_ext.analysis.run_data import load_run
from rllib_ext.analysis.sweep_data import TrialData, is_sweep, load_sweep
from rllib_ext.registry import KINDS

SCHEMES = {
    "pooled_thirds": "Thirds of all test triples",
    "positive_thirds": "Thirds of the true test triples",
}
BUCKETS = ("near", "middle", "far")
Last = Callable[[str], float | None]


def plot_by_novelty(folder: Path) -> list[Path]:
    """Draw a run or a sweep of CommonsenseKBC into its ``report``; the paths, none where it is another's."""
    written: list[Path] = []
    for place, trials in _places(folder).items():
        for scheme, words in SCHEMES.items():
            records = [one for model, last in trials for one in _records(model, last, scheme)]
            if any(one.group != "all" for one in records):
                name = "_".join(("by_novelty", scheme, *(part for part in place if part)))
                title = ", ".join((words, *(part for part in place if part)))
                written += draw_by_novelty(records, folder / "report", title=title, name=name)
    return written


def _places(folder: Path) -> dict[tuple[str, ...], list[tuple[str, Last]]]:
    """(split, vectors), each "" where it is the same for all -> trials as (scorer, newest value of a column)."""
    if not is_sweep(folder):
        run = load_run(folder)
        if run.config.get("algorithm") not in KINDS["triples"]:
            return {}
        return {(): [(str(run.config.get("scorer")), run.last)]}
    sweep = load_sweep(folder)
    trials = [
        trial
        for trial in sweep.trials
        if "scorer" in trial.settings and trial.last("best/test/auc") is not None
    ]
    several = [name for name in ("split", "embedding") if len({_setting(t, name) for t in trials}) > 1]
    found: dict[tuple[str, ...], list[tuple[str, Last]]] = {}
    for trial in trials:
        place = tuple(_setting(trial, name) for name in several)
        found.setdefault(place, []).append((_setting(trial, "scorer"), trial.last))
    return found


def _setting(trial: TrialData, name: str) -> str:
    """A setting as a part of a file's name: of a path its last part."""
    value: Any = trial.settings.get(name)
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(str(value)).stem)


def _records(model: str, last: Last, scheme: str) -> list[GroupFigure]:
    groups = {"all": "best/test", **{bucket: f"best/test/{scheme}/{bucket}" for bucket in BUCKETS}}
    columns = [
        (group, figure, f"{start}/{figure}") for group, start in groups.items() for figure, _ in PANELS
    ]
    return [
        GroupFigure(model, group, figure, value)
        for group, figure, column in columns
        if (value := last(column)) is not None
    ]
