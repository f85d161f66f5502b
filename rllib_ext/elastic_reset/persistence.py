"""A run of ElasticResetPPO in the package's own checkpoints, which are read without opening a pickle.

Kept: weights, optimizers, average and initial weights, counters, weights of both KL penalties, iteration and environment
steps. Not kept: environments and their random states (nor does RLlib), so a run that is gone on with begins new episodes;
and states of connectors, of which the default pipelines have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime import checkpoint
from rllib_ext.runtime.optimizer_state import flatten_optimizer, restore_optimizer

STORES = ("ema", "init", "critic_init")
STEPS = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
Tensors = dict[str, dict[str, torch.Tensor]]


def save(algorithm: Any, folder: Path) -> Path:
    """Write a complete checkpoint of this iteration below ``folder``; its path."""
    tensors, state = algorithm.on_learners(learner_state)[0]
    state["algorithm"] = {
        "name": type(algorithm).__name__,
        "iteration": algorithm.iteration,
        "env_steps": int(algorithm.metrics.peek(STEPS, default=0)),
        "last_return": algorithm._last_return,
    }
    return checkpoint.save(folder, step=algorithm.iteration, tensors=tensors, state=state)


def restore(algorithm: Any, folder: Path) -> None:
    """Load the newest whole checkpoint below ``folder`` into a freshly built algorithm, and send its weights."""
    path = checkpoint.latest(folder)
    if path is None:
        raise CheckpointCorrupt(f"{folder} holds no complete checkpoint; begin the run again")
    loaded = checkpoint.load(path)
    saved = loaded.state["algorithm"]
    if saved["name"] != type(algorithm).__name__:
        raise CheckpointCorrupt(f"{path} was written by {saved['name']}, this is {type(algorithm).__name__}")
    algorithm.on_learners(restore_learner, tensors=loaded.tensors, state=loaded.state)
    algorithm.push_weights()
    algorithm._iteration = saved["iteration"]
    algorithm._last_return = saved["last_return"]
    counted = MetricsLogger(
        root=False
    )  # RLlib adds up what workers have counted; it takes no count from elsewhere
    counted.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, saved["env_steps"], reduce="lifetime_sum")
    algorithm.metrics.aggregate([counted.reduce(compile=False)], key=ENV_RUNNER_RESULTS)


def learner_state(learner: Any, **_: Any) -> tuple[Tensors, dict[str, Any]]:
    """What a learner owns, as named tensors and JSON; every learner of a group owns the same."""
    tensors: Tensors = {}
    optimizers, modules = {}, {}
    for module_id, elastic in learner.elastic_state().items():
        weights = learner.module[module_id].unwrapped().state_dict()
        score, best = elastic["best"] or (None, {})
        groups = {"module": weights, **{store: elastic[store] for store in STORES}, "best": best}
        tensors |= {_group(name, module_id): _copied(group) for name, group in groups.items() if group}
        numbers = {name: elastic[name] for name in ("counts", "beta", "beta_begins")}
        modules[module_id] = {**numbers, "best_score": score}
    for name, optimizer in learner._named_optimizers.items():
        found, optimizers[name] = flatten_optimizer(optimizer.state_dict())
        if found:
            tensors[_group("optimizer", name)] = _copied(found)
    kl = {name: float(value) for name, value in learner.curr_kl_coeffs_per_module.items()}
    return tensors, {"elastic": modules, "optimizers": optimizers, "ppo": {"kl_coeffs": kl}}


def restore_learner(learner: Any, tensors: Tensors, state: dict[str, Any], **_: Any) -> None:
    """The inverse."""
    elastic = {}
    for module_id, numbers in state["elastic"].items():
        learner.module[module_id].unwrapped().load_state_dict(
            tensors[_group("module", module_id)], strict=True
        )
        stores = {store: tensors.get(_group(store, module_id), {}) for store in STORES}
        best = tensors.get(_group("best", module_id))
        elastic[module_id] = {
            **numbers, **stores, "best": None if best is None else (numbers["best_score"], best)
        }  # fmt: skip
    for name, tree in state["optimizers"].items():
        found = restore_optimizer(tensors.get(_group("optimizer", name), {}), tree)
        learner._named_optimizers[name].load_state_dict(found)
    learner.set_elastic_state(elastic)
    for name, value in state["ppo"]["kl_coeffs"].items():
        learner.curr_kl_coeffs_per_module[name] = learner._get_tensor_variable(value)
    learner._weights_seq_no += 1  # or the workers would take these weights for known


def _group(what: str, of: str) -> str:
    return f"{what}.{of}"


def _copied(group: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in group.items()}
