"""RLHF from scratch on built-in data: SFT, gold-labelled pairs, reward model, PPO, each from the last one's folder.

The controlled protocol at small scale: a synthetic TL;DR task in the published query format, whose gold reward is a
rule; a policy finetuned on noisy demonstrations; a proxy reward model trained on gold-labelled pairs of that policy's
own samples, some labels turned round; PPO against the proxy; the gold reward alone says what it was worth. Source: "The
N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031) and "Asynchronous RLHF" (arXiv 2410.18252).

    <folder>/data/ start/ base/ sft/ pairs/ reward_model/ ppo/ result.json

``base`` stands in for a published pretrained model: the untrained ``start`` learns, from clean pairs of other prompts,
that marked words are what a summary is made of. Without it the noise of the demonstrations hides the task from so small
a model.

A stage whose folder is complete is skipped, one that was interrupted goes on, so the same command finishes a pipeline
that was killed, with the same table. The last line of the output is one JSON object.

``python tuned_configs/rlhf_pipeline.py --smoke``: under eight minutes on two cores with vLLM.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
if __package__ in (None, ""):  # run as a file: the repository is the place to import from
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ALGORITHMS = ("AsyncPPO", "AsyncRLOO")


@dataclass(frozen=True)
class Scale:
    """How large everything is. rows: demonstrations; pairs: prompts of which a comparison is made, of the best and the
    worst of so many candidates; updates: of PPO.
    """

    rows: int
    hidden: int
    base_updates: int
    sft_updates: int
    pairs: int
    eval_pairs: int
    rm_epochs: float
    updates: int
    prompts_per_minibatch: int
    evaluation_prompts: int
    candidates: int = 6
    layers: int = 2
    vocabulary: int = 640
    max_new_tokens: int = 24
    batch_size: int = 64
    base_batch_size: int = 16
    rm_batch_size: int = 8
    base_lr: float = 2e-3


FULL = Scale(65536, 128, 4000, 800, 16384, 1024, 3.0, 256, 64, 512, base_lr=1e-3)
SMOKE = Scale(20480, 64, 2000, 300, 4096, 512, 3.0, 96, 64, 256)
TINY = Scale(256, 32, 16, 16, 48, 32, 8.0, 4, 8, 16, vocabulary=400, max_new_tokens=8, batch_size=16)
SCALES = {"full": FULL, "smoke": SMOKE, "tiny": TINY}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="python -m tuned_configs.rlhf_pipeline", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--folder", default=None, help="default: runs/rlhf_pipeline-<scale>")
    parser.add_argument("--scale", default="full", choices=sorted(SCALES))
    parser.add_argument("--smoke", action="store_true", help="the same as --scale smoke")
    parser.add_argument(
        "--algorithm", default="AsyncPPO", choices=ALGORITHMS, help="against the proxy reward"
    )
    parser.add_argument("--mode", default="sync", choices=("sync", "async"), help="sync resumes to the bit")
    parser.add_argument(
        "--engine", default=None, choices=("vllm", "hf"), help="default: vLLM where installed"
    )
    parser.add_argument("--flip", type=float, default=0.1, help="share of gold labels that are turned round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--until", default="ppo", choices=("base", "sft", "reward_model", "ppo"), help="stop there"
    )
    parser.add_argument("--set", type=json.loads, default={}, help="further settings of PPO, a JSON object")
    parser.add_argument(
        "--dry-run", action="store_true", help="print every stage's settings as JSON and stop"
    )
    args = parser.parse_args(argv)
    if args.smoke:
        args.scale = "smoke"
    args.sizes = SCALES[args.scale]
    if args.folder is None:
        args.folder = str(Path("runs") / f"rlhf_pipeline-{args.scale}")
    if args.engine is None:
        args.engine = "vllm" if importlib.util.find_spec("vllm") else "hf"
    return args


def base_settings(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Settings of the stage SFT that makes the base model."""
    clean = {"model": str(folder / "start"), "data": str(folder / "data" / "clean.jsonl"), "split": "all"}
    scale = args.sizes
    own = {"eval_rows": 0, "batch_size": scale.base_batch_size, "lr": scale.base_lr}
    return {**_demonstrations(args, scale.base_updates), **clean, **own}


def sft_settings(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Settings of the stage SFT proper: noisy demonstrations."""
    noisy = {"model": str(folder / "base" / "model"), "data": str(folder / "data" / "posts")}
    scale = args.sizes
    return {**_demonstrations(args, scale.sft_updates), **noisy, "eval_rows": scale.evaluation_prompts}


def _demonstrations(args: argparse.Namespace, updates: int) -> dict[str, Any]:
    return {
        "max_query_tokens": 96,
        "loss_on": "completion",  # the posts are random words: there is nothing to learn in them
        "batch_size": args.sizes.batch_size,
        "max_updates": updates,
        "lr": 1e-3,
        "warmup_updates": min(20, updates // 4),
        "max_grad_norm": 1.0,
        "report_every": max(1, updates // 10),
        "seed": args.seed,
    }


def reward_model_settings(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Settings of the stage RewardModel."""
    scale = args.sizes
    return {
        "model": str(folder / "sft" / "model"),
        "data": str(folder / "pairs" / "train.jsonl"),
        "split": "all",
        "eval_data": str(folder / "pairs" / "held_out.jsonl"),
        "eval_rows": scale.eval_pairs,
        "reference_data": str(folder / "data" / "posts"),
        "reference_rows": 4 * scale.eval_pairs,
        "max_query_tokens": 96,
        "batch_size": scale.rm_batch_size,
        "epochs": scale.rm_epochs,
        "lr": 5e-4,
        "warmup_updates": 20,
        "max_grad_norm": 1.0,
        "report_every": max(2, scale.pairs // 64),
        "seed": args.seed,
    }


def policy_settings(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Settings of PPO (or of RLOO in its place) against the proxy reward model."""
    scale = args.sizes
    settings = {
        "model": str(folder / "sft" / "model"),
        "engine": args.engine,
        "mode": args.mode,
        "total_updates": scale.updates,
        "prompts_per_minibatch": scale.prompts_per_minibatch,
        "max_prompt_tokens": 96,
        "max_new_tokens": scale.max_new_tokens,
        "temperature": 0.7,
        "missing_eos": "replace",
        "lr": 1e-4,
        "adam_eps": 1e-5,
        "evaluation_prompts": scale.evaluation_prompts,
    }
    if args.algorithm == "AsyncPPO":
        settings["value_model"] = str(folder / "reward_model" / "model")
        # The proxy's scores spread over some 2 units: with N+'s 0.05 the policy soon leaves what the proxy knows.
        settings["kl_coef"] = 0.2
    else:
        settings["samples_per_prompt"] = 2
    return {**settings, **args.set}


def build(args: argparse.Namespace, snapshots: int = 0) -> Any:
    """The pipeline, ready to run. ``args.sizes``, a ``Scale``, may be another one than that of the name."""
    from tuned_configs._rlhf_steps import Pipeline

    folder = Path(args.folder).expanduser().absolute()
    return Pipeline(
        folder=folder,
        scale=args.sizes,
        seed=args.seed,
        flip=args.flip,
        algorithm=args.algorithm,
        until=args.until,
        base=base_settings(args, folder),
        sft=sft_settings(args, folder),
        reward_model=reward_model_settings(args, folder),
        policy=policy_settings(args, folder),
        snapshots=snapshots,
    )


def main(argv: list[str] | None = None) -> int:
    """Run what is left to run, and print the result as one JSON line."""
    args = arguments(argv)
    folder = Path(args.folder).expanduser().absolute()
    if args.dry_run:
        stages = (base_settings, sft_settings, reward_model_settings, policy_settings)
        print(
            json.dumps(
                {stage.__name__.removesuffix("_settings"): stage(args, folder) for stage in stages}, indent=1
            )
        )
        return 0
    print(json.dumps(build(args).run()), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
