"""What ``elastic_reset_stackllama --smoke`` runs on where nothing is given: rows, and a random model of them."""

from __future__ import annotations

import json
from pathlib import Path

from envs.text import StackExchange
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer

OPERATIONS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "compare": "<", "match": "=="}
KINDS = ("numbers", "lists", "arrays", "sets", "strings", "dates", "tensors", "columns")


def rows_in(folder: Path) -> Path:
    """Rows in the published columns and folders, a sixth of them ``data/evaluation``; made where they are not there."""
    parts = [folder / part / "train.jsonl" for part in ("data/rl", "data/evaluation")]
    if not parts[1].is_file():
        pairs = [(word, sign, kind) for word, sign in OPERATIONS.items() for kind in KINDS]
        rows = [
            {
                "qid": number,
                "question": f"How do I {word} two {kind} in Python?",
                "date": "2023/03/14",
                "metadata": [f"https://example.org/questions/{number}", "https://example.org"],
                "response_j": f"Write `a {sign} b` where a and b are {kind}.",
                "response_k": f"Why would one {word} {kind}?",
            }
            for number, (word, sign, kind) in enumerate(pairs)
        ]
        for path, mine in zip(parts, (rows[len(KINDS) :], rows[: len(KINDS)]), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in mine), encoding="utf-8")
    return folder


def model_in(folder: Path, data: str) -> Path:
    """The folder of a random model with a tokenizer of the rows' texts; made where it is not there."""
    path = folder / "model"
    if not (path / "config.json").is_file():
        env = StackExchange("all", data=data)
        texts = [env.task(index).prompt + str(env.task(index).reference) for index in range(env.num_tasks)]
        tokenizer = train_tokenizer(texts, 400)
        shape = causal_lm_config(tokenizer, hidden=32, layers=2, heads=2, max_length=160)
        save_model(build_causal_lm(shape, 0), tokenizer, path)
    return path
