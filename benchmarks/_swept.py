"""The trainable of B11: online DPO that notes what its workers serve, fails on purpose where it is told to, and is ranked
by its number, so that it is known beforehand who takes over from whom.

``env_config``: number (which trial of a sweep), fails_at (an update; 0: never). Every trial writes ``served.jsonl`` into
its own folder: a line a round (updates before it; version and digest that the workers echoed with its samples), and one
a restore (whose checkpoint, of which update, with which digest of the weights).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks._meter import MeteredDPO
from rllib_ext.llm.requests import Rollout
from rllib_ext.runtime.trial_folder import trial_folder

SERVED, WHOSE = "served.jsonl", "whose.json"
_TRIAL = re.compile(r"_([0-9a-z]{5}_\d{5})(?:_|$)")


class SweptDPO(MeteredDPO):
    """Its result ``merit`` is the number at the end of its trial's id, which no exploit changes.

    RLlib's algorithms do not hear their trial's id (``trial_id`` is "default" in them); their folder is named after it.
    """

    @property
    def trial(self) -> str:
        """Five characters that the experiment's trials share, and the trial's number."""
        found = _TRIAL.search(trial_folder(self).name)
        if found is None:
            raise RuntimeError(f"the folder {trial_folder(self).name} is not that of a Tune trial")
        return found[1]

    def _write(self, line: dict[str, Any]) -> None:
        with (trial_folder(self) / SERVED).open("a") as stream:
            stream.write(json.dumps(line) + "\n")

    def step(self) -> dict[str, Any]:
        result = super().step()
        fails_at = self.config.env_config.get("fails_at", 0)
        if fails_at and self.counters["updates"] >= fails_at:
            raise RuntimeError("this trial fails on purpose")
        return result | {"merit": float(self.trial.rpartition("_")[2])}

    def admit(self, rollouts: list[Rollout]) -> list[Any]:
        served = sorted({(rollout.version, rollout.digest) for rollout in rollouts})
        self._write(
            {
                "updates": self.counters["updates"],
                "learner": self.on_learner(lambda learner, **_: learner.updates),
                "served": served,
            }
        )
        return super().admit(rollouts)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        super().save_checkpoint(checkpoint_dir)
        weights = self.publish()
        mine = {"trial": self.trial, "version": weights.version, "digest": weights.digest}
        (Path(checkpoint_dir) / WHOSE).write_text(json.dumps(mine))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        self._write({"restored": json.loads((Path(checkpoint_dir) / WHOSE).read_text())})
