"""An RLlib algorithm in the package's own checkpoints, which are read without opening a pickle.

Kept of every algorithm: the weights of all modules, optimizers, iteration, environment steps, the last return. What a
method's learner has beside them (averages, counters, weights of penalties) is its `Own`. Not kept, unless an `Own`
collects them: environments and their random states (nor does RLlib), so a run that is gone on with begins new episodes;
and states of connectors, of which the default pipelines have none.

An algorithm that is kept has ``on_learners(function, **arguments)``, ``push_weights()`` and ``_last_return``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime import checkpoint
from rllib_ext.runtime.optimizer_state import flatten_optimizer, restore_optimizer

STEPS = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
Tensors = dict[str, dict[str, torch.Tensor]]
State = dict[str, Any]


@dataclass(frozen=True)
class Own:
    """What a method's learner has beside modules and optimizers. Both run where the learner is.

    read: learner -> (tensors by group, JSON by name). write: the inverse, (learner, all tensors, all JSON); modules and
    optimizers are restored before it. collect, give_back: the same of the algorithm, for what no learner holds: a replay.
    """

    read: Callable[[Any], tuple[Tensors, State]]
    write: Callable[[Any, Tensors, State], None]
    collect: Callable[[Any], tuple[Tensors, State]] | None = None
    give_back: Callable[[Any, Tensors, State], None] | None = None


def save(algorithm: Any, folder: Path, own: Own) -> Path:
    """Write a complete checkpoint of this iteration below ``folder``; its path."""
    tensors, state = algorithm.on_learners(learner_state, own=_of_learner(own))[0]
    if own.collect is not None:
        more, collected = own.collect(algorithm)
        tensors, state = tensors | more, state | collected
    state["algorithm"] = {
        "name": type(algorithm).__name__,
        "iteration": algorithm.iteration,
        "env_steps": int(algorithm.metrics.peek(STEPS, default=0)),
        "last_return": algorithm._last_return,
    }
    return checkpoint.save(folder, step=algorithm.iteration, tensors=tensors, state=state)


def restore(algorithm: Any, folder: Path, own: Own) -> None:
    """Load the newest whole checkpoint below ``folder`` into a freshly built algorithm, and send its weights."""
    path = checkpoint.latest(folder)
    if path is None:
        raise CheckpointCorrupt(f"{folder} holds no complete checkpoint; begin the run again")
    loaded = checkpoint.load(path)
    saved = loaded.state["algorithm"]
    if saved["name"] != type(algorithm).__name__:
        raise CheckpointCorrupt(f"{path} was written by {saved['name']}, this is {type(algorithm).__name__}")
    algorithm.on_learners(restore_learner, tensors=loaded.tensors, state=loaded.state, own=_of_learner(own))
    algorithm.push_weights()
    if own.give_back is not None:
        own.give_back(algorithm, loaded.tensors, loaded.state)
    algorithm._iteration = saved["iteration"]
    algorithm._last_return = saved["last_return"]
    # RLlib adds up what workers have counted; it takes no count from elsewhere.
    counted = MetricsLogger(root=False)
    counted.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, saved["env_steps"], reduce="lifetime_sum")
    algorithm.metrics.aggregate([counted.reduce(compile=False)], key=ENV_RUNNER_RESULTS)
    make_callback(
        "on_checkpoint_loaded",
        callbacks_objects=algorithm.callbacks,
        callbacks_functions=algorithm.config.callbacks_on_checkpoint_loaded,
        kwargs={"algorithm": algorithm},
    )


def _of_learner(own: Own) -> Own:
    """The part that goes to the learner's process."""
    return Own(own.read, own.write)


def learner_state(learner: Any, own: Own, **_: Any) -> tuple[Tensors, State]:
    """What a learner owns, as named tensors and JSON; every learner of a group owns the same."""
    tensors: Tensors = {}
    optimizers = {}
    for module_id in learner.module.keys():  # noqa: SIM118  (it does not iterate over them by itself)
        tensors[group("module", module_id)] = copied(learner.module[module_id].unwrapped().state_dict())
    for name, optimizer in learner._named_optimizers.items():
        found, optimizers[name] = flatten_optimizer(optimizer.state_dict())
        if found:
            tensors[group("optimizer", name)] = copied(found)
    more, state = own.read(learner)
    return tensors | more, {"optimizers": optimizers, **state}


def restore_learner(learner: Any, tensors: Tensors, state: State, own: Own, **_: Any) -> None:
    """The inverse."""
    for module_id in learner.module.keys():  # noqa: SIM118
        weights = tensors.get(group("module", module_id))
        if weights is None:
            raise CheckpointCorrupt(f"the checkpoint has no weights of the module {module_id!r}")
        learner.module[module_id].unwrapped().load_state_dict(weights, strict=True)
    for name, tree in state["optimizers"].items():
        found = restore_optimizer(tensors.get(group("optimizer", name), {}), tree)
        learner._named_optimizers[name].load_state_dict(found)
    own.write(learner, tensors, state)
    learner._weights_seq_no += 1  # or the workers would take these weights for known


def group(what: str, of: str) -> str:
    """The name of a group of tensors."""
    return f"{what}.{of}"


def copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same on the CPU, which no later update changes."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
