"""``evaluate``: a run or a checkpoint on held-out prompts, by the run's own settings; or candidate triples (`mining`).

What the evaluation writes (samples, timeline) goes into a folder of its own below the run; its line is added
to the run's ``evaluations.jsonl`` where it continues it, so that the report shows it. A line about an older
checkpoint is not added: readers take a step back for a resume and would drop what came after.
"""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

from rllib_ext.cli.run_paths import find_checkpoint, run_of
from rllib_ext.cli.session import running, session_of
from rllib_ext.cli.settings import (
    RunSettings,
    is_stage,
    kind_of,
    read_settings,
    refuse_without_model,
)
from rllib_ext.errors import BadConfig
from rllib_ext.llm import persistence
from rllib_ext.llm.model_folder import require_pinned
from rllib_ext.runtime import checkpoint as checkpoints
from rllib_ext.runtime.run_folder import RunFolder, read_json, read_jsonl

EVALUATIONS = "evaluations.jsonl"


def evaluate(options: Namespace) -> int:
    """Print a table, or with ``--json`` one line."""
    if options.candidates is not None:
        return _mine(options)
    run, path = find_checkpoint(options.run)
    config = read_json(run / "config.json")
    if is_stage(config):
        raise BadConfig(
            f"{run} is a supervised stage, which is evaluated at its end: its figures are in {run / 'stage.json'}, and "
            f"rllib-ext plot {run} shows them"
        )
    refuse_without_model(run, config)
    settings = read_settings(run, config)
    require_pinned(settings.values["model"], settings.values["revision"])
    if options.prompts is not None and options.prompts < 1:
        raise BadConfig(f"--prompts is {options.prompts}; it must be 1 or more")
    same_prompts = options.split == settings.values["evaluation_split"]
    settings = settings.having(
        evaluation_split=options.split,
        evaluation_prompts=options.prompts or settings.values["evaluation_prompts"],
        mode="sync",
        max_staleness=None,
    )
    folder = run / "evaluations" / f"{path.name}-{options.split}-{datetime.now():%Y%m%d-%H%M%S}"
    with session_of(settings.values, options.address), running(settings, folder) as algorithm:
        _load(algorithm, path, initial_scores=same_prompts)
        algorithm.evaluate()
    record = read_jsonl(folder / EVALUATIONS)[-1]
    if not same_prompts and record.get("win_rate_against") == "initial policy":
        record = {**record, "win_rate": None}  # the initial policy wrote for other prompts
    added = _add(run, record)
    _print(options, settings, path, {**record, "folder": str(folder), "added_to_run": added})
    return 0


def _mine(options: Namespace) -> int:
    """Candidate triples, ranked by a run that scores them."""
    from rllib_ext.cli.mining import mine_candidates

    run = run_of(options.run)
    config = read_json(run / "config.json")
    if kind_of(config) != "triples":
        raise BadConfig(f"{run} does not score triples; --candidates is for runs of CommonsenseKBC")
    return mine_candidates(options, run)


def _load(algorithm: Any, path: Path, *, initial_scores: bool) -> None:
    """The checkpoint's weights and reference into a fresh algorithm, verified before."""
    loaded = checkpoints.load(path)
    persistence.restore_learners(algorithm, loaded)
    saved = loaded.state["algorithm"]
    algorithm.counters.update(saved["counters"])
    algorithm._iteration = saved["round"]
    if initial_scores:
        algorithm.evaluator.initial_scores = {int(index): score for index, score in saved["initial_scores"]}
    algorithm.forget_published()


def _add(run: Path, record: dict[str, Any]) -> bool:
    """Append to the run's evaluations unless that would hide newer ones; whether it was."""
    steps = [row["updates"] for row in read_jsonl(run / EVALUATIONS) if isinstance(row.get("updates"), int)]
    if steps and max(steps) > record["updates"]:
        return False
    folder = RunFolder(run)
    try:
        folder.append_jsonl(EVALUATIONS, record)
    finally:
        folder.close()
    return True


def _print(options: Namespace, settings: RunSettings, path: Path, record: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(record))
        return
    from rich.console import Console
    from rich.table import Table

    print(f"{settings.algorithm} on {settings.env}, {options.split} split, {path.name}")
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in record.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "iteration":
            table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)
    print(f"samples: {Path(record['folder']) / 'samples.jsonl'}")
