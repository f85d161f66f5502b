"""A trained policy as an ordinary model folder: what ``AutoModelForCausalLM`` and vLLM open without this package.

The folder holds safetensors weights (adapters merged in), the tokenizer as the base model has it, a generation
config and a model card. Weights come from a verified checkpoint, or from a live algorithm; nothing is ever
unpickled, and a hub model must be pinned to a commit, or the config and tokenizer beside the trained weights
could be other ones than it was trained with (reliability list, G6).

Left out: quantised formats, and pushing to a hub.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rllib_ext.errors import BadConfig, CheckpointCorrupt
from rllib_ext.llm.from_scratch import save_model
from rllib_ext.llm.model_card import MARK, model_card
from rllib_ext.llm.rl_module import CausalLMModule
from rllib_ext.llm.safety import check_model_folder, open_causal_lm, quiet_transformers, require_pinned
from rllib_ext.runtime import checkpoint as checkpoints
from rllib_ext.runtime.run_folder import read_json, read_jsonl

CARD = "README.md"
_MODULE_SETTINGS = ("model", "revision", "dtype", "lora_rank", "lora_alpha", "temperature", "seed")


def export_checkpoint(checkpoint: Path | str, config: Mapping[str, Any], to: Path | str) -> Path:
    """Write the policy of a checkpoint to the folder ``to``; its path.

    checkpoint  a ``step_*`` folder, verified before anything is read from it
    config      the run's ``config.json``: at least the knobs of the model (model, revision, dtype, lora_*)
    to          a folder that does not exist, is empty, or holds an earlier export
    """
    checkpoint, to = Path(checkpoint), _target(to)
    require_pinned(config["model"], config["revision"])
    loaded = checkpoints.load(checkpoint)
    if "model" not in loaded.tensors:
        raise CheckpointCorrupt(
            f"{checkpoint} holds no model; it was not written by a language-model algorithm"
        )
    settings = {name: config[name] for name in _MODULE_SETTINGS}
    module = CausalLMModule(model_config={**settings, "share_prompts": False})  # nothing is computed with it
    module.set_state(_chosen(loaded.tensors, config.get("export", "online")))
    run = checkpoint.resolve().parent.parent
    return _write(module.plain_weights(), config, run, loaded.step, to)


def export_algorithm(algorithm: Any, to: Path | str) -> Path:
    """Write the current policy of a live language-model algorithm to the folder ``to``; its path."""
    config = algorithm.config
    settings = {name: getattr(config, "language_model" if name == "model" else name) for name in config.knobs}
    require_pinned(settings["model"], settings["revision"])
    names = {"algorithm": type(algorithm).__name__, "env": str(config.env), "seed": config.run_seed}
    with getattr(algorithm, "wearing_export", contextlib.nullcontext)():
        weights = algorithm.on_learner(_weights_on_cpu)
    run = Path(algorithm.journal.folder.path)
    return _write(weights, {**settings, **names}, run, algorithm.counters["updates"], _target(to))


def _chosen(groups: Mapping[str, Mapping[str, torch.Tensor]], export: str) -> dict[str, torch.Tensor]:
    """The policy, with those of its tensors replaced that the group of the knob ``export`` holds (an average, say).

    A group that the checkpoint lacks replaces nothing: no reset has come yet, and the online weights are the best so far.
    """
    online = groups["model"]
    other = {name: tensor for name, tensor in groups.get(export, {}).items() if name in online}
    return {**online, **{name: tensor.to(online[name].dtype) for name, tensor in other.items()}}


def _weights_on_cpu(learner: Any, **_: Any) -> dict[str, torch.Tensor]:
    """Copies: the learner may carry other weights by the time that they are written."""
    plain = learner.language_module.plain_weights()
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in plain.items()}


def _target(to: Path | str) -> Path:
    """A folder that may be written: nobody else's files are mixed with a model's."""
    folder = Path(to).expanduser()
    if folder.exists() and not folder.is_dir():
        raise BadConfig(f"{folder} is a file; give a folder that does not exist yet")
    card = folder / CARD
    earlier = card.is_file() and MARK in card.read_text(encoding="utf-8", errors="replace")
    if folder.is_dir() and any(folder.iterdir()) and not earlier:
        raise BadConfig(
            f"{folder} is not empty and holds no earlier export; give a folder that does not exist yet"
        )
    return folder


def _write(
    weights: Mapping[str, torch.Tensor], config: Mapping[str, Any], run: Path, updates: int, to: Path
) -> Path:
    source = check_model_folder(config["model"], config["revision"])
    model = open_causal_lm(config["model"], dtype=config["dtype"], revision=config["revision"])
    model.load_state_dict(dict(weights), strict=True)
    tokenizer = _tokenizer(source)
    generation = model.generation_config
    generation.eos_token_id = generation.eos_token_id or tokenizer.eos_token_id
    generation.pad_token_id = (
        generation.pad_token_id if generation.pad_token_id is not None else tokenizer.pad_token_id
    )
    save_model(model, tokenizer, to)
    card = model_card(
        config, updates, _run_facts(run), [row for row in _evaluations(run) if _at(row) <= updates]
    )
    (to / CARD).write_text(card, encoding="utf-8")
    return to


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """As the base model has it: without the padding token that training may have added, for which the model has
    no embedding.
    """
    with quiet_transformers():
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def _run_facts(run: Path) -> dict[str, Any]:
    path = run / "run.json"
    facts = read_json(path) if path.is_file() else {}
    return facts if isinstance(facts, dict) else {}


def _evaluations(run: Path) -> list[dict[str, Any]]:
    return read_jsonl(run / "evaluations.jsonl")


def _at(row: Mapping[str, Any]) -> float:
    updates = row.get("updates")
    return updates if isinstance(updates, int | float) else float("inf")
