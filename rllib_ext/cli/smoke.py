"""``--smoke``: every stage of a run, small enough for a minute on two cores.

Where no model is named, one is made from the environment's own texts: a tokenizer, a model of about a
hundred thousand parameters, and a few seconds of supervised finetuning, without which every completion would
be noise of one and the same score and no pair could be formed. It shows that the machine can do the whole
path; what it learns means nothing.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_ext.errors import BadConfig
from rllib_ext.registry import create_environment

ENVIRONMENT = "Docstrings"
TINY: dict[str, Any] = {
    "total_updates": 6,
    "checkpoint_every": 3,
    "evaluation_interval": 3,
    "prompts_per_minibatch": 8,
    "max_prompt_tokens": 64,
    "prompt_overflow": "truncate",
    "max_new_tokens": 16,
    "missing_eos": "keep",
    "evaluation_prompts": 16,
    "temperature": 1.0,
    "lr": 1e-4,
}
TASKS, VOCABULARY, SECONDS = 512, 512, 8.0
STAGE_TINY: dict[str, Any] = {
    "data": "ControlledTLDR",
    "max_rows": 256,
    "eval_rows": 64,
    "reference_rows": 64,
    "batch_size": 16,
    "max_updates": 12,
    "report_every": 4,
    "lr": 1e-3,
}
STAGE_START = "start"  # the folder, in the run's own, of the model that a smoke run of a stage begins with


def smoke_settings() -> dict[str, Any]:
    """What a smoke run sets unless it is told otherwise; the engine is the one that is installed."""
    engine = "vllm" if importlib.util.find_spec("vllm") else "hf"
    return {**TINY, "engine": engine}


def stage_settings(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """What a smoke run of a supervised stage sets unless it is told otherwise."""
    return {name: value for name, value in STAGE_TINY.items() if name in knobs}


def stage_model(kind: str, values: Mapping[str, Any], folder: Path) -> None:
    """An untrained model and a tokenizer of the stage's own texts, for a smoke run of a stage."""
    from envs.text.truncation import rough_tokens
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer
    from rllib_ext.stages.data import StageData

    rows = StageData(kind, values, rough_tokens, folder).train()[:TASKS]
    texts = [row.prompt + (row.completion if kind == "demonstrations" else row.chosen) for row in rows]
    tokenizer = train_tokenizer(texts, VOCABULARY)
    shape = causal_lm_config(tokenizer, hidden=64, layers=2, heads=2, max_length=1024)
    save_model(build_causal_lm(shape, values["seed"]), tokenizer, folder / STAGE_START)


def tiny_model(env: str, env_config: dict[str, Any], values: dict[str, Any], folder: Path) -> str:
    """Make the model for a smoke run in ``folder``; its path."""
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer
    from rllib_ext.llm.supervised import run_sft

    pairs = _pairs(env, env_config)
    tokenizer = train_tokenizer([text for pair in pairs for text in pair], VOCABULARY)
    longest = values["max_prompt_tokens"] + values["max_new_tokens"] * (2 * values["max_turns"] - 1)
    shape = causal_lm_config(tokenizer, hidden=64, layers=2, heads=2, max_length=max(512, longest))
    start = save_model(build_causal_lm(shape, values["seed"]), tokenizer, folder / "untrained")
    run_sft(
        model_folder=start,
        pairs=[(prompt[-200:], target[:60]) for prompt, target in pairs],
        output_folder=folder / "model",
        loss_on="completion",
        lr=3e-3,
        batch_size=16,
        epochs=100,
        max_seconds=SECONDS,
        device="cpu",
        seed=values["seed"],
    )
    shutil.rmtree(start)
    return str(folder / "model")


def _pairs(env: str, env_config: dict[str, Any]) -> list[tuple[str, str]]:
    """(prompt, target) texts of the first tasks; the target is the prompt's end where a task has no reference."""
    made = create_environment(env, env_config)
    try:
        tasks = [made.task(index) for index in range(min(TASKS, made.num_tasks))]
    finally:
        made.close()
    if not all(isinstance(task.prompt, str) for task in tasks):
        raise BadConfig(
            f"{env} has chat prompts, which need a model with a chat template: --set model=<model>"
        )
    return [
        (task.prompt, task.reference) if task.reference else (task.prompt, task.prompt[-60:])
        for task in tasks
    ]
