"""The demo: a small language model learns to summarise functions, from real text, with nothing downloaded.

Reads the docstrings of installed packages, trains a tokenizer and a small Llama on (function, summary) pairs, then
goes on with asynchronous online DPO: vLLM writes four summaries a function, ROUGE-L against the author's own summary
says which is best and which is worst. Ends with a report folder, an exported model and one line of JSON.

``python -m rllib_ext.demo [--folder runs] [--updates N] [--sft-seconds S]``; about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

MAX_CHARS = 160  # of a function's text: what two cores can read in ten minutes
VOCABULARY = 10_000  # most parameters are embeddings: what two cores cannot train are wide layers
CONTEXT = 128
SHAPE = {"hidden": 128, "layers": 4, "heads": 2}
# The policy is trained and judged as it is sampled, at temperature 1.
TRAINING = {
    "prompts_per_minibatch": 48,
    "samples_per_prompt": 4,
    "max_prompt_tokens": 96,
    "max_new_tokens": 24,
    "temperature": 1.0,
    "evaluation_temperature": 1.0,
    "evaluation_prompts": 512,
    "evaluation_interval": 20,
    "beta": 0.1,
    "lr": 2e-4,
}


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the last line of standard output is the JSON."""
    options = _options(argv)
    _use_cores()
    began = time.monotonic()
    folder = _fresh(Path(options.folder) / "demo")
    model = supervised_start(folder, options.sft_seconds)
    run = folder / "AsyncOnlineDPO-Docstrings-run"
    code = train(model, run, options.updates)
    if code:
        return code
    export = folder / "model"
    _command(["export", str(run), "--to", str(export)])
    _say(f"done in {time.monotonic() - began:.0f} s")
    print(
        json.dumps({**_headline(run), "report": str(run / "report" / "report.html"), "export": str(export)})
    )
    return 0


def supervised_start(folder: Path, seconds: float) -> Path:
    """Tokenizer, model and SFT warm start; the folder of the model."""
    from envs.text import Docstrings
    from rllib_ext.llm.from_scratch import (
        build_causal_lm,
        causal_lm_config,
        count_parameters,
        save_model,
        train_tokenizer,
    )
    from rllib_ext.llm.supervised import run_sft

    _say("reading the docstrings of installed packages")
    env = Docstrings("train", max_chars=MAX_CHARS)
    pairs = [(task.prompt, task.reference) for task in map(env.task, range(env.num_tasks))]
    tokenizer = train_tokenizer((prompt + target for prompt, target in pairs), VOCABULARY)
    model = build_causal_lm(causal_lm_config(tokenizer, max_length=CONTEXT, **SHAPE), seed=0)
    _say(f"{len(pairs)} functions; a Llama of {count_parameters(model) / 1e6:.1f} million parameters")
    start = save_model(model, tokenizer, folder / "start")
    _say(f"supervised start, {seconds:.0f} s")
    report = run_sft(
        model_folder=start,
        pairs=pairs,
        output_folder=folder / "sft",
        loss_on="completion",
        max_length=CONTEXT,
        epochs=50,
        max_seconds=seconds,
        batch_size=32,
        lr=2e-3,
        warmup_steps=20,
        grad_clip=1.0,
        precision="auto",
        log_every=100,
        on_log=lambda entry: _say(f"  step {entry['step']}: loss {entry['loss']:.2f}"),
    )
    _say(f"{report.steps} steps in {report.seconds:.0f} s")
    return Path(report.folder)


def train(model: Path, run: Path, updates: int) -> int:
    """Asynchronous online DPO through the command line's own door; its exit code."""
    settings: dict[str, Any] = {**TRAINING, "model": str(model), "total_updates": updates}
    words = ["train", "AsyncOnlineDPO", "--env", "Docstrings", "--env-set", f"max_chars={MAX_CHARS}"]
    words += ["--name", "run", "--storage-path", str(run.parent), "--seed", "0"]
    for name, value in settings.items():
        words += ["--set", f"{name}={value}"]
    return _command(words)


def _command(words: list[str]) -> int:
    from rllib_ext.cli import main as command

    with _stdout_to_stderr():
        return command(words)


class _stdout_to_stderr:
    """Standard output is for the JSON line; what commands print on the way goes to standard error."""

    def __enter__(self) -> None:
        self._stdout, sys.stdout = sys.stdout, sys.stderr

    def __exit__(self, *error: object) -> None:
        sys.stdout = self._stdout


def _headline(run: Path) -> dict[str, Any]:
    from rllib_ext.analysis.headline import headline
    from rllib_ext.analysis.run_data import load_run

    wanted = ("engine", "updates", "reward_before", "reward_after", "kl", "win_rate")
    timing = ("staleness_mean", "staleness_p95", "tokens_per_s")
    values = headline(load_run(run))
    return {name: values[name] for name in wanted + timing}


def _use_cores() -> None:
    """All cores for the supervised start; training sets its own threads."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    from rllib_ext.runtime.ray_session import available_cores

    torch.set_num_threads(available_cores())


def _fresh(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rllib_ext.demo", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--folder", default="runs", help="where the demo's folder goes; an older demo there is replaced"
    )
    parser.add_argument("--updates", type=int, default=100, help="optimizer updates of online DPO")
    parser.add_argument("--sft-seconds", type=float, default=150.0, help="length of the supervised start")
    return parser.parse_args(argv)


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
