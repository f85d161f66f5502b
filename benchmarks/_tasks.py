"""The two tasks of the benchmarks, and policies for them.

"BenchWords": prompts of exactly so many tokens over a vocabulary of exactly so many, and a reward that costs nothing.
It decides what generation and learning cost and nothing else; completions are as long as allowed, because a policy with
random weights hardly ever ends one. The controlled TL;DR (``envs.text.ControlledTLDR``) is there where rewards matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._session import scratch
from envs.text import CallableReward, ControlledTLDR, Task, TextEnv
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer

WORDS = "BenchWords"
SPECIAL_TOKENS = 2  # PAD and EOS, which the word tokenizer adds


def worth(prompt: str, completion: str, reference: str | None) -> float:
    """A number for a text, spread so widely that two completions hardly ever tie."""
    return float(sum(int(word[1:]) for word in completion.split()))


def word_prompts(count: int, *, tokens: int, vocabulary: int, seed: int = 0) -> list[str]:
    drawn = np.random.default_rng(seed).integers(vocabulary - SPECIAL_TOKENS, size=(count, tokens))
    return [" ".join(f"w{number}" for number in row) for row in drawn.tolist()]


def make_words(config: Mapping[str, Any]) -> TextEnv:
    """The environment's creator. config: prompt_tokens, vocabulary, count, split."""
    seed = 0 if config.get("split", "train") == "train" else 1
    prompts = word_prompts(
        config["count"], tokens=config["prompt_tokens"], vocabulary=config["vocabulary"], seed=seed
    )
    tasks = [Task(id=f"words-{seed}-{index}", prompt=prompt) for index, prompt in enumerate(prompts)]
    return TextEnv(tasks, CallableReward(worth, isolate=False))


def register_words() -> None:
    from ray import tune

    tune.register_env(WORDS, make_words)


def words_model(*, vocabulary: int, hidden: int, layers: int, heads: int, max_length: int) -> str:
    """A folder with a randomly initialised Llama over the words."""
    folder = scratch(f"words-{vocabulary}-{layers}x{hidden}-{heads}-{max_length}")
    tokenizer = word_tokenizer([f"w{number}" for number in range(vocabulary - SPECIAL_TOKENS)])
    config = causal_lm_config(tokenizer, hidden=hidden, layers=layers, heads=heads, max_length=max_length)
    return str(save_model(build_causal_lm(config, 0), tokenizer, folder))


def controlled_policy(
    hidden: int, layers: int, heads: int, steps: int, *, clean: int = 0, lr: float = 3e-3
) -> str:
    """The folder of a small Llama finetuned on noisy demonstrations; trained once, then found again.

    clean: updates on clean summaries of other prompts before that, 16 a batch. They stand in for pretraining: without
    them the noise of the demonstrations hides the task from so small a model. lr: of the noisy updates, 64 a batch.
    """
    from rllib_ext.llm.supervised import run_sft

    name = f"controlled-{layers}x{hidden}-{heads}-{steps}" + (f"-{clean}-{lr:g}" if clean else "")
    folder = scratch(name)
    tuned: Path = folder / "sft"
    if (tuned / "config.json").is_file():
        return str(tuned)
    tokenizer = word_tokenizer(ControlledTLDR.vocabulary())
    config = causal_lm_config(tokenizer, hidden=hidden, layers=layers, heads=heads, max_length=64)
    start = save_model(build_causal_lm(config, 0), tokenizer, folder / "start")
    if clean:
        run_sft(
            model_folder=str(start), pairs=ControlledTLDR.demonstrations(16 * clean, 1, noise=(0.0, 0.0)),
            output_folder=str(folder / "base"), batch_size=16, lr=3e-3, max_steps=clean, loss_on="completion",
        )  # fmt: skip
        start = folder / "base"
    run_sft(
        model_folder=str(start), pairs=ControlledTLDR.demonstrations(64 * steps), output_folder=str(tuned),
        batch_size=64, lr=lr, max_steps=steps, loss_on="completion",
    )  # fmt: skip
    return str(tuned)
