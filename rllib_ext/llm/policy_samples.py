"""Completions of a model folder outside of any run, and what they are worth: for pairs, win rates and the KL.

Generation is the Hugging Face engine's (``engine_hf``): nothing is started, and one seed gives one set of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rllib_ext.errors import BadData
from rllib_ext.llm.engine import Refused, Sampling
from rllib_ext.llm.engine_hf import HFEngine
from rllib_ext.llm.safety import encode_plain, open_causal_lm, open_tokenizer
from rllib_ext.llm.sequence_logps import score_sequences


@dataclass(frozen=True)
class PolicySample:
    """One completion: its text without EOS, its tokens with it, and whether it stopped by itself."""

    prompt: str
    text: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    finished: bool


def sample_policy(
    folder: str | Path,
    prompts: Sequence[str],
    *,
    samples: int = 1,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    batch_size: int = 256,
) -> list[list[PolicySample]]:
    """``samples`` completions of every prompt, in order."""
    tokenizer = open_tokenizer(folder)
    rows = encode_plain(tokenizer, list(prompts), add_special_tokens=True)
    engine = HFEngine(str(folder), context_length=max(map(len, rows)) + max_new_tokens, batch_size=batch_size)
    sampling = Sampling(temperature, max_new_tokens, samples, seed, (tokenizer.eos_token_id,))
    try:
        generated = engine.generate(rows, sampling)
    finally:
        engine.close()
    found = []
    for prompt, row, group in zip(prompts, rows, generated, strict=True):
        if isinstance(group, Refused):
            raise BadData(f"no completion of {prompt!r:.80}: {group.reason}; shorten the query")
        found.append(
            [_sample(tokenizer, prompt, row, item.token_ids.tolist(), item.finished) for item in group]
        )
    return found


def _sample(tokenizer, prompt, row, token_ids, finished) -> PolicySample:  # type: ignore[no-untyped-def]
    text = tokenizer.decode(token_ids[:-1] if finished else token_ids, skip_special_tokens=False)
    return PolicySample(prompt, text, tuple(row), tuple(token_ids), finished)


def log_ratios(
    policy: str | Path,
    reference: str | Path,
    samples: Sequence[PolicySample],
    *,
    temperature: float,
    batch_size: int = 64,
) -> list[float]:
    """log pi(y|x) - log pi_ref(y|x) of every sample, nats a completion, both policies tempered.

    Their mean estimates KL(pi || pi_ref) where the samples are the policy's own at this temperature; signed.
    """
    rows = [[*sample.prompt_ids, *sample.token_ids] for sample in samples]
    starts = [len(sample.prompt_ids) for sample in samples]
    sums = [
        score_sequences(open_causal_lm(folder), rows, starts, batch_size, temperature)
        for folder in (policy, reference)
    ]
    return (sums[0] - sums[1]).to(torch.float64).tolist()
