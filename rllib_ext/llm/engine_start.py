"""Starting the engine that a config names, in the thread that will use it."""

from __future__ import annotations

from typing import Any

import torch

from rllib_ext.llm.engine import Engine


def start_engine(config: Any) -> Engine:
    """A vLLM or Hugging Face engine for an LLMConfig. Its weights are those of the model folder until the first push."""
    if config.engine_threads:
        torch.set_num_threads(config.engine_threads)
    common = {
        "revision": config.revision,
        "dtype": config.engine_dtype,
        "context_length": config.context_length,
    }
    if config.engine == "hf":
        from rllib_ext.llm.engine_hf import HFEngine

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return HFEngine(config.language_model, batch_size=config.engine_sequences, device=device, **common)
    from rllib_ext.llm.engine_vllm import VLLMEngine

    return VLLMEngine(
        config.language_model,
        max_sequences=config.engine_sequences,
        kv_cache_gib=config.kv_cache_gib,
        gpu_memory_utilization=config.gpu_memory_utilization,
        seed=config.run_seed,
        **common,
    )
