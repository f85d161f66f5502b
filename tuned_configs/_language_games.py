"""What the sweeps over language games share: their trials, the Tuner over a list of trials, and the table of methods.

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
from typing import Any

from ray.tune import ResultGrid, Tuner

import rllib_ext
from rllib_ext.registry import trainable
from rllib_ext.runtime.sweep import Sweep
from tuned_configs import _flags
from tuned_configs._points import Points, listed


def parser(
    name: str, description: str | None, methods: Sequence[str], played: Sequence[str]
) -> argparse.ArgumentParser:
    """The flags that every sweep has, and which methods are played."""
    made = _flags.parser(
        name,
        description,
        samples="values of each method's own knob, its default first",
        smoke="one seed, small: the whole path on two cores",
    )
    made.add_argument("--methods", nargs="+", default=list(played), choices=methods, metavar="METHOD")
    return made


def points(args: argparse.Namespace, own: Mapping[str, tuple[str, Sequence[Any]]]) -> Points:
    """The trials: for each method its own knob's first ``--num-samples`` values, and every seed."""
    seeds = _flags.seeds(args)
    found: Points = []
    for method in args.methods:
        knob, choices = own.get(method, own["elastic_reset"])
        for value in choices[: args.num_samples]:
            found += [{"method": method, knob: value, "seed": seed} for seed in seeds]
    return found


def build_tuner(args: argparse.Namespace, name: str, fixed: Mapping[str, Any], trials: Points) -> Tuner:
    """The Tuner over exactly these trials; nothing reported is lost, an interrupted sweep is continued."""
    rllib_ext.register()
    knobs = sorted({knob for trial in trials for knob in trial})
    defaults = {knob: trainable(name).knobs[knob].default for knob in knobs} | dict(fixed)  # type: ignore[attr-defined]
    every = [{knob: trial.get(knob, defaults[knob]) for knob in knobs} for trial in trials]
    space, tune_config = listed(fixed, every)
    return Sweep(
        args.name,
        trainable(name),
        space,
        storage=args.storage_path,
        tune=tune_config,
        verbose=0,
    ).tuner(must_exist=args.resume)


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
    began = time.monotonic()
    with _flags.session(args):
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
