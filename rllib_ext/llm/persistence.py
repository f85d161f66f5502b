"""Save and restore a language-model algorithm: weights, reference, optimizer, cursor, versions, random state.

Everything lies in the package's own durable format (``runtime/checkpoint.py``) beside RLlib's folder.
Restoring reads nothing else, so no pickle is opened, and touches live state only after every hash has been
checked. What was being generated when the checkpoint was written is not saved: those prompts are simply asked
again, because the order of prompts is a function of the seed and of the round.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime import checkpoint
from rllib_ext.runtime.learner_calls import call_learners
from rllib_ext.runtime.optimizer_state import flatten_optimizer, restore_optimizer
from rllib_ext.runtime.rng import capture_rng, restore_rng

FOLDER = "rllib_ext"
_RESTORE_TIMEOUT_S = 600.0


def learner_state(learner: Any, **_: Any) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """What a learner owns, as named tensors and JSON. The module's children are a group each: the policy is "model",
    which is all that an export reads, a critic "critic".
    """
    optimizer, tree = flatten_optimizer(learner.optimizer.state_dict())
    rng_tensors, rng = capture_rng()
    tensors = {
        **_by_child(learner.language_module.get_state()),
        "optimizer": {name: tensor.detach().cpu() for name, tensor in optimizer.items()},
        "rng": rng_tensors,
    }
    if learner.reference is not None:
        tensors["reference"] = {n: t.detach().cpu() for n, t in learner.reference.state_dict().items()}
    more_tensors, more = learner.more_state()
    counts = {"updates": learner.updates, "skipped": learner.skipped}
    return {**tensors, **more_tensors}, {"optimizer": tree, "rng": rng, "learner": counts, "method": more}


def _by_child(state: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        groups.setdefault(name.partition(".")[0], {})[name] = tensor
    return groups


def restore_learner(
    learner: Any, tensors: dict[str, dict[str, torch.Tensor]], state: dict[str, Any], **_: Any
) -> None:
    """The inverse of ``learner_state``; every learner of a group gets the same state."""
    children = [name for name, _ in learner.language_module.named_children()]
    learner.language_module.set_state({n: t for child in children for n, t in tensors.get(child, {}).items()})
    if learner.reference is not None:
        learner.reference.load_state_dict(tensors["reference"], strict=True)
    learner.optimizer.load_state_dict(restore_optimizer(tensors["optimizer"], state["optimizer"]))
    restore_rng(tensors["rng"], state["rng"])
    learner.updates, learner.skipped = state["learner"]["updates"], state["learner"]["skipped"]
    learner.forget_caches()
    learner.set_more_state(tensors, state.get("method", {}))
    learner.follow_config()


def save(algorithm: Any, folder: Path) -> Path:
    """Write a complete checkpoint below ``folder`` and return its path."""
    tensors, state = algorithm.on_learner(learner_state)
    state["algorithm"] = {
        "method": type(algorithm).__name__,
        "round": algorithm.round,
        "minibatches": algorithm.minibatches,
        "counters": algorithm.counters,
        "seed": algorithm.config.run_seed,
        "num_prompts": algorithm.ledger.num_prompts,
        "prompts_per_round": algorithm.config.prompts_per_round,
        "tokenizer": algorithm.facts.tokenizer_digest,
        "initial_scores": [[index, score] for index, score in algorithm.evaluator.initial_scores.items()],
    }
    path = checkpoint.save(folder, step=algorithm.counters["updates"], tensors=tensors, state=state)
    algorithm.journal.event("checkpoint_saved", f"update {algorithm.counters['updates']}")
    return path


def restore(algorithm: Any, folder: Path) -> None:
    """Load the newest whole checkpoint below ``folder`` into a freshly built algorithm."""
    path = checkpoint.latest(
        folder, on_skip=lambda bad, why: algorithm.journal.event("checkpoint_skipped", f"{bad}: {why}")
    )
    if path is None:
        raise CheckpointCorrupt(f"{folder} holds no complete checkpoint; resume from an earlier one")
    loaded = checkpoint.load(path)
    saved = loaded.state["algorithm"]
    _refuse_other_run(algorithm, saved, path)
    restore_learners(algorithm, loaded)
    algorithm.round = algorithm.submitted = saved["round"]
    algorithm.minibatches = saved["minibatches"]
    algorithm.counters.update(saved["counters"])
    algorithm.evaluator.initial_scores = {int(index): score for index, score in saved["initial_scores"]}
    algorithm.ledger.resume_at(saved["round"])
    algorithm.pool.forget()
    algorithm.forget_published()
    algorithm.journal.event("checkpoint_restored", f"update {algorithm.counters['updates']}")


def restore_learners(algorithm: Any, loaded: checkpoint.Checkpoint) -> None:
    """The checkpoint's state into every learner; raises where it does not fit one of them."""
    call_learners(
        algorithm.learner_group,
        restore_learner,
        timeout_s=_RESTORE_TIMEOUT_S,
        tensors=loaded.tensors,
        state=loaded.state,
    )


def _refuse_other_run(algorithm: Any, saved: dict[str, Any], path: Path) -> None:
    """A checkpoint continues the run that wrote it: same prompts in the same order, same vocabulary."""
    now = {
        "method": type(algorithm).__name__,
        "seed": algorithm.config.run_seed,
        "num_prompts": algorithm.ledger.num_prompts,
        "prompts_per_round": algorithm.config.prompts_per_round,
        "tokenizer": algorithm.facts.tokenizer_digest,
    }
    for name, value in now.items():
        if saved[name] != value:
            raise CheckpointCorrupt(
                f"{path} was written with {name}={saved[name]!r}, this run has {value!r}; the order of prompts or their "
                "tokens would change. Restore with the settings of the saved run, or start from its exported model"
            )
