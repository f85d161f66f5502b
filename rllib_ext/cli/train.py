"""``train`` and ``resume``: from words to settings and a folder; ``launch`` does the rest."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from rllib_ext.cli import smoke
from rllib_ext.cli.assignments import assignments, json_values, refuse_secrets
from rllib_ext.cli.launch import Launch
from rllib_ext.cli.run_paths import find_run, new_run
from rllib_ext.cli.settings import (
    RLLIB_RUNS,
    RunSettings,
    kind_of,
    parsed,
    read_settings,
    resolve,
    rounds_between,
)
from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.registry import ALGORITHMS, ENVIRONMENTS, STAGES, TRAINABLES
from rllib_ext.runtime.run_folder import read_json

# What is trained and resumed elsewhere, by kind (`kind_of`).
RUNS = {"stage": "rllib_ext.cli.stages", "game": "rllib_ext.cli.games", **RLLIB_RUNS}


def train(options: Namespace) -> int:
    """A new run, or with ``--dry-run`` what it would be."""
    refuse_secrets(options.words)
    if options.algorithm not in (*ALGORITHMS, *STAGES, *TRAINABLES):
        raise unknown_name("algorithm, stage or game", options.algorithm, [*ALGORITHMS, *STAGES, *TRAINABLES])
    if (kind := kind_of({"algorithm": options.algorithm})) in RUNS:
        return importlib.import_module(RUNS[kind]).train(options)
    settings, needs_model = settings_of(options)
    folder = new_run(options.storage_path, settings.algorithm, settings.env, options.name)
    if needs_model:
        settings = settings.having(model=str((folder / "model").absolute()))
    config = settings.build(folder)
    if options.dry_run:
        print(json.dumps({**settings.as_json(), "plan": _plan(config, settings, folder)}, indent=1))
        return 0
    if not needs_model:
        settings = _pinned(settings)
    launch = Launch(settings, folder, options)
    return launch.begin(make_model=needs_model)


def resume(options: Namespace) -> int:
    """Go on with a run from its newest whole checkpoint; a run that is finished stays as it is."""
    from rllib_ext.llm.model_folder import require_pinned
    from rllib_ext.runtime.history import scan

    folder = find_run(options.run)
    config = read_json(folder / "config.json")
    if (kind := kind_of(config)) in RUNS:
        return importlib.import_module(RUNS[kind]).resume(folder, config, options)
    settings = read_settings(folder, config)
    saved = scan(folder / "checkpoints")
    steps = [item.manifest.step for item in saved if item.manifest is not None]
    launch = Launch(settings, folder, options)
    if steps and steps[0] >= settings.values["total_updates"]:
        return launch.already_done(steps[0])
    require_pinned(settings.values["model"], settings.values["revision"])
    return launch.go_on(from_checkpoint=bool(saved))


def settings_of(options: Namespace) -> tuple[RunSettings, bool]:
    """The settings that a ``train`` command line means, and whether a model has to be made for them."""
    env = options.env or (smoke.ENVIRONMENT if options.smoke else None)
    if env is None:
        raise BadConfig(f"no environment: add --env NAME, one of {', '.join(sorted(ENVIRONMENTS))}")
    chosen = parsed(options.algorithm, assignments(options.set, "--set"))
    flags = {"seed": options.seed, "checkpoint_every": options.checkpoint_every}
    for name, value in flags.items():
        if value is not None and name in chosen:
            raise BadConfig(f"{name} is given twice, as --{name.replace('_', '-')} and in --set; leave one")
    chosen |= {name: value for name, value in flags.items() if value is not None}
    if options.smoke:
        chosen = {**smoke.smoke_settings(), **chosen}
    settings = resolve(options.algorithm, env, json_values(assignments(options.env_set, "--env-set")), chosen)
    needs_model = not settings.values["model"]
    if needs_model and not options.smoke:
        raise BadConfig("no model: add --set model=<hub name or folder of a causal LM>, or try --smoke")
    return _with_evaluations(settings, options, "evaluation_interval" in chosen), needs_model


def _with_evaluations(settings: RunSettings, options: Namespace, chosen: bool) -> RunSettings:
    every = options.evaluate_every
    if every is not None and every < 0:
        raise BadConfig(f"--evaluate-every is {every}; it must be 0 (never) or a number of updates")
    if every == 0:
        return settings.having(evaluation_interval=None)
    if every is None and chosen:
        return settings
    every = every or settings.values["total_updates"] / 10
    return settings.having(evaluation_interval=rounds_between(every, settings))


def _plan(config: Any, settings: RunSettings, folder: Path) -> dict[str, Any]:
    """What the run would take, beside its settings."""
    value = settings.values
    rounds = -(-value["total_updates"] // settings.updates_per_round)
    prompts = rounds * config.prompts_per_round
    learners = max(1, value["num_learners"])
    return {
        "folder": str(folder),
        "rounds": rounds,
        "prompts": prompts,
        "completions": prompts * value["samples_per_prompt"],
        "staleness_bound": config.staleness_bound,
        "context_length": config.context_length,
        "cpus": value["num_env_runners"] * value["num_cpus_per_env_runner"] + learners,
        "gpus": value["num_env_runners"] * value["num_gpus_per_env_runner"]
        + learners * value["num_gpus_per_learner"],
    }


def _pinned(settings: RunSettings) -> RunSettings:
    """The model judged, and named so that a resume finds the very same one: an absolute folder, or a commit."""
    from rllib_ext.llm.model_folder import COMMIT, check_model_folder

    model, revision = settings.values["model"], settings.values["revision"]
    folder = check_model_folder(model, revision)
    if Path(model).expanduser().is_dir():
        return settings.having(model=str(folder.absolute()))
    if not COMMIT.fullmatch(folder.name):
        return settings
    if folder.name != revision:
        print(f"rllib-ext: {model} is pinned to its commit {folder.name}", file=sys.stderr)
    return settings.having(revision=folder.name)
