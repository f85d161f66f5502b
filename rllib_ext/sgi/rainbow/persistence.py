"""What a checkpoint of SGIRainbow holds beside weights and optimizers, so that a resumed run goes on as if never stopped.

    of the learner      its counters, and the random state of noise and augmentation
    of the algorithm    the replay with its priorities and random state, counters, and of the worker in this process its
                        random states and the actions that it plays again to stand where it stood

Remote workers keep nothing: they begin new games, and their buffers know that what follows does not go on from before.
Without ``checkpoint_replay`` the replay begins empty, and updates wait until it can be drawn from.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.rllib_state import Own, State, Tensors

OWN_STATE = "sgi_rainbow"
GROUP = "replay"


def _read(learner: Any) -> tuple[Tensors, State]:
    return {}, {"rainbow": learner.own_state()}


def _write(learner: Any, tensors: Tensors, state: State) -> None:
    learner.restore_own_state(state["rainbow"])


def collected(algorithm: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays by name, JSON) of what the algorithm holds."""
    plain: dict[str, Any] = {
        "steps": algorithm.steps, "updates": algorithm.updates, "turn": algorithm._turn, "buffers": [], "play": None,
    }  # fmt: skip
    arrays: dict[str, np.ndarray] = {}
    if algorithm.config.checkpoint_replay:
        for worker, buffer in enumerate(algorithm.buffers):
            found, state = buffer.state()
            arrays |= {f"{worker}.{name}": array for name, array in found.items()}
            plain["buffers"].append(state)
    if algorithm._local is not None:
        play = algorithm._local.play_state()
        history = play["history"]
        plain["play"] = {**play, "history": None if history is None else base64.b85encode(history).decode()}
    return arrays, plain


def give_back(algorithm: Any, arrays: dict[str, np.ndarray], plain: dict[str, Any]) -> None:
    """The inverse."""
    algorithm.steps, algorithm.updates, algorithm._turn = plain["steps"], plain["updates"], plain["turn"]
    algorithm.buffers = algorithm._new_buffers()
    saved = plain["buffers"]
    if saved and len(saved) != len(algorithm.buffers):
        raise CheckpointCorrupt(
            f"the checkpoint has the replay of {len(saved)} workers, this run has {len(algorithm.buffers)}; resume with "
            f"num_env_runners={len(saved)}"
        )
    for worker, (buffer, state) in enumerate(zip(algorithm.buffers, saved, strict=False)):
        prefix = f"{worker}."
        own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        buffer.restore(own, state)
    play = plain["play"]
    if algorithm._local is not None and play is not None:
        history = None if play["history"] is None else base64.b85decode(play["history"])
        algorithm._local.restore_play({**play, "history": history})


def _collect(algorithm: Any) -> tuple[Tensors, State]:
    arrays, plain = collected(algorithm)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return ({GROUP: tensors} if tensors else {}), {OWN_STATE: plain}


def _give_back(algorithm: Any, tensors: Tensors, state: State) -> None:
    arrays = {name: tensor.numpy() for name, tensor in tensors.get(GROUP, {}).items()}
    give_back(algorithm, arrays, state[OWN_STATE])


OWN = Own(_read, _write, collect=_collect, give_back=_give_back)
