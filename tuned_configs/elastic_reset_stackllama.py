"""Elastic Reset on StackLLaMA: technical answers by a 7B model with adapters, at the settings of the released recipe.

Three stages, of which this sweep is the last; the first two are ``rllib-ext train SFT`` and ``RewardModel`` on local
files in the columns of ``lvwerra/stack-exchange-paired``. Sweeps beta of the KL penalty for PPO (0.2 is StackLLaMA's,
0.02 the authors'), and beta, period and decay for Elastic Reset. Judged on ``data/evaluation`` ("test"): mean score of
the reward model, and perplexity of 4,000 human answers under the policy (windows of 1,024, stride 512).

    batch 8 prompts, 4 inner epochs of one update each; 600 batches, hence 2,400 updates
    an EMA tick an inner epoch with eta 0.995; resets after batch 260 and 520, where 0.995^1040 = 0.005 of the average is
    still the initial weights (the second cycle's too); LoRA tensors alone are averaged and reset

What differs from the release. Its inner loop stops early where the KL of an update passes 0.15; here all four passes are
made. Completions are at most 128 tokens and may end before; the release drew a length in 32 to 128 and forbade EOS. Its
value head sits on the policy; here the critic is a model of its own, which ``value_model`` may make smaller. LoRA has no
dropout, weights are not in 8 bits. Judge and training reward are one model unless ``--judge-model`` names another.

Not built: the HumanEval evaluation of the paper, which runs code that the model wrote. The models and the data of the hub
were not run here: the settings, the data format and ``--smoke`` (a random model of 30,000 parameters) are tested.

Sources: Elastic Reset (arXiv 2312.07551) and its StackLLaMA code; StackLLaMA (Beeching et al. 2023).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ray.tune import Tuner

from tuned_configs import _elastic_sweep, _flags, _stack_smoke

EPOCHS, BATCHES = 4, 600
STACKLLAMA = {
    "samples_per_prompt": 1, "prompts_per_minibatch": 8, "updates_per_minibatch": EPOCHS, "mode": "sync",
    "gradient_accumulation": 8, "max_prompt_tokens": 511, "prompt_overflow": "drop", "max_new_tokens": 128,
    "missing_eos": "keep", "temperature": 1.0, "lora_rank": 16, "lora_alpha": 32.0, "dtype": "bfloat16",
    "engine_dtype": "bfloat16", "lr": 1.41e-5, "lr_schedule": "constant", "gamma": 1.0, "gae_lambda": 0.95, "clip": 0.2,
    "value_clip": 0.2, "value_coef": 0.1, "total_updates": EPOCHS * BATCHES, "kl_controller": "trl",
    "kl_beta_target": 6.0, "kl_beta_horizon": 10_000.0, "ema_unit": "inner_epoch", "reset_unit": "iteration",
    "evaluation_interval": 20, "evaluation_split": "test", "evaluation_prompts": 64, "evaluation_temperature": 1.0,
    "drift_tokens": 1_000_000,
}  # fmt: skip
ELASTIC = {"ema_decay": 0.995, "reset_every": 260, "kl_beta": 0.02}
PPO = {"variant": "none", "kl_beta": 0.2}
SWEEPS: dict[str, dict[str, list[Any]]] = {
    "kl_penalty": {"kl_beta": [0.0, 0.005, 0.02, 0.2]},
    "elastic_reset": {"kl_beta": [0.005, 0.02], "reset_every": [150, 260], "ema_decay": [0.99, 0.995, 0.999]},
    "ema_only": {"kl_beta": [0.005, 0.02]},
    "reset_to_init": {"kl_beta": [0.005, 0.02]},
}
SMOKE = {
    "total_updates": 8, "updates_per_minibatch": 2, "prompts_per_minibatch": 4, "gradient_accumulation": 1,
    "reset_every": 2, "engine": "hf", "dtype": "float32", "engine_dtype": "float32", "lora_rank": 2,
    "max_prompt_tokens": 96,
    "max_new_tokens": 8, "evaluation_interval": 1, "evaluation_prompts": 4, "drift_tokens": 256,
}  # fmt: skip


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "elastic_reset_stackllama",
        __doc__,
        samples="runs of every point of the grid and seed",
        smoke="four batches of a random model, one seed, ROUGE-L as the reward",
    )
    parser.set_defaults(name=None, seeds=1)
    parser.add_argument("--method", default="elastic_reset", choices=sorted(SWEEPS))
    parser.add_argument("--fixed", action="store_true", help="the released values alone, without a grid")
    parser.add_argument("--model", default=None, help="hub name or folder of the SFT model, adapters merged")
    parser.add_argument(
        "--reward-model", default=None, help="folder of the reward model; its raw logit is paid"
    )
    parser.add_argument(
        "--judge-model", default=None, help="reward model of evaluations; none: the one that pays"
    )
    parser.add_argument(
        "--data", default=None, help="local copy, or file in the published columns; none: the hub's"
    )
    args = parser.parse_args(argv)
    if not (args.smoke or args.dry_run) and not (args.model and args.reward_model):
        parser.error(
            "--model and --reward-model are needed: what the SFT and reward-model stages made (see the module)"
        )
    args.name = args.name or f"elastic_reset_stackllama_{args.method}"
    return args


def space(args: argparse.Namespace) -> dict[str, Any]:
    """The trials' settings: fixed ones, the method's own, and the grid over its knobs and the seeds."""
    own = PPO if args.method == "kl_penalty" else {**ELASTIC, "variant": args.method}
    if args.method == "ema_only":
        own |= {"evaluate_with": "ema", "export": "ema"}
    grid = {} if args.fixed or args.smoke else SWEEPS[args.method]
    judges = {"reward_model": args.reward_model, "judge_model": args.judge_model}
    return {
        "env": "StackExchangeByModel",
        "env_config": judges
        | ({"data": args.data} if args.data else {})
        | ({} if args.smoke else {"max_rows": 100_000}),
        "model": args.model,
        **STACKLLAMA,
        **own,
        **(SMOKE if args.smoke else {}),
        **args.set,
        **{name: {"grid_search": values} for name, values in grid.items()},
        "seed": {"grid_search": _flags.seeds(args)},
    }


def stack_exchange(settings: dict[str, Any]) -> Any:
    """StackExchange with its reward made where the worker is: the model that pays, or on "test" the one that judges."""
    from envs.text import StackExchange

    settings = dict(settings)
    pays, judges = settings.pop("reward_model"), settings.pop("judge_model")
    folder = judges if judges and settings.get("split") == "test" else pays
    if folder is None:
        return StackExchange(**settings)
    from rllib_ext.llm.rewards import RewardModel

    return StackExchange(reward=RewardModel(folder), **settings)


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner over the method's grid."""
    if args.smoke:
        folder = Path(args.storage_path).expanduser().absolute() / f"{args.name}-smoke"
        args.data = args.data or str(_stack_smoke.rows_in(folder))
        args.model = args.model or str(_stack_smoke.model_in(folder, args.data))
    return _elastic_sweep.tuner(args, space(args), stack_exchange)


def main(argv: list[str] | None = None) -> int:
    """Run the sweep and print its table."""
    return _elastic_sweep.run(arguments(argv), space, build)


if __name__ == "__main__":
    raise SystemExit(main())
