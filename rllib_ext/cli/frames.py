"""``frames``: collect, import and check folders of frames; the last line is one JSON object."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rllib_ext.errors import BadConfig

INTERRUPTED = 5


def frames(options: Namespace) -> int:
    """Do the task that the command line names."""
    tasks = {"collect": _collect, "import": _import, "check": _check}
    return tasks[options.task](options)


def _collect(options: Namespace) -> int:
    from rllib_ext.frames.collect import collect

    try:
        told = collect(
            options.to,
            options.game,
            options.steps,
            num_envs=options.num_envs,
            repeat=options.repeat,
            seed=options.seed,
            protocol=options.protocol,
            ram=options.ram,
            resume=options.resume,
            progress=None if options.quiet else _progress,
        )
    except KeyboardInterrupt:
        words = [word for word in options.words if word != "--resume"]
        print(f"rllib-ext: interrupted; go on with: rllib-ext {' '.join(words)} --resume", file=sys.stderr)
        return INTERRUPTED
    mean = None if math.isnan(told.mean_return) else told.mean_return
    print(json.dumps({**asdict(told), "mean_return": mean, "folder": options.to}))
    return 0


def _import(options: Namespace) -> int:
    from rllib_ext.frames.dqn_replay import import_dqn_replay

    told = import_dqn_replay(
        options.source,
        options.to,
        options.game,
        checkpoints=_numbers(options.checkpoints),
        run=options.run,
        max_frames=options.max_frames,
        progress=None if options.quiet else _progress,
    )
    print(json.dumps({**asdict(told), "folder": options.to}))
    return 0


def _check(options: Namespace) -> int:
    """Every file's SHA-256, every row's place; the first damage ends it with exit code 3."""
    found = [_described(Path(folder)) for folder in options.folders]
    print(json.dumps(found[0] if len(found) == 1 else found))
    return 0


def _described(folder: Path) -> dict[str, Any]:
    from rllib_ext.frames.store import FrameStore

    store = FrameStore(folder)
    rows, entries = store.rows, store.dataset.files
    games = len(set(rows.episode_id_N.tolist()))
    ended = int(rows.terminated_N.sum() + rows.truncated_N.sum())
    size = sum(entry.bytes for entry in entries)
    return {
        "folder": str(folder),
        "game": store.about.get("game"),
        "behaviour": store.about.get("behaviour"),
        "rows": len(store),
        "games": games,
        "games_ended": ended,
        "mean_return": float(rows.reward_N.sum(dtype=float) / games),
        "files": len(entries),
        "bytes": size,
        "bytes_per_frame": size / len(store),
        "ram": store.dataset.ram,
        "complete": store.dataset.complete,
    }


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise BadConfig(f"--checkpoints {text}: numbers with commas between, for example 1,25,50.") from None


def _progress(done: int, total: int) -> None:
    print(f"rllib-ext: {done:,} of {total:,} rows", file=sys.stderr, flush=True)
