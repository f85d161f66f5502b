"""What a checkpoint of SGIPretrain holds beside weights and optimizer: the place in the data, the state of the draws, the
first spread. With them a run that is gone on with makes the updates that it would have made, to the bit.
"""

from __future__ import annotations

from typing import Any

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.rllib_state import Own, State, Tensors

DRAWS = "draws"


def _read(learner: Any) -> tuple[Tensors, State]:
    state = {
        "gradient_steps": learner.gradient_steps,
        "stream": learner.stream.state_dict(),
        "first_spread": learner.spread.first,
        "collapsed": learner.spread.collapsed,
    }
    return {DRAWS: {"generator": learner.draw.get_state()}}, {"sgi": state}


def _write(learner: Any, tensors: Tensors, state: State) -> None:
    if DRAWS not in tensors or "sgi" not in state:
        raise CheckpointCorrupt("the checkpoint is not one of SGIPretrain: it has no state of its draws")
    kept = state["sgi"]
    learner.stream.load_state_dict(kept["stream"])
    learner.gradient_steps = kept["gradient_steps"]
    learner.spread.first, learner.spread.collapsed = kept["first_spread"], kept["collapsed"]
    learner.draw.set_state(tensors[DRAWS]["generator"])


OWN = Own(_read, _write)
