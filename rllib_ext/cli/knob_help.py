"""The tables of knobs as text: what ``--set`` takes, with default, allowed values and meaning.

The shared tables cost no import of Ray; those of one algorithm do, so they are shown where it is named.
"""

from __future__ import annotations

import importlib
import shutil
import textwrap
from collections.abc import Iterator, Mapping

from rllib_ext.cli.run_knobs import RUN_KNOBS
from rllib_ext.cli.settings import RLLIB_RUNS, kind_of
from rllib_ext.llm import knobs as shared
from rllib_ext.registry import NO_LANGUAGE_MODEL, STAGES, TRAINABLES, stage
from rllib_ext.runtime.knobs import Knob

GROUPS = {
    "the model": shared.MODEL,
    "off-policyness": shared.OFF_POLICYNESS,
    "texts and rewards": shared.TEXT,
    "optimisation": shared.OPTIMISATION,
    "generation engine": shared.ENGINE,
    "evaluation": shared.EVALUATION,
    "supervision": shared.SUPERVISION,
    "workers that join, workers that score": shared.WORKERS,
    "workers, learners and schedule": RUN_KNOBS,
}


def knob_help(algorithm: str | None) -> str:
    """Every knob that ``--set`` takes, in groups."""
    width = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
    lines = ["", "knobs, for --set KEY=VALUE:"]
    if algorithm in STAGES:
        return "\n".join([*lines, *_stage_groups(str(algorithm), width)])
    if algorithm in (*TRAINABLES, *NO_LANGUAGE_MODEL):
        return "\n".join([*lines, *_plain_groups(str(algorithm), width)])
    if algorithm is None:
        lines += ["(rllib-ext train ALGORITHM --help adds the algorithm's own)"]
    else:
        lines += _group(f"{algorithm}'s own", _own_knobs(algorithm), width)
    for title, table in GROUPS.items():
        lines += _group(title, table, width)
    return "\n".join(lines)


def _stage_groups(name: str, width: int) -> Iterator[str]:
    from rllib_ext.stages import knobs

    groups = {
        "the model": knobs.MODEL,
        "the data": knobs.DATA,
        "optimisation": knobs.OPTIMISATION,
        "the run": knobs.RUN,
    }
    table = stage(name).knobs  # type: ignore[attr-defined]
    shared = {key for group in groups.values() for key in group}
    yield from _group(f"{name}'s own", {key: knob for key, knob in table.items() if key not in shared}, width)
    for title, group in groups.items():
        yield from _group(title, {key: table[key] for key in group}, width)


def _plain_groups(name: str, width: int) -> Iterator[str]:
    if name in TRAINABLES:
        from rllib_ext.cli.games import knobs_of
        from rllib_ext.language_games.knobs import RUN as run
    else:
        runs = importlib.import_module(RLLIB_RUNS[kind_of({"algorithm": name})]).RUNS
        knobs_of, run = runs.knobs_of, {**runs.ppo, **runs.run}
    table = knobs_of(name)
    yield from _group(f"{name}'s own", {key: knob for key, knob in table.items() if key not in run}, width)
    yield from _group("the run", {key: table[key] for key in run if key in table}, width)


def _own_knobs(algorithm: str) -> dict[str, Knob]:
    from rllib_ext.registry import config_class

    knobs: Mapping[str, Knob] = config_class(algorithm).knobs  # type: ignore[attr-defined]
    return {name: knob for name, knob in knobs.items() if shared.LLM_KNOBS.get(name) is not knob}


def _group(title: str, table: Mapping[str, Knob], width: int) -> Iterator[str]:
    yield f"\n  {title}"
    for name, knob in table.items():
        if name != "run_folder":  # the command line's own
            default = "none" if knob.default is None else repr(knob.default)
            yield f"    {name} = {default}    {knob.allowed()}"
            yield textwrap.fill(knob.doc, width, initial_indent=" " * 8, subsequent_indent=" " * 8)
