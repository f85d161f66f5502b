"""LoRA adapters by peft: on every linear layer but the output layer, merged into plain weights for the engine.

The reference policy is the same model with its adapters switched off, so no second copy is kept.
"""

from __future__ import annotations

from typing import Any

import torch

from rllib_ext.errors import BadConfig


def add_adapters(model: torch.nn.Module, *, rank: int, alpha: float, seed: int) -> Any:
    """``model`` with trainable adapters and frozen base weights. ``seed`` fixes the adapters' random half."""
    try:
        import peft
    except ImportError as error:
        raise BadConfig(f"lora_rank={rank} needs peft: pip install 'rllib-ext[llm]'") from error
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return peft.get_peft_model(model, config)


@torch.no_grad()
def merged_state_dict(model: Any) -> dict[str, torch.Tensor]:
    """State dict under the base model's own names with W + (alpha / r) B A in place of each adapted W."""
    prefix = "base_model.model."
    state: dict[str, torch.Tensor] = {}
    deltas: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight"):
            adapter = module.active_adapters[0]
            deltas[name.removeprefix(prefix) + ".weight"] = module.get_delta_weight(adapter)
    for name, tensor in model.state_dict().items():
        if "lora_" in name:
            continue
        plain = name.removeprefix(prefix).replace(".base_layer.", ".")
        state[plain] = tensor + deltas[plain].to(tensor.dtype) if plain in deltas else tensor
    return state
