"""The model card of an exported policy: README.md, in the form that model hubs read.

Everything in it comes from the run's own files. Texts that somebody else chose (names, commands) are put into
code spans with their backticks and line breaks taken out, so that they cannot become markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rllib_ext.llm.model_folder import HUB_NAME

MARK = "<!-- exported by rllib-ext -->"
METHODS = {
    "AsyncOnlineDPO": "asynchronous online DPO ([arXiv 2410.18252](https://arxiv.org/abs/2410.18252))",
    "AsyncRLOO": "asynchronous RLOO ([arXiv 2410.18252](https://arxiv.org/abs/2410.18252))",
    "AsyncPPO": "asynchronous PPO ([arXiv 2403.17031](https://arxiv.org/abs/2403.17031), "
    "[arXiv 2410.18252](https://arxiv.org/abs/2410.18252))",
    "BestOfN": "best-of-K supervised finetuning ([arXiv 2410.18252](https://arxiv.org/abs/2410.18252))",
}
SETTINGS = (
    "loss",
    "beta",
    "kl_coefficient",
    "kl_coef",
    "value_coef",
    "gae_lambda",
    "mode",
    "lr",
    "total_updates",
    "prompts_per_minibatch",
    "samples_per_prompt",
    "minibatches_per_generation",
    "updates_per_minibatch",
    "temperature",
    "max_new_tokens",
    "missing_eos",
    "lora_rank",
    "seed",
)
METRICS = {
    "reward_mean": "reward, mean",
    "reward_se": "reward, standard error",
    "win_rate": "win rate",
    "kl_ref": "KL to the initial policy, nats a completion",
    "ppl_completion": "perplexity under the initial policy",
    "n": "held-out prompts",
}


def model_card(
    config: Mapping[str, Any], updates: int, run: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]]
) -> str:
    """config: the run's settings. run: its run.json, or {}. evaluations: its rows up to ``updates``."""
    base, hub = base_model(config)
    method = METHODS.get(str(config.get("algorithm")), _code(config.get("algorithm")))
    head = ["---", "library_name: transformers", "pipeline_tag: text-generation", "tags: [rllib-ext, rlhf]"]
    if hub:
        head.append(f"base_model: {json.dumps(base)}")
    parts = [
        "\n".join([*head, "---", MARK]),
        f"# {_plain(config.get('algorithm'))} on {_plain(config.get('env'))}",
        f"Trained from {'' if hub else 'the local model '}{_code(base)} with {method} on the environment "
        f"{_code(config.get('env'))} for {updates} optimizer updates.",
        _metrics(evaluations),
        "## Settings\n\n" + _table(("setting", "value"), [(n, config[n]) for n in SETTINGS if n in config]),
        _reproduction(config, run),
        "## Use\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("<this folder>")\n'
        'tokenizer = AutoTokenizer.from_pretrained("<this folder>")\n```',
        "## Licence\n\nThe weights are derived from the base model and fall under its licence; the terms of the "
        "training texts may add to it. Check both before these weights are passed on.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def base_model(config: Mapping[str, Any]) -> tuple[str, bool]:
    """(name, whether it is a hub's): of a local folder only its last part, for paths are nobody's business."""
    name = str(config["model"])
    hub = HUB_NAME.fullmatch(name) is not None and not Path(name).is_dir()
    return (name, True) if hub else (Path(name).name, False)


def _metrics(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """First and last evaluation of each split side by side."""
    splits = dict.fromkeys(str(row.get("split")) for row in evaluations)
    parts = []
    for split in splits:
        rows = [row for row in evaluations if str(row.get("split")) == split]
        shown = [rows[0], rows[-1]] if len(rows) > 1 else rows
        names = [name for name in METRICS if isinstance(shown[-1].get(name), int | float)]
        head = (f"split {_plain(split)}", *(f"update {_plain(row.get('updates'))}" for row in shown))
        titles = {**METRICS, "win_rate": f"win rate against the {_plain(shown[-1].get('win_rate_against'))}"}
        parts.append(_table(head, [(titles[name], *(row.get(name) for row in shown)) for name in names]))
    return "## Metrics\n\n" + "\n\n".join(parts) if parts else ""


def _reproduction(config: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    rows = [(name, value) for name, value in (run.get("versions") or {}).items()]
    if config.get("revision"):
        rows.insert(0, ("revision of the base model", config["revision"]))
    command = f"```\n{_line(run['command'])}\n```" if run.get("command") else ""
    parts = [part for part in (command, _table(("package", "version"), rows) if rows else "") if part]
    return "## How it was made\n\n" + "\n\n".join(parts) if parts else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(row[0]), *map(_cell, row[1:])] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    return f"{value:.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else _code(value)


def _line(text: Any) -> str:
    return re.sub(r"[\x00-\x1f\x7f`]", " ", str(text))


def _code(text: Any) -> str:
    return f"`{_line(text).replace('|', '/')}`"


def _plain(text: Any) -> str:
    return re.sub(r"[^\w .,:()/-]", " ", str(text))
