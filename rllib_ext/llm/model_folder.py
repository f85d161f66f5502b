"""Finding a model's folder, local or from the hub, and judging its files before any loader sees them.

A model from elsewhere is data: a config, a tokenizer and tensors. Three doors turn such data into code, and
all three stay shut: Python files that the config names (``auto_map``), kernels fetched from a hub at its
word (the attention and expert implementations, and the private keys behind them), and pickled weights. Every
config is read as plain JSON, because loaders have run such fields although remote code was switched off
(CVE-2026-22807, CVE-2026-4372). Adapters are refused too: their config makes the loader fetch another model
that nobody looked at.

From the hub only JSON, text and safetensors files of the top folder are fetched; Python files and pickles
never reach the disk.

Left out: what a chat template may do (transformers renders it in a sandbox), and faults of the safetensors
parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub

from rllib_ext.errors import BadConfig, Untrusted

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
CODE_KEYS = frozenset({"auto_map", "custom_pipelines"})
HARMLESS_PRIVATE_KEYS = frozenset(
    {"_name_or_path", "_commit_hash", "_from_model_config", "_attn_implementation_autoset"}
)
LABEL_KEYS = frozenset({"id2label", "label2id"})
TEXT_FILES = ["*.json", "*.jinja", "*.txt", "*.model"]
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
RESAVE = "open it in an environment that you trust, save it with save_pretrained, and give that folder"


def check_model_folder(name: str | Path, revision: str | None = None, *, weights: bool = True) -> Path:
    """The folder of a local or hub model, after its files have been judged; give this path to any loader.

    name      a folder, or a hub id such as "owner/model"; a folder of that name wins
    revision  branch, tag or commit of a hub model; the folder's last part is the commit that it stands for
    weights   False where only the config or the tokenizer is wanted
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _judged(folder, weights)
    if folder.exists():
        raise BadConfig(
            f"model {str(name)!r} is a file; give the folder that holds config.json and the weights"
        )
    if not HUB_NAME.fullmatch(str(name)):
        raise BadConfig(
            f"model folder {str(name)!r} does not exist (looked for {folder.absolute()}); it is no hub "
            "name; give a folder written by save_pretrained, or a hub id such as 'owner/model'"
        )
    texts = _fetched(str(name), revision, TEXT_FILES)
    _judged(texts, weights=False)
    return _judged(_fetched(str(name), texts.name, ["*.safetensors"]), weights) if weights else texts


def require_pinned(name: str | Path, revision: str | None) -> None:
    """Refuse a hub model whose revision can move: export and resume must get what was trained."""
    if not Path(name).expanduser().is_dir() and not COMMIT.fullmatch(revision or ""):
        raise Untrusted(
            f"hub model {str(name)!r} has the revision {revision!r}, which can move; "
            "give the 40-digit commit (the last part of the path that check_model_folder returns)"
        )


def _fetched(name: str, revision: str | None, patterns: list[str]) -> Path:
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"]
            )
        )
    except (OSError, ValueError) as error:
        raise BadConfig(
            f"there is no folder {name!r} here, and the hub model of that name (revision {revision!r}) "
            f"cannot be fetched: {type(error).__name__}: {error}; check name, revision and network"
        ) from error


def _judged(folder: Path, weights: bool) -> Path:
    """Refuse what could run code or leave the folder. A folder without config.json is no (complete) model."""
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        remedy = (
            "merge the adapter into its model and save that" if adapter else "give a save_pretrained folder"
        )
        raise BadConfig(f"model folder {str(folder)!r} holds no config.json; {remedy}")
    if (folder / "adapter_config.json").exists():
        raise Untrusted(
            f"{str(folder)!r} holds an adapter, whose config names another model to load; merge it first"
        )
    for path in sorted(folder.glob("*config.json")):
        _judge_keys(_read_json(path), path)
    if weights:
        _judge_weights(folder)
    return folder


def _judge_keys(value: Any, path: Path) -> None:
    """Look for doors to code at any depth of a config."""
    for key, item in value.items() if isinstance(value, Mapping) else ():
        private = path.name == "config.json" and key.startswith("_") and key not in HARMLESS_PRIVATE_KEYS
        kernel = "implementation" in key and "/" in json.dumps(item)
        if key in CODE_KEYS or private or kernel:
            raise Untrusted(
                f"{str(path)!r} has the key {key!r}, which can make a loader run code of a model; "
                f"remote code is never run: use a model that transformers knows by itself, or {RESAVE}"
            )
        if key not in LABEL_KEYS:
            _judge_keys(item, path)
    for item in value if isinstance(value, list) else ():
        _judge_keys(item, path)


def _judge_weights(folder: Path) -> None:
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        found = (
            f"only pickled weights ({', '.join(pickles[:3])}), which run code when opened"
            if pickles
            else "none"
        )
        raise Untrusted(f"model folder {str(folder)!r} has no safetensors weights but {found}; {RESAVE}")
    for index in folder.glob("*.safetensors.index.json"):
        shards = _read_json(index).get("weight_map", {}).values()
        outside = sorted({str(shard) for shard in shards if Path(str(shard)).name != str(shard)})
        if outside:
            raise Untrusted(f"{str(index)!r} names {outside[0]!r}, outside the model's folder; {RESAVE}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadConfig(f"{str(path)!r} is no readable JSON file: {error}; save the model again") from error
    if not isinstance(value, dict):
        raise BadConfig(
            f"{str(path)!r} holds a JSON {type(value).__name__}, not an object; save the model again"
        )
    return value
