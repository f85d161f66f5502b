"""Drift measured on human text: the perplexity of held-out prompts with their reference completions, under the policy.

The measure of Elastic Reset's IMDB study (arXiv 2312.07551): all texts joined by a blank line, windows of 1,024 tokens
with a stride of 512, every token scored once, temperature 1. Nothing is sampled, so it has no noise from seeds. A worker
knows the texts, a learner the policy; the driver carries the text from one to the other once.
"""

from __future__ import annotations

from typing import Any

import torch

from envs.text import TextEnv
from rllib_ext.functional.text_windows import next_token_logps, text_perplexity
from rllib_ext.llm.safety import encode_plain, open_tokenizer

WINDOW = 1024


def joined_references(env: Any, tokens: int) -> str:
    """Texts of the environment's tasks, in order, until they have 16 characters a token; "" where it has none.

    That is more text than ``tokens`` tokens take; the learner, who has the tokenizer, cuts it.
    """
    unwrapped = env.unwrapped
    if not isinstance(unwrapped, TextEnv):
        return ""
    parts, length = [], 0
    for index in range(unwrapped.num_tasks):
        task = unwrapped.task(index)
        if not task.reference:
            continue
        prompt = task.prompt if isinstance(task.prompt, str) else ""
        apart = prompt and not prompt[-1].isspace() and not task.reference[0].isspace()
        parts.append(prompt + (" " if apart else "") + task.reference)
        length += len(parts[-1])
        if length >= 16 * tokens:
            break
    return "\n\n".join(parts)


@torch.no_grad()
def policy_perplexity(learner: Any, text: str, tokens: int, **_: Any) -> float:
    """Perplexity of the first ``tokens`` tokens of ``text`` under the learner's current policy, temperature 1."""
    config, model = learner.config, learner.language_module.model
    tokenizer = open_tokenizer(config.language_model, config.revision)
    ids = torch.tensor(encode_plain(tokenizer, [text])[0][:tokens], device=learner.device)
    window = min(WINDOW, getattr(model.config, "max_position_embeddings", None) or WINDOW)
    training = model.training
    model.eval()
    try:
        return text_perplexity(
            ids, lambda piece: next_token_logps(model(input_ids=piece).logits[0], piece), window, window // 2
        )
    finally:
        model.train(training)
