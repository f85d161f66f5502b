"""Off-policyness: reward, win rate and KL over N, the mini-batches learnt from one generation round.

Every run takes the same number of optimizer updates, so a larger N means fewer generation rounds and older samples.
Beside N there are K (completions a prompt), T (passes over a mini-batch), max_staleness, the method and the model, each a
list of values; every combination is a trial, and one that cannot hold is left out and named. Source: "Asynchronous RLHF"
(arXiv 2410.18252), sections 3.2 to 4 and figure 4.

``--smoke`` needs nothing: it finetunes a small start on the controlled task and runs N in {1, 4} for 16 updates.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from ray.tune import Tuner

import rllib_ext
from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.registry import config_class
from rllib_ext.runtime.sweep import Sweep
from tuned_configs import _flags
from tuned_configs._any_method import AnyMethod
from tuned_configs._controlled_start import ENVIRONMENT, controlled_start
from tuned_configs._outcome import conclude
from tuned_configs._points import Points, listed

METHODS = ("AsyncOnlineDPO", "AsyncRLOO", "AsyncPPO", "BestOfN")
N_VALUES, SMOKE_N_VALUES = (1, 2, 4, 8, 16, 32, 64), (1, 4)
UPDATES, SMOKE_UPDATES = 256, 16
SMOKE_SIZE = 64  # 32 a head: the least that vLLM takes on a CPU
SMOKE: dict[str, Any] = {
    "prompts_per_minibatch": 32,
    "max_prompt_tokens": 40,
    "max_new_tokens": 10,
    "lr": 1e-3,
    "evaluation_prompts": 256,
    "logp_probe": 0,
    "kv_cache_gib": 0.25,
    "engine_threads": 1,
    "learner_threads": 1,
    "num_cpus_for_main_process": 0.5,  # two trials share two cores
    "num_cpus_per_env_runner": 0.5,
    "num_cpus_per_learner": 0.5,
}
# Axis -> the setting that it is; "none": the setting's own default.
AXES = {
    "algorithm": "algorithm",
    "model": "model",
    "n": "minibatches_per_generation",
    "t": "updates_per_minibatch",
    "k": "samples_per_prompt",
    "max_staleness": "max_staleness",
}
METRICS = (
    "num_updates_lifetime",
    "evaluation/reward_mean",
    "evaluation/win_rate",
    "evaluation/kl_ref",
    "staleness/mean",
    "staleness/max",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "offpolicyness",
        __doc__,
        samples="runs of every trial",
        smoke="a small start of its own, N in {1, 4}, 16 updates, one seed",
    )
    add = partial(parser.add_argument, nargs="+", metavar="VALUE")
    add("--algorithm", default=["AsyncOnlineDPO"], help=f"axis: {', '.join(METHODS)}")
    add("--model", default=[], help="axis: hub names or folders of SFT models")
    add(
        "--sizes",
        type=int,
        default=[],
        help=f"axis, with --smoke: widths of its starts; default: {SMOKE_SIZE}",
    )
    add("--n", type=int, default=[], help="axis: mini-batches a generation round")
    add("--k", type=int, default=[], help="axis: completions a prompt; default: the method's own")
    add("--t", type=int, default=[1], help="axis: passes over a mini-batch")
    add(
        "--max-staleness",
        default=["none"],
        help="axis: largest age in updates; none: the least that the mode can do",
    )
    parser.add_argument("--env", default=None, help="default: TLDR; with --smoke ControlledTLDR")
    parser.add_argument("--env-config", type=json.loads, default={}, help="JSON object")
    parser.add_argument(
        "--updates", type=int, default=None, help=f"default: {UPDATES}; with --smoke {SMOKE_UPDATES}"
    )
    return _checked(parser.parse_args(argv))


def _checked(args: argparse.Namespace) -> argparse.Namespace:
    """Defaults that depend on --smoke, and what argparse cannot refuse."""
    for name in args.algorithm:
        if name not in METHODS:
            raise unknown_name("--algorithm", name, METHODS)
    if not args.model and not args.smoke:
        raise BadConfig("no model: add --model <hub names or folders of SFT models>, or try --smoke")
    if args.sizes and (args.model or not args.smoke):
        raise BadConfig("--sizes are of the starts that --smoke makes; name models by --model")
    args.max_staleness = [_age(word) for word in args.max_staleness]
    args.updates = (SMOKE_UPDATES if args.smoke else UPDATES) if args.updates is None else args.updates
    values = SMOKE_N_VALUES if args.smoke else N_VALUES
    args.n = args.n or [n for n in values if n <= max(1, args.updates)]
    args.env = args.env or (ENVIRONMENT if args.smoke else "TLDR")
    if args.smoke and not args.model:
        args.sizes = args.sizes or [SMOKE_SIZE]
        args.model = [str(_starts(args) / f"llama-{size}") for size in args.sizes]
    return args


def _age(word: str) -> int | None:
    if word.lower() in ("none", "null"):
        return None
    if not word.isdigit():
        raise BadConfig(f"--max-staleness is {word!r}; it must be none or a number of updates")
    return int(word)


def _starts(args: argparse.Namespace) -> Path:
    return _flags.local_storage(args) / f"{args.name}-start"


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial. Trials are evaluated before their first update and after their last."""
    small = {**SMOKE, "engine": _flags.engine(), "env_config": {"size": 16384}} if args.smoke else {}
    return {
        **small,
        "env": args.env,
        **({"env_config": args.env_config} if args.env_config or not small else {}),
        "total_updates": args.updates,
        "evaluation_interval": args.updates,
        **args.set,
    }


def trials(args: argparse.Namespace) -> tuple[Points, list[str]]:
    """Every combination of the axes and seeds that can hold, and why the others cannot.

    Raises BadConfig where a value that was asked for is in no trial.
    """
    axes = {setting: getattr(args, axis) for axis, setting in AXES.items() if getattr(args, axis)}
    own = fixed(args)
    points, impossible = [], []
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        if why := _impossible(point, own):
            impossible.append((point, f"{_brief(point)}: {why}"))
        else:
            points += [{**point, "seed": seed} for seed in _flags.seeds(args)]
    for setting, values in axes.items() if points else ():
        for value in values:
            if all(point[setting] != value for point in points):
                why = next(why for point, why in impossible if point[setting] == value)
                raise BadConfig(f"{setting}={value!r} is in no trial that can run; {why}")
    if not points:
        raise BadConfig(f"no trial can run; {impossible[0][1]}")
    return points, [why for _, why in impossible]


def _impossible(point: dict[str, Any], own: dict[str, Any]) -> str | None:
    """Why such a trial cannot run; None where it can."""
    settings = {**own, **point}
    if settings["minibatches_per_generation"] > settings["total_updates"]:
        return f"N is larger than the number of updates ({settings['total_updates']})"
    config = config_class(settings.pop("algorithm"))()
    try:
        config.update_from_dict(settings).validate()
    except BadConfig as error:
        return str(error)
    return None


def _brief(point: dict[str, Any]) -> str:
    names = {setting: axis for axis, setting in AXES.items()}
    return " ".join(f"{names[setting]}={value}" for setting, value in point.items() if setting != "model")


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: nothing reported is lost, three further attempts each, an interrupted sweep continued."""
    rllib_ext.register()
    points, left_out = trials(args)
    for line in left_out:
        print(f"sweep: left out {line}", file=sys.stderr)
    for size in args.sizes:
        controlled_start(_starts(args), size)
    space, tune_config = listed(fixed(args), points, args.num_samples)
    sweep = Sweep(
        args.name,
        AnyMethod,
        space,
        storage=args.storage_path,
        tune=tune_config,
        verbose=0 if args.smoke else 1,
    )
    return sweep.tuner(must_exist=args.resume)


def main(argv: list[str] | None = None) -> int:
    """Run the sweep, print its table, draw it, and print one JSON line."""
    began, args = time.monotonic(), arguments(argv)
    if args.dry_run:
        points, left_out = trials(args)
        print(json.dumps({"fixed": fixed(args), "trials": points, "left_out": left_out}, indent=1))
        return 0
    with _flags.session(args):
        results = build(args).fit()
    knobs = [setting for axis, setting in AXES.items() if len(getattr(args, axis)) > 1 or axis == "n"]
    return conclude(args, results, began, knobs=[*knobs, "seed"], metrics=METRICS, x=AXES["n"])


if __name__ == "__main__":
    raise SystemExit(main())
