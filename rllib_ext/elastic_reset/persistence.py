"""What a checkpoint of ElasticResetPPO holds beside weights and optimizers (`rllib_ext.runtime.rllib_state`).

The average and initial weights, the best ones, counters, and the weights of both KL penalties.
"""

from __future__ import annotations

from typing import Any

from rllib_ext.runtime.rllib_state import Own, State, Tensors, copied, group

STORES = ("ema", "init", "critic_init")


def _read(learner: Any) -> tuple[Tensors, State]:
    tensors: Tensors = {}
    modules = {}
    for module_id, elastic in learner.elastic_state().items():
        score, best = elastic["best"] or (None, {})
        stores = {**{store: elastic[store] for store in STORES}, "best": best}
        tensors |= {group(name, module_id): copied(store) for name, store in stores.items() if store}
        numbers = {name: elastic[name] for name in ("counts", "beta", "beta_begins")}
        modules[module_id] = {**numbers, "best_score": score}
    kl = {name: float(value) for name, value in learner.curr_kl_coeffs_per_module.items()}
    return tensors, {"elastic": modules, "ppo": {"kl_coeffs": kl}}


def _write(learner: Any, tensors: Tensors, state: State) -> None:
    elastic = {}
    for module_id, numbers in state["elastic"].items():
        stores = {store: tensors.get(group(store, module_id), {}) for store in STORES}
        best = tensors.get(group("best", module_id))
        elastic[module_id] = {
            **numbers, **stores, "best": None if best is None else (numbers["best_score"], best)
        }  # fmt: skip
    learner.set_elastic_state(elastic)
    for name, value in state["ppo"]["kl_coeffs"].items():
        learner.curr_kl_coeffs_per_module[name] = learner._get_tensor_variable(value)


OWN = Own(_read, _write)
