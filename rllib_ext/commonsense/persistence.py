"""What a checkpoint of CommonsenseKBC holds beside weights and optimizer: how many updates there were, which is the place
in the data too, and the best weights so far with their figures. With them a run that is gone on with makes the updates
that it would have made, to the bit.
"""

from __future__ import annotations

from typing import Any

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.rllib_state import Own, State, Tensors

BEST, STATE = "best", "commonsense"


def _read(learner: Any) -> tuple[Tensors, State]:
    kept, plain = learner.selection.state()
    state = {"gradient_steps": learner.gradient_steps, "selection": plain}
    return ({BEST: kept} if kept else {}), {STATE: state}


def _write(learner: Any, tensors: Tensors, state: State) -> None:
    if STATE not in state:
        raise CheckpointCorrupt("the checkpoint is not one of CommonsenseKBC: it has no count of its updates")
    learner.gradient_steps = state[STATE]["gradient_steps"]
    learner.selection.restore(tensors.get(BEST, {}), state[STATE]["selection"])


OWN = Own(_read, _write)
