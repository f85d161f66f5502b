"""bfloat16 for the supervised stages: when the machine gains from it, and how to keep the gain on a CPU.

Weights, their gradients and AdamW's state stay float32; matrix products run in bfloat16 (autocast). On a CPU
attention is taken out of that: its bfloat16 backward pass is three times slower than the float32 one, which
would eat a third of the gain (measured with PyTorch 2.13 on AVX512-BF16).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

SDPA_FLOAT32 = "sdpa_float32"


def wants_bfloat16(precision: str, on_cpu: bool) -> bool:
    """What "auto" comes to on this machine; the other two say it themselves."""
    if precision != "auto":
        return precision == "bfloat16"
    if not on_cpu:
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextmanager
def attention_in_float32(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """While this lasts, a model that uses PyTorch's attention computes it in float32 even under autocast."""
    if not wanted or model.config._attn_implementation != "sdpa":
        yield
        return
    model.set_attn_implementation(SDPA_FLOAT32)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def _sdpa_float32(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast(query.device.type, enabled=False):
        return sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **options
        )


AttentionInterface.register(SDPA_FLOAT32, _sdpa_float32)
AttentionMaskInterface.register(SDPA_FLOAT32, sdpa_mask)
