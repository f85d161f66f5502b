"""Runs cells of ``elastic_frontier_text`` one after another and prints one JSON line for each.

python -m benchmarks._frontier_text_runs < cells.jsonl
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._frontier_text_plan import MAX_CHARS, RUNS, Cell  # noqa: E402
from benchmarks._pieces import serve  # noqa: E402
from benchmarks._session import scratch  # noqa: E402

SHAPE = {"hidden": 96, "layers": 2, "heads": 2}
VOCABULARY, CONTEXT, SFT_STEPS = 2048, 128, 1500


def sft_policy(steps: int = SFT_STEPS) -> str:
    """The folder of a small Llama finetuned on docstrings, prompts included; trained once, then found again."""
    from envs.text import Docstrings
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer
    from rllib_ext.llm.supervised import run_sft

    folder = scratch(f"docstrings-{SHAPE['layers']}x{SHAPE['hidden']}-{VOCABULARY}-{MAX_CHARS}-{steps}")
    tuned = folder / "sft"
    if not (tuned / "config.json").is_file():
        env = Docstrings("train", max_chars=MAX_CHARS)
        pairs = [(task.prompt, task.reference) for task in map(env.task, range(env.num_tasks))]
        tokenizer = train_tokenizer((prompt + target for prompt, target in pairs), VOCABULARY)
        shape = causal_lm_config(tokenizer, max_length=CONTEXT, **SHAPE)
        start = save_model(build_causal_lm(shape, 0), tokenizer, folder / "start")
        run_sft(
            model_folder=str(start), pairs=pairs, output_folder=str(tuned), batch_size=32, lr=3e-3, max_steps=steps,
            loss_on="all", max_length=CONTEXT, warmup_steps=20, grad_clip=1.0,
        )  # fmt: skip
    return str(tuned)


def run(cell: Cell) -> dict[str, Any]:
    """Train a cell; judge it before, right before every reset, and at its end."""
    from rllib_ext.elastic_reset.llm import ElasticResetAsyncPPOConfig

    model, began = sft_policy(), time.monotonic()
    points = []
    with tempfile.TemporaryDirectory(prefix="rllib-ext-frontier-") as folder:
        config = ElasticResetAsyncPPOConfig()
        config.environment("Docstrings", env_config={"max_chars": MAX_CHARS})
        config.debugging(seed=cell.seed, log_level="ERROR").evaluation(evaluation_interval=None)
        config.training(**cell.settings(model), run_folder=folder)
        algorithm = config.build_algo()
        ready = time.monotonic()
        try:
            start = judged(algorithm)
            for iteration in range(1, cell.period * cell.cycles + 1):
                resets = algorithm.train()["er"]["num_resets"]
                if iteration % cell.period == 0:
                    points += at_a_reset(algorithm, cell, iteration, resets)
        finally:
            algorithm.stop()
    seconds = {"start_seconds": ready - began, "seconds": time.monotonic() - began}
    return {**asdict(cell), "start": start, "points": points, **seconds}


def at_a_reset(algorithm: Any, cell: Cell, iteration: int, resets: int) -> list[dict[str, Any]]:
    """The methods that this run stands for, as they are before the reset that may be due now."""
    found = []
    for weights, method in RUNS[cell.variant].items():
        at = {"method": method, "iteration": iteration, "resets": resets}
        if weights == "online":
            found.append(at | judged(algorithm))
        else:
            with algorithm.wearing(weights):
                found.append(at | judged(algorithm))
    return found


def judged(algorithm: Any) -> dict[str, float]:
    """Reward on held-out prompts, perplexity of held-out human text, KL to the initial policy."""
    found = algorithm.evaluate()["evaluation"]
    return {"reward": found["reward_mean"], "ppl": found["ppl_reference"], "kl": found["kl_ref"]}


if __name__ == "__main__":
    sys.exit(serve(Cell, run))
