"""A language small enough to train on in a test: forty words, a two-layer model, an environment that rewards copying."""

from __future__ import annotations

from pathlib import Path

from envs.text import CallableReward, Task, TextEnv
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer

WORDS = [f"w{i}" for i in range(40)]


def save_tiny_model(folder: Path, *, seed: int = 0, architecture: str = "llama") -> str:
    """A random two-layer model of 64 dimensions (32 a head: the least vLLM takes on a CPU) and its tokenizer."""
    tokenizer = word_tokenizer([*WORDS, "copy:"])
    config = causal_lm_config(
        tokenizer, architecture=architecture, hidden=64, layers=2, heads=2, max_length=64
    )
    save_model(build_causal_lm(config, seed), tokenizer, folder)
    return str(folder)


def copied(prompt: str, completion: str, reference: str) -> float:
    """+1 for every time the wanted word is written, -0.1 for every word."""
    words = completion.split()
    return words.count(reference) - 0.1 * len(words)


def copy_env(config: dict) -> TextEnv:
    """``copy: w3 w21`` asks for w3. env_config: split, size."""
    split = config.get("split", "train")
    size = int(config.get("size", 64)) if split == "train" else 16
    tasks = [
        Task(id=f"{split}-{i}", prompt=f"copy: w{i % 40} w{i * 7 % 40}", reference=f"w{i % 40}")
        for i in range(size)
    ]
    return TextEnv(tasks, CallableReward(config.get("reward", copied), isolate=False))
