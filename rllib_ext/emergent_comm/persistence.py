"""What a checkpoint of EmergentComm holds beside weights and optimizers: baselines, counters, and the random state that
games and messages are drawn with, so that a run that is gone on with is the run that never stopped.
"""

from __future__ import annotations

from typing import Any

from rllib_ext.runtime.rllib_state import Own, State, Tensors

GENERATOR, PROTOCOLS = "generator", "protocols"


def _read(learner: Any) -> tuple[Tensors, State]:
    state = {"gradient_steps": learner.gradient_steps}
    if not hasattr(learner, "own_state"):  # PPO's
        return {}, {"emergent_comm": state}
    tensors = {GENERATOR: {"state": learner.generator.get_state()}}
    if own := learner.own_tensors():
        tensors[PROTOCOLS] = own
    return tensors, {"emergent_comm": state | learner.own_state()}


def _write(learner: Any, tensors: Tensors, state: State) -> None:
    own = state["emergent_comm"]
    learner.gradient_steps = own["gradient_steps"]
    if hasattr(learner, "own_state"):
        learner.generator.set_state(tensors[GENERATOR]["state"])
        learner.load_own_state(own)
        learner.load_own_tensors(tensors.get(PROTOCOLS, {}))


OWN = Own(_read, _write)
