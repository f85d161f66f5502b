"""SQOOP over models and #rhs/lhs (``--study models``), or over what a module network finds of its layout (``induction``).

models      model x #rhs/lhs x seed: how systematically each answers for pairs it never trained. ``tree``, ``chain`` and
            ``shortcut`` are module networks of residual modules, ``tree-find`` of Find modules; ``relnet-linear`` is the
            released RelNet, ``blind`` reads the question alone (the negative control)
induction   p0 x #rhs/lhs x module x seed: does a mixture of tree and chain become a tree? Watch p_tree; ``attention`` is
            the tree of Find modules that learns which word writes which module

Every model stays at a loss of ln 2 for hundreds of updates and leaves it at once, later where #rhs/lhs is higher, so an
early loss says nothing of a trial. Trials run to their end, or with ``--asha`` at least ``--grace`` updates (1,600 for
mini, twice the tree's escape) before one is stopped.

Source: Bahdanau et al. 2019 (arXiv 1811.12889). At ``--preset paper`` a trial of 50,000 to 500,000 updates needs a GPU.
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from typing import Any

from ray.tune import Tuner
from ray.tune.schedulers import ASHAScheduler

from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from rllib_ext.sqoop.sizes import SIZES, recipe
from tuned_configs import _flags
from tuned_configs._algorithm_sweep import checked, run, tuner
from tuned_configs._points import Points

UPDATES = "num_updates_lifetime"
SEEN = "acc_seen"
MODELS: dict[str, dict[str, Any]] = {
    "tree": {"encoder": "nmn", "layout": "tree"},
    "tree-find": {"encoder": "nmn", "layout": "tree", "module": "find"},
    "chain": {"encoder": "nmn", "layout": "chain"},
    "shortcut": {"encoder": "nmn", "layout": "chain_shortcut"},
    "film": {"encoder": "film"},
    "mac": {"encoder": "mac"},
    "relnet": {"encoder": "relnet"},
    "relnet-linear": {"encoder": "relnet", "relation_activation": "linear"},
    "conv_rnn": {"encoder": "conv_rnn"},
    "blind": {"encoder": "question_only"},
}
ATTENTION = {"encoder": "nmn", "layout": "tree", "module": "find", "alpha": "learned"}
AXES = (
    "encoder",
    "layout",
    "module",
    "alpha",
    "p0",
    "relation_activation",
)  # settings that tell trials apart
GRACE = {"mini": 1_600, "paper": 20_000}  # updates: twice the escape of the tree at least
SMOKE: dict[str, Any] = {
    "updates_per_iteration": 10,
    "train_scenes": 1024,
    "eval_scenes": 128,
    "evaluate_every": 1,
}
SMOKE_UPDATES = 20
METRICS = (
    UPDATES,
    SEEN,
    "acc_unseen_val",
    "acc_unseen_test",
    "escape_step",
    "p_tree",
    "alpha_entropy",
    "cpu_seconds",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "sqoop",
        __doc__,
        samples="runs of every trial",
        smoke=f"tree and chain (or p0 .5), one #rhs/lhs, {SMOKE_UPDATES} updates",
    )
    parser.add_argument("--study", default="models", choices=("models", "induction"), help="default: models")
    parser.add_argument("--preset", default="mini", choices=SIZES, help="of data and models; default: mini")
    add = partial(parser.add_argument, nargs="+", metavar="VALUE")
    add("--models", default=None, choices=MODELS, help=f"axis: {', '.join(MODELS)}; default: all")
    add("--rhs", type=int, default=None, help="axis: #rhs/lhs; default: 1 2 4, of paper 1 2 4 8 18 35")
    add("--p0", type=float, default=None, help="axis of induction: p(tree) at first; default: .1 .5 .9")
    add("--modules", default=None, choices=("residual", "find"), help="axis of induction; default: both")
    parser.add_argument("--updates", type=int, default=None, help="of a trial; default: each model's recipe")
    parser.add_argument("--asha", action="store_true", help="stop trials early whose seen pairs lag behind")
    parser.add_argument("--grace", type=int, default=None, help="updates that every trial has with --asha")
    args = parser.parse_args(argv)
    for name in ("models", "p0", "modules"):
        wrong = args.study == "induction" if name == "models" else args.study == "models"
        if getattr(args, name) is not None and wrong:
            raise BadConfig(f"--{name} is no axis of --study {args.study}")
    for name in ("updates", "grace"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise BadConfig(f"--{name} is {getattr(args, name)}; it must be 1 or more")
    args.rhs = args.rhs or (
        [1] if args.smoke else [1, 2, 4] if args.preset == "mini" else [1, 2, 4, 8, 18, 35]
    )
    return args


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial."""
    return {"preset": args.preset, **(SMOKE if args.smoke else {}), **args.set}


def kinds(args: argparse.Namespace) -> Points:
    """What is trained, without #rhs/lhs and seed."""
    if args.study == "models":
        return [MODELS[name] for name in args.models or (["tree", "chain"] if args.smoke else MODELS)]
    p0s = args.p0 or ([0.5] if args.smoke else [0.1, 0.5, 0.9])
    modules = args.modules or (["residual"] if args.smoke else ["residual", "find"])
    found = [
        {"encoder": "nmn", "layout": "stochastic", "module": module, "p0": p0}
        for p0, module in itertools.product(p0s, modules)
    ]
    return found if args.smoke or "find" not in modules else [*found, ATTENTION]


def trials(args: argparse.Namespace) -> Points:
    """Every combination, with every seed and its length. Raises BadConfig where one cannot hold."""
    defaults = config_class("SQOOP")()
    found = []
    for kind, rhs in itertools.product(kinds(args), args.rhs):
        point = {name: getattr(defaults, name) for name in AXES} | kind | {"rhs_per_lhs": rhs}
        found.append(point)
    return checked("SQOOP", fixed(args), found, args)


def updates(args: argparse.Namespace) -> int:
    """Of a trial: as asked, or the longest recipe among the trials, so that one stop holds for all."""
    if args.updates or args.smoke:
        return args.updates or SMOKE_UPDATES
    return max(
        recipe(
            kind["encoder"],
            args.preset,
            module=kind.get("module", "residual"),
            layout=kind.get("layout", "tree"),
        ).updates
        for kind in kinds(args)
    )


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: trials that stop after so many updates, an interrupted sweep continued."""
    own, count = fixed(args), updates(args)
    scheduler = _asha(args.grace or GRACE[args.preset], count) if args.asha else None
    results = count // own.get("updates_per_iteration", 100)
    return tuner(args, "SQOOP", own, trials(args), {UPDATES: count}, results, scheduler)


def _asha(grace: int, count: int) -> ASHAScheduler:
    """Half of the trials stop at ``grace`` updates, then at twice that; the seen pairs decide, never the unseen ones."""
    if grace >= count:
        raise BadConfig(
            f"--grace is {grace} and a trial has {count} updates: nothing could be stopped; lower it"
        )
    return ASHAScheduler(
        time_attr=UPDATES, metric=SEEN, mode="max", grace_period=grace, max_t=count, reduction_factor=2
    )


def main(argv: list[str] | None = None) -> int:
    """Run the sweep, print its table, draw it, and print one JSON line."""
    args = arguments(argv)
    told = ("encoder", "layout", "module", *(("p0",) if args.study == "induction" else ()))
    plan = {"fixed": fixed(args), "stop": {UPDATES: updates(args)}, "trials": trials(args)}
    return run(args, plan, build, knobs=[*told, "rhs_per_lhs", "seed"], metrics=METRICS, x="rhs_per_lhs")


if __name__ == "__main__":
    raise SystemExit(main())
