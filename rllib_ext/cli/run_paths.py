"""Which folder is meant by a word on the command line: a run, a checkpoint of one, or where a new run goes."""

from __future__ import annotations

import difflib
from datetime import datetime
from pathlib import Path

from rllib_ext.errors import BadConfig, BadData, Untrusted
from rllib_ext.runtime.containment import plain_name
from rllib_ext.runtime.history import step_in

RUNS = Path("runs")
PICKLED = ("rllib_checkpoint.json", "algorithm_state.pkl", "class_and_ctor_args.pkl", "params.pkl")


def new_run(storage: str, algorithm: str, env: str, name: str | None) -> Path:
    """The folder of a new run, ``<algorithm>-<env>-<name or time>``; it must not exist."""
    last = plain_name(name, "--name") if name else datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = Path(storage).expanduser() / f"{algorithm}-{env}-{last}"
    if folder.exists():
        raise BadConfig(
            f"the run {folder} exists. Go on with it (rllib-ext resume {folder}) or give another --name"
        )
    return folder


def find_run(word: str) -> Path:
    """The run folder that ``word`` names: a path, or a name below ./runs."""
    folder = next((path for path in (Path(word).expanduser(), RUNS / word) if path.is_dir()), None)
    if folder is None:
        names = [path.name for path in RUNS.glob("*") if path.is_dir()]
        near = difflib.get_close_matches(Path(word).name, names, n=1, cutoff=0.4)
        hint = f" Did you mean {RUNS / near[0]}?" if near else " Name the folder that the run printed."
        raise BadData(f"there is no run {word!r}.{hint}")
    if not (folder / "config.json").is_file():
        found = [name for name in PICKLED if (folder / name).exists()]
        if found:
            raise Untrusted(
                f"{folder} holds {found[0]}: a folder of RLlib or Tune, which can only be opened by unpickling, "
                "and a pickle runs whatever code it names. rllib-ext never does that. Where you trust the "
                "folder, open it in Python (Algorithm.from_checkpoint) and save it with "
                "rllib_ext.llm.export.export_algorithm"
            )
        raise BadData(
            f"{folder} is not a run folder: it has no config.json. Name the folder that a run printed"
        )
    return folder


def run_of(word: str) -> Path:
    """The run folder that ``word`` names, directly or by one of its checkpoints."""
    path = Path(word).expanduser()
    if step_in(path.name) is not None and path.is_dir():
        return find_run(str(path.resolve().parent.parent))
    return find_run(word)


def find_checkpoint(word: str) -> tuple[Path, Path]:
    """(run folder, checkpoint) that ``word`` names; of a run its newest checkpoint that verifies."""
    path = Path(word).expanduser()
    run = run_of(word)
    if step_in(path.name) is not None and path.is_dir():
        return run, path
    from rllib_ext.runtime.checkpoint_reader import latest

    newest = latest(run / "checkpoints")
    if newest is None:
        raise BadData(f"the run {run} has no checkpoint yet; go on with it: rllib-ext resume {run}")
    return run, newest
