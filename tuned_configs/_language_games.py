"""What the sweeps over language games share: flags, the Tuner over a list of trials, and the table of methods.

The trials are listed, not drawn: every method with its own knob's values, each with every seed. Budgets are equal: all
methods play the same number of updates. A row of the table is the mean and standard error over seeds of the last report,
which Elastic Reset makes before any reset (Elastic Reset's evaluation protocol: fix the budget, sweep each method's own
knob, report before resets, never one method's best reward against another's best drift).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, ResultGrid, RunConfig, TuneConfig, Tuner
from ray.tune.search.basic_variant import BasicVariantGenerator

import rllib_ext
from rllib_ext.errors import BadConfig
from rllib_ext.registry import trainable

Points = list[dict[str, Any]]


def parser(
    name: str, description: str, methods: Sequence[str], played: Sequence[str]
) -> argparse.ArgumentParser:
    """The flags that both sweeps have."""
    made = argparse.ArgumentParser(prog=f"python -m tuned_configs.{name}", description=description)
    made.add_argument("--methods", nargs="+", default=list(played), choices=methods, metavar="METHOD")
    made.add_argument("--seeds", type=int, default=5, help="seeds 1 to this number")
    made.add_argument(
        "--num-samples", type=int, default=1, help="values of each method's own knob, its default first"
    )
    made.add_argument("--set", type=json.loads, default={}, help="further settings, a JSON object")
    made.add_argument("--storage-path", default="runs")
    made.add_argument("--name", default=name)
    made.add_argument("--address", default=None, help="join this Ray cluster; default: a session of its own")
    made.add_argument("--smoke", action="store_true", help="one seed, small: the whole path on two cores")
    made.add_argument("--resume", action="store_true", help="only go on with an interrupted sweep")
    made.add_argument("--dry-run", action="store_true", help="print the trials as JSON and stop")
    return made


def points(args: argparse.Namespace, own: Mapping[str, tuple[str, Sequence[Any]]]) -> Points:
    """The trials: for each method its own knob's first ``--num-samples`` values, and every seed."""
    if args.seeds < 1 or args.num_samples < 1:
        raise BadConfig(f"--seeds {args.seeds} and --num-samples {args.num_samples} must be 1 or more.")
    seeds = range(1, 2 if args.smoke else args.seeds + 1)
    found = []
    for method in args.methods:
        knob, choices = own.get(method, own["elastic_reset"])
        for value in choices[: args.num_samples]:
            found += [{"method": method, knob: value, "seed": seed} for seed in seeds]
    return found


def build_tuner(args: argparse.Namespace, name: str, fixed: Mapping[str, Any], trials: Points) -> Tuner:
    """The Tuner: checkpoints during and at the end of every trial, three attempts; an interrupted sweep is continued."""
    rllib_ext.register()
    path = Path(args.storage_path).expanduser().absolute() / args.name
    if Tuner.can_restore(str(path)):
        return Tuner.restore(
            str(path), trainable=trainable(name), resume_unfinished=True, restart_errored=True
        )
    if args.resume:
        raise BadConfig(
            f"{path} holds no sweep to go on with; leave --resume out, or give its --storage-path and --name"
        )
    knobs = sorted({knob for trial in trials for knob in trial})
    defaults = {knob: trainable(name).knobs[knob].default for knob in knobs} | dict(fixed)  # type: ignore[attr-defined]
    every = [{knob: trial.get(knob, defaults[knob]) for knob in knobs} for trial in trials]
    space = dict(fixed) | {knob: tune.choice(_distinct(trial[knob] for trial in every)) for knob in knobs}
    return Tuner(
        trainable(name),
        param_space=space,
        tune_config=TuneConfig(
            search_alg=BasicVariantGenerator(points_to_evaluate=every), num_samples=len(every)
        ),
        run_config=RunConfig(
            name=args.name,
            storage_path=str(path.parent),
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(checkpoint_frequency=5, checkpoint_at_end=True, num_to_keep=2),
            verbose=0,
        ),
    )


def session(args: argparse.Namespace) -> None:
    """A Ray session, unless there is one."""
    import logging

    import ray

    if not ray.is_initialized():
        where = args.address or "local"
        options = {"include_dashboard": False} if where == "local" else {}
        ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR, **options)
    elif args.address:
        raise BadConfig(
            "--address is given, but a Ray session runs already; set RAY_ADDRESS before it starts"
        )


def run(
    args: argparse.Namespace,
    plan: Mapping[str, Any],
    build: Callable[[argparse.Namespace], Tuner],
    columns: Mapping[str, str],
) -> int:
    """Run the sweep, print its table and one JSON line; ``columns``: heading → key of the result."""
    if args.dry_run:
        print(json.dumps(plan, indent=1))
        return 0
    session(args)
    began = time.monotonic()
    grid = build(args).fit()
    own = sorted({knob for trial in plan["trials"] for knob in trial} - {"method", "seed"}, key=str)
    rows = table(grid, columns, own if args.num_samples > 1 else [])
    _print(rows, list(columns))
    line = {
        "sweep": args.name,
        "methods": rows,
        "trials": len(grid),
        "errors": grid.num_errors,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(line), flush=True)
    return 1 if grid.num_errors else 0


def table(grid: ResultGrid, columns: Mapping[str, str], own: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Method (and its knobs in ``own``) → heading → mean over seeds, with "<heading>_se" and "n". "start" is what all
    of them began from: the report before the first update of play, a seed counted once.
    """
    last: dict[str, list[Mapping[str, Any]]] = {}
    first: dict[int, Mapping[str, Any]] = {}
    for result in grid:
        if result.error is not None or result.metrics_dataframe is None:
            continue
        config, frame = result.config, result.metrics_dataframe
        begun = frame[(frame["phase"] == "play") & (frame["play_updates"] == 0)]
        if len(begun):
            first[config["seed"]] = begun.iloc[0].to_dict()
        name = " ".join([config["method"], *(f"{knob}={config[knob]}" for knob in own)])
        last.setdefault(name, []).append(frame.iloc[-1].to_dict())
    groups = {"start": list(first.values()), **last}
    return {
        name: {
            "n": len(rows),
            **{k: v for head, key in columns.items() for k, v in _mean(head, key, rows).items()},
        }
        for name, rows in groups.items()
        if rows
    }


def _mean(heading: str, key: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    values = [float(row[key]) for row in rows]
    mean = sum(values) / len(values)
    if len(values) == 1:
        return {heading: round(mean, 4), f"{heading}_se": None}
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return {heading: round(mean, 4), f"{heading}_se": round(math.sqrt(variance / len(values)), 4)}


def _print(rows: Mapping[str, Mapping[str, Any]], headings: Sequence[str]) -> None:
    width = max(map(len, [*rows, "method"]))
    print("  ".join([f"{'method':{width}}", *(f"{heading:>18}" for heading in headings)]))
    for name, row in rows.items():
        cells = [(row[heading], row[f"{heading}_se"]) for heading in headings]
        texts = [f"{mean:.3f}" + ("" if se is None else f" ± {se:.3f}") for mean, se in cells]
        print("  ".join([f"{name:{width}}", *(f"{text:>18}" for text in texts)]))


def _distinct(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))
