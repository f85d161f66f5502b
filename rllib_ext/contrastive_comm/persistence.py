"""What a checkpoint of ContrastiveComm holds beside weights and optimizer (`rllib_ext.runtime.rllib_state`): the number
of gradient steps, and the random state that mini-batches are drawn with.
"""

from __future__ import annotations

from typing import Any

from rllib_ext.runtime.rllib_state import Own, State, Tensors


def _read(learner: Any) -> tuple[Tensors, State]:
    return {}, {
        "comm": {"gradient_steps": learner.gradient_steps, "shuffle": learner._shuffle.bit_generator.state}
    }


def _write(learner: Any, tensors: Tensors, state: State) -> None:
    learner.gradient_steps = state["comm"]["gradient_steps"]
    learner._shuffle.bit_generator.state = state["comm"]["shuffle"]


OWN = Own(_read, _write)
