"""What a checkpoint of SQOOP holds beside weights and optimizers: the place among the scenes, the progress, the best
weights.

With them a run that is gone on with makes the updates that it would have made, to the bit.
"""

from __future__ import annotations

from typing import Any

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.rllib_state import Own, State, Tensors

BEST = "best"


def _read(learner: Any) -> tuple[Tensors, State]:
    state = {
        "gradient_steps": learner.gradient_steps,
        "stream": learner.stream.state_dict(),
        "progress": learner.progress.state_dict(),
    }
    return {BEST: dict(learner.best_weights)} if learner.best_weights else {}, {"sqoop": state}


def _write(learner: Any, tensors: Tensors, state: State) -> None:
    if "sqoop" not in state:
        raise CheckpointCorrupt("the checkpoint is not one of SQOOP: it has no place among its scenes")
    kept = state["sqoop"]
    learner.gradient_steps = kept["gradient_steps"]
    learner.stream.load_state_dict(kept["stream"])
    learner.progress.load_state_dict(kept["progress"])
    learner.best_weights = dict(tensors.get(BEST, {}))


OWN = Own(_read, _write)
