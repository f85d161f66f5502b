"""Tune sweeps that cannot be lost: one call that begins a sweep, and goes on with it after whatever ended it.

What Tune does by default costs work. Its snapshot of a sweep is written every ten seconds at the earliest, so a driver
that is killed loses up to that much of every trial, and one that is killed in its first seconds loses the trials
themselves though their checkpoints are on disk. Here a snapshot is written at every result, trials keep two
checkpoints and are tried again, and the same command begins or continues. A sweep that is continued with another space
is refused: Tune would silently keep the old one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune import CheckpointConfig, FailureConfig, RunConfig, SyncConfig, TuneConfig, Tuner

from rllib_ext.errors import BadConfig, Untrusted
from rllib_ext.runtime.containment import plain_name
from rllib_ext.runtime.sweep_snapshot import Snapshots, recover

DEFINITION = "sweep.json"
# Progress that no fault can fake. An iteration that sampled nothing still counts as an iteration.
STOP_KEYS = (
    "num_env_steps_sampled_lifetime",
    "num_env_steps_trained_lifetime",
    "num_tokens_lifetime",
    "num_updates_lifetime",
    "time_total_s",
)
_SNAPSHOT_PERIOD = "TUNE_GLOBAL_CHECKPOINT_S"


@dataclass(frozen=True)
class Sweep:
    """A sweep's definition.

    trainable: a registered name or class. space: what Tune takes as ``param_space``. tune: scheduler, searcher,
    metric, number of samples. stop: result key -> bound, of `STOP_KEYS`; empty where the trainable ends by itself.
    storage: a folder, or a URI of object storage that every node reaches. checkpoint_frequency: in results; 1 loses
    nothing, 0 is for trials that are cheaper to repeat than to save. checkpoints_kept: of each trial; more than 2 where
    trials go on from one another's (population-based training). max_failures: attempts beyond the first; -1 for machines
    that may go at any time.
    """

    name: str
    trainable: Any
    space: Mapping[str, Any]
    storage: str = "runs"
    tune: TuneConfig = field(default_factory=TuneConfig)
    stop: Mapping[str, float] = field(default_factory=dict)
    checkpoint_frequency: int = 1
    checkpoints_kept: int = 2
    max_failures: int = 3
    callbacks: tuple[Any, ...] = ()
    verbose: int = 1

    def __post_init__(self) -> None:
        if wrong := [key for key in self.stop if key not in STOP_KEYS]:
            raise BadConfig(
                f"stop={wrong[0]!r} of the sweep {self.name!r} does not measure progress (an iteration that sampled "
                f"nothing counts as one); use one of {', '.join(STOP_KEYS)}"
            )
        try:
            plain_name(self.name, "name of a sweep")
        except Untrusted as error:
            raise BadConfig(f"name={self.name!r} of a sweep must be a plain folder name: {error}") from error

    @property
    def path(self) -> str:
        """Where Tune keeps it: storage/name."""
        return f"{self._storage.rstrip('/')}/{self.name}"

    @property
    def _storage(self) -> str:
        return self.storage if "://" in self.storage else str(Path(self.storage).expanduser().absolute())

    def tuner(self, *, must_exist: bool = False) -> Tuner:
        """The Tuner: a new sweep, or what is left of the one that lies there.

        must_exist: refuse to begin a new one. Raises BadConfig where the folder holds a sweep of another definition.
        """
        os.environ.setdefault(_SNAPSHOT_PERIOD, "0")  # read by Tune in this process at every result
        if Tuner.can_restore(self.path) and self._has_begun():
            self._compare()
            return Tuner.restore(
                self.path, trainable=self.trainable, param_space=dict(self.space), resume_errored=True
            )
        if must_exist:
            raise BadConfig(
                f"there is no sweep to resume at {self.path}; without --resume one is begun there"
            )
        self._define()
        return Tuner(
            self.trainable, param_space=dict(self.space), tune_config=self.tune, run_config=self._run_config()
        )

    def _run_config(self) -> RunConfig:
        return RunConfig(
            name=self.name,
            storage_path=self._storage,
            stop=dict(self.stop) or None,
            failure_config=FailureConfig(max_failures=self.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=self.checkpoints_kept,
                checkpoint_frequency=self.checkpoint_frequency,
                checkpoint_at_end=True,
            ),
            # A folder is written into directly (trial_folder.py).
            sync_config=SyncConfig(sync_artifacts="://" in self.storage),
            callbacks=[*self.callbacks, *([] if "://" in self.storage else [Snapshots(self.path)])] or None,
            verbose=self.verbose,
        )

    @property
    def fingerprint(self) -> str:
        """Of the space: equal for equal definitions in any process."""
        return hashlib.blake2b(
            json.dumps(_plain(self.space), sort_keys=True).encode(), digest_size=16
        ).hexdigest()

    def _has_begun(self) -> bool:
        """Whether a state was written. Before that nothing was reported, and Tune has nothing to restore."""
        return "://" in self.storage or recover(Path(self.path))

    def _define(self) -> None:
        if "://" in self.storage:
            return
        folder = Path(self.path)
        folder.mkdir(parents=True, exist_ok=True)
        trainable = self.trainable if isinstance(self.trainable, str) else self.trainable.__name__
        content = {
            "name": self.name,
            "trainable": trainable,
            "space": _plain(self.space),
            "fingerprint": self.fingerprint,
        }
        draft = folder / f".{DEFINITION}.{os.getpid()}"
        draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
        draft.replace(folder / DEFINITION)

    def _compare(self) -> None:
        file = Path(self.path) / DEFINITION
        if "://" in self.storage or not file.is_file():
            return
        before = json.loads(file.read_text(encoding="utf-8"))
        if before["fingerprint"] == self.fingerprint:
            return
        now, then = _plain(self.space), before["space"]
        names = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        raise BadConfig(
            f"the sweep at {self.path} was begun with other settings ({', '.join(names)}), and a sweep goes on with the "
            "settings it was begun with; give the same ones, or another --name"
        )


def _plain(value: Any) -> Any:
    """A space as JSON that does not depend on the process: domains by what they say of themselves, functions by name."""
    if isinstance(value, Mapping):
        return {
            str(name): _plain(item) for name, item in sorted(value.items(), key=lambda pair: str(pair[0]))
        }
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value):
        return (
            f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
        )
    inner = {name: _plain(item) for name, item in vars(value).items()} if hasattr(value, "__dict__") else {}
    return {"": type(value).__qualname__, **inner}
