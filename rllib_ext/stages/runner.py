"""One stage from Python: skipped where its folder holds a finished one, resumed where it was interrupted.

Used by scripts that chain stages. The command line has its own loop around the same trainables (signals, live view),
and both leave the same folder: a run begun here can be resumed there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rllib_ext.errors import BadConfig
from rllib_ext.registry import stage
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.stages.settings import checked
from rllib_ext.stages.stage import Stage, completed


def run_stage(
    name: str, settings: Mapping[str, Any], folder: Path | str, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Train the stage ``name`` into ``folder``; what its ``stage.json`` holds, with the model's absolute path."""
    folder = Path(folder).absolute()
    cls = stage(name)
    values = checked(cls.knobs, {**settings, "run_folder": str(folder)})  # type: ignore[attr-defined]
    with RunFolder(folder) as run:
        same_settings(run, {"algorithm": name, **values})
        found = completed(folder)
        if found is None:
            found = _train(cls(config=values), run, say)
        else:
            say(f"{name} is finished in {folder}")
    return {**found, "model": str(folder / found["model"])}


def same_settings(run: RunFolder, config: dict[str, Any]) -> None:
    """Write config.json; refuse to go on with a run that was begun with other settings."""
    if not run.file("config.json").is_file():
        run.write_json("config.json", config)
        return
    before = run.read_json("config.json")
    now = json.loads(json.dumps(config))
    other = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if other:
        raise BadConfig(
            f"{run.path} was begun with other settings ({', '.join(other[:5])}: {before.get(other[0])!r}, now "
            f"{now.get(other[0])!r}); give another folder, or remove that one"
        )


def _train(trainable: Stage, run: RunFolder, say: Callable[[str], None]) -> dict[str, Any]:
    try:
        if any(run.checkpoints.glob("step_*")):
            trainable.read_checkpoint(run.checkpoints)
            trainable.journal.event("run_resumed", f"from update {trainable.loop.updates}")
            say(f"{type(trainable).__name__} goes on from update {trainable.loop.updates}")
        every = trainable.values["checkpoint_every"] or max(1, trainable.total_updates // 10)
        saved = trainable.loop.updates
        done = False
        while not done:
            result = trainable.train()
            done = result["done"]
            run.append_jsonl("result.json", {key: value for key, value in result.items() if key != "config"})
            say(f"{type(trainable).__name__}: update {trainable.loop.updates} of {trainable.total_updates}")
            if not done and trainable.loop.updates - saved >= every:
                trainable.write_checkpoint(run.checkpoints)
                saved = trainable.loop.updates
        return dict(trainable.finished or {})
    finally:
        trainable.stop()
        with contextlib.suppress(OSError):  # Tune's folder of the trial: empty, the stage has its own
            Path(trainable.logdir).rmdir()
