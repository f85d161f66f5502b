"""Functions that run on a learner: publish weights, compare log-probabilities, score held-out completions."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray
import torch

from rllib_ext.functional.importance import logp_difference
from rllib_ext.functional.masking import sequence_logps
from rllib_ext.functional.perplexity import ppl_completion, ppl_diluted
from rllib_ext.llm.forward import completion_logps
from rllib_ext.llm.weights import PublishedWeights, pack, unpack


def publish(learner: Any, keep: int, **_: Any) -> PublishedWeights:
    """Snapshot the policy into the object store. The newest ``keep`` snapshots stay readable by
    ``probe_logps``.
    """
    snapshot = pack(learner.updates, learner.language_module.plain_weights())
    published = PublishedWeights(snapshot.version, snapshot.digest, [ray.put(snapshot)])
    if keep:
        learner.published[snapshot.version] = snapshot
        for version in sorted(learner.published)[:-keep]:
            del learner.published[version]
    return published


def to_tensors(columns: dict[str, np.ndarray], device: torch.device | str) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)).to(device) for name, value in columns.items()}


@torch.no_grad()
def probe_logps(learner: Any, columns: dict[str, np.ndarray], version: int) -> tuple[float, float] | None:
    """(mean, max) |engine - learner| log-probability, nats a token, under the very weights that sampled.

    None where that version is no longer at hand.
    """
    snapshot = learner.published.get(version)
    if snapshot is None:
        return None
    module = learner.language_module
    batch = to_tensors(columns, learner.device)
    tensors = {name: tensor.to(learner.device) for name, tensor in unpack(snapshot).items()}
    base = module.model.get_base_model() if module.has_adapters else module.model
    names = [name for name in base.state_dict() if "lora_" not in name]
    weights = {name: tensors[name.replace(".base_layer.", ".")] for name in names}

    def forward(**inputs: Any) -> Any:
        return torch.func.functional_call(base, weights, (), inputs, tie_weights=True)

    with module.without_adapters():
        logps = completion_logps(forward, batch, module.temperature)
    width = logps.shape[-1]
    difference = logp_difference(
        logps.reshape(-1, width),
        batch["behaviour_logps"].reshape(-1, width),
        batch["action_mask"].reshape(-1, width),
    )
    return float(difference.mean), float(difference.maximum)


@torch.no_grad()
def evaluate_completions(
    learner: Any, columns: dict[str, np.ndarray], rows: int = 32
) -> dict[str, np.ndarray]:
    """Per held-out completion: kl (sampled, nats a sequence), ppl_completion and ppl_diluted under the
    reference.

    KL is the k1 estimate log pi - log pi_ref summed over the completion, both at the training temperature.
    Perplexities are at temperature 1 under the reference policy (spec A.7). Arrays of shape (R,), one sample
    a row.
    """
    module = learner.language_module
    parts: dict[str, list[torch.Tensor]] = {"kl": [], "ppl_completion": [], "ppl_diluted": []}
    total = len(columns["token_ids"])
    for start in range(0, total, rows):
        batch = to_tensors({n: v[start : start + rows] for n, v in columns.items()}, learner.device)
        mask = batch["action_mask"][:, 0]
        lengths = batch["prompt_mask"].sum(1)
        policy = completion_logps(module.model, batch, module.temperature)[:, 0]
        tempered, plain = (learner.reference_logps_at(batch, t)[:, 0] for t in (module.temperature, 1.0))
        parts["kl"].append(sequence_logps(policy, mask) - sequence_logps(tempered, mask))
        parts["ppl_completion"].append(ppl_completion(plain, mask))
        parts["ppl_diluted"].append(ppl_diluted(plain, mask, lengths))
    return {name: torch.cat(values).cpu().numpy() for name, values in parts.items()}
