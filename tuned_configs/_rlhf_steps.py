"""The steps of ``rlhf_pipeline``: what each reads, what it leaves, and how it is told that it is complete.

A step that is short (data, a model from scratch, samples, labels) leaves its files whole or not at all and is simply done
again when it was killed; it draws from its own seed, so it leaves the same bytes. A long one (SFT, reward model, PPO)
goes on from its newest checkpoint.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.text.controlled_data import DEMONSTRATION_NOISE, REFERENCE_NOISE
from envs.text.controlled_gold import gold_reward
from envs.text.controlled_pairs import controlled_rows
from envs.text.demonstrations import Demonstration, read_demonstrations
from rllib_ext.runtime.run_folder import read_json
from rllib_ext.runtime.seeding import SeedTree
from rllib_ext.runtime.storage import replace

HELD_OUT = 1024  # rows of the validation and the test file


@dataclass
class Pipeline:
    """The whole chain in one folder. base, sft, reward_model, policy: settings of the trained stages. snapshots: how many
    policies on the way of PPO are kept as model folders, evenly spaced, the last one included.
    """

    folder: Path
    scale: Any
    seed: int
    flip: float
    algorithm: str
    until: str
    base: dict[str, Any]
    sft: dict[str, Any]
    reward_model: dict[str, Any]
    policy: dict[str, Any]
    snapshots: int = 0

    def run(self) -> dict[str, Any]:
        """Every step that is not complete yet; the table, or where ``until`` stops before it the last stage's figures."""
        from rllib_ext.stages.runner import run_stage
        from tuned_configs._rlhf_policy import reinforce
        from tuned_configs._rlhf_table import table_of

        began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._step("data", self.write_data)
        self._step("start", self.make_start)
        base = run_stage("SFT", self.base, self.folder / "base", say)
        if self.until == "base":
            return base
        sft = run_stage("SFT", self.sft, self.folder / "sft", say)
        if self.until == "sft":
            return sft
        self._step("pairs", self.make_pairs)
        reward_model = run_stage("RewardModel", self.reward_model, self.folder / "reward_model", say)
        if self.until == "reward_model":
            return reward_model
        ppo = reinforce(self, say)
        table = self.folder / "result.json"
        if not table.is_file():
            result = {**table_of(self, sft, reward_model), "updates": ppo["updates"]}
            replace(table, json.dumps(result, indent=1).encode())
            self._report()
        say(f"done after {time.monotonic() - began:.0f} s; everything is in {self.folder}")
        return read_json(table)

    def _step(self, name: str, make: Callable[[Path], None]) -> None:
        """Make the folder ``name`` whole, or leave it alone where it is."""
        final = self.folder / name
        if final.is_dir():
            say(f"{name} is complete")
            return
        say(f"{name} ...")
        half = self.folder / f".{name}.half"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        make(half)
        half.rename(final)

    # ----- the short steps

    def write_data(self, folder: Path) -> None:
        """The controlled task as rows of the TL;DR data set: one file a split, and clean ones of other prompts."""
        sizes = {"train": self.scale.rows, "validation": HELD_OUT, "test": HELD_OUT}
        (folder / "posts").mkdir()
        for split, rows in sizes.items():
            noise = DEMONSTRATION_NOISE if split == "train" else REFERENCE_NOISE
            write_lines(
                folder / "posts" / f"{split}.jsonl",
                controlled_rows(rows, self.seed, split=split, noise=noise),
            )
        rows = self.base["max_updates"] * self.base["batch_size"]
        clean = controlled_rows(rows, self.seed + 1, noise=(0.0, 0.0))
        write_lines(folder / "clean.jsonl", clean)

    def make_start(self, folder: Path) -> None:
        """A tokenizer of the task's own texts and an untrained model."""
        from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer

        texts = [item.prompt + item.completion for item in self.demonstrations("train", 4096)]
        tokenizer = train_tokenizer(texts, self.scale.vocabulary)
        heads = max(1, self.scale.hidden // 32)
        shape = causal_lm_config(
            tokenizer, hidden=self.scale.hidden, layers=self.scale.layers, heads=heads, max_length=160
        )
        save_model(build_causal_lm(shape, self.seed), tokenizer, folder)

    def make_pairs(self, folder: Path) -> None:
        """The best and the worst of the SFT policy's samples of a prompt, labelled by the gold rule; some training labels
        are turned round.
        """
        from rllib_ext.stages.relabel import Relabelling

        wanted = {"train": (self.scale.pairs, self.flip), "held_out": (self.scale.eval_pairs, 0.0)}
        for name, (count, flip) in wanted.items():
            split = "train" if name == "train" else "validation"
            prompts = [item.prompt for item in self.demonstrations(split, count)]
            groups = self.samples("sft", prompts, samples=self.scale.candidates, temperature=1.0, stream=name)
            rows = [row for group in groups if (row := _widest(group, name)) is not None]
            source = folder / f"{name}.samples.jsonl"
            write_lines(source, rows)
            job = Relabelling(
                "controlled",
                str(source),
                folder / f"{name}.jsonl",
                flip=flip,
                seed=self.seed,
                max_query_tokens=10_000,
            )
            summary = job.run()
            say(
                f"pairs, {name}: {summary['kept']} labelled, {summary['tied']} tied, {summary['flipped']} turned round"
            )

    def demonstrations(self, split: str, count: int) -> list[Demonstration]:
        """The first ``count`` posts of a split with their summaries, cut as the stages cut them."""
        from rllib_ext.llm.safety import encode_plain, open_tokenizer

        start = self.folder / "start"
        tokenizer = open_tokenizer(start) if start.is_dir() else None
        count_tokens = (lambda text: len(encode_plain(tokenizer, [text])[0])) if tokenizer else None
        return read_demonstrations(
            str(self.folder / "data" / "posts"),
            split,
            count_tokens=count_tokens,
            max_query_tokens=96,
            max_rows=count,
        )[0]

    def model_folder(self, stage: str) -> Path:
        """What a trained stage left, or ``stage`` itself where it names a model folder (a snapshot)."""
        folder = self.folder / stage
        return (
            folder
            if (folder / "config.json").is_file() and not (folder / "model").is_dir()
            else folder / "model"
        )

    def samples(
        self, stage: str, prompts: Sequence[str], *, samples: int, temperature: float, stream: str
    ) -> list[list[Any]]:
        """Completions of the model of ``stage``; one seed for each stream of a stage."""
        from rllib_ext.llm.policy_samples import sample_policy

        return sample_policy(
            self.model_folder(stage),
            prompts,
            samples=samples,
            temperature=temperature,
            max_new_tokens=self.scale.max_new_tokens,
            seed=SeedTree(self.seed).child("samples", stage, stream).int(),
        )

    # ----- the end

    def _report(self) -> None:
        from rllib_ext.analysis.report import build_report

        for stage in ("sft", "reward_model", "ppo"):
            build_report(self.folder / stage)


def _widest(group: Sequence[Any], batch: str) -> dict[str, Any] | None:
    """The two samples of a prompt that are furthest apart, in the order in which they were drawn; None where all are
    worth the same.
    """
    ranked = sorted(
        (gold_reward(item.prompt, item.text), place) for place, item in enumerate(group) if item.text.strip()
    )
    if len(ranked) < 2 or ranked[0][0] == ranked[-1][0]:
        return None
    first, second = (group[place] for place in sorted((ranked[0][1], ranked[-1][1])))
    return {"prompt": first.prompt, "chosen": first.text, "rejected": second.text, "batch": batch}


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def say(text: str) -> None:
    """Progress goes to standard error; standard output carries the table."""
    print(f"rlhf_pipeline: {text}", file=sys.stderr, flush=True)
