"""SGI pretraining over encoder size and losses, for the kinds of data of the paper.

Every combination of ``--encoder`` and ``--losses`` is a trial with every seed. ``--kind`` says what the data are, and so
how long the paper trains on them:

R     random play with kept actions                  3 million frames, 20 epochs      `rllib-ext frames collect`
W     checkpoint 1 of all five runs of DQN Replay    5 million, 20 epochs             `rllib-ext frames import`
E     an exploring agent's                           3 to 6 million, 10 epochs        recorded with a policy of one's own
M     checkpoints 1, 25, 50 of run 1 of DQN Replay   3 million, 20 epochs             `rllib-ext frames import`
ML    checkpoints 1, 5, 10, 15, 20, 25 of run 1      6 million, 10 epochs, for L      `rllib-ext frames import`

The updates follow from the rows that are there, 256 windows each. Epochs of R and E are not said in the released scripts:
those of M and of ML, which are of the same size. Each Tune checkpoint holds the pretrained folder that SGIRainbow begins
from (``pretrained``). The last table has each trial's losses, spread and probes.

Source: the released scripts of SGI (Schwarzer et al. 2021).
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from pathlib import Path
from typing import Any

from ray.tune import Tuner

from rllib_ext.errors import BadConfig
from rllib_ext.frames.layout import DATASET, read_dataset
from rllib_ext.registry import config_class
from rllib_ext.sgi.encoders import SIZES
from tuned_configs import _flags
from tuned_configs._algorithm_sweep import checked, run, tuner
from tuned_configs._points import Points

EPOCHS = {"R": 20, "W": 20, "E": 10, "M": 20, "ML": 10}
ENCODER = {"ML": "L"}  # of a kind of data; M otherwise
LOSSES = ("SGI", "SI", "GI", "SG", "S", "G", "I")
SMOKE_STEPS, SMOKE_GAME = 2000, "Pong"
SMOKE: dict[str, Any] = {
    "updates_per_iteration": 4,
    "train_batch_size_per_learner": 16,
    "hidden": 64,
    "probe_every": 2,
    "probe_samples": 256,
}
SMOKE_UPDATES = 8
UPDATES = "num_updates_lifetime"
LEARNT = "learners/default_policy/"
METRICS = (
    UPDATES,
    *(f"{LEARNT}{name}_loss" for name in ("self_prediction", "goal", "inverse")),
    f"{LEARNT}inverse_accuracy",
    f"{LEARNT}spread_share",
    f"{LEARNT}effective_rank",
    "probes/action_pooled",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "sgi_pretrain",
        __doc__,
        samples="runs of every trial",
        smoke=f"encoder S, three losses, {SMOKE_STEPS} random frames of {SMOKE_GAME}, {SMOKE_UPDATES} updates",
    )
    parser.add_argument("--data", default=None, help="folders of frames of one game, with commas between")
    parser.add_argument("--kind", default="M", choices=EPOCHS, help="what the data are; default: M")
    add = partial(parser.add_argument, nargs="+", metavar="VALUE")
    add("--encoder", default=None, choices=SIZES, help=f"axis: {', '.join(SIZES)}; default: the kind's")
    add("--losses", default=None, choices=LOSSES, help="axis; default: SGI, with --smoke SGI SI S")
    parser.add_argument(
        "--epochs", type=float, default=None, help="passes over the data; default: the kind's"
    )
    args = parser.parse_args(argv)
    if args.data is None and not args.smoke:
        raise BadConfig(
            "--data is not given: name a folder of frames (rllib-ext frames collect, import), or try --smoke"
        )
    if args.epochs is not None and not args.epochs > 0:
        raise BadConfig(f"--epochs is {args.epochs}; it must be above 0")
    args.encoder = args.encoder or ["S" if args.smoke else ENCODER.get(args.kind, "M")]
    args.losses = args.losses or (["SGI", "SI", "S"] if args.smoke else ["SGI"])
    return args


def folders(args: argparse.Namespace) -> str:
    """Absolute, because trials run elsewhere."""
    if args.data is None:
        return str(_flags.local_storage(args) / f"{args.name}-frames")
    return ",".join(str(Path(part.strip()).expanduser().absolute()) for part in args.data.split(","))


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial."""
    return {"data": folders(args), **(SMOKE if args.smoke else {}), **args.set}


def updates(args: argparse.Namespace) -> int:
    """How many a trial takes: the epochs over the rows that there are."""
    if args.smoke:
        return SMOKE_UPDATES
    own = config_class("SGIPretrain")().update_from_dict(fixed(args))
    rows = sum(read_dataset(folder).rows for folder in own.folders)
    epochs = EPOCHS[args.kind] if args.epochs is None else args.epochs
    return max(1, round(epochs * rows / own.train_batch_size_per_learner))


def trials(args: argparse.Namespace) -> Points:
    """Every combination, with every seed. Raises BadConfig where one cannot hold."""
    found = [{"encoder": e, "losses": losses} for e, losses in itertools.product(args.encoder, args.losses)]
    return checked("SGIPretrain", fixed(args), found, args)


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: trials that stop after so many iterations, an interrupted sweep continued."""
    _record(args)
    own, count = fixed(args), updates(args)
    results = count // own.get("updates_per_iteration", 100)
    return tuner(args, "SGIPretrain", own, trials(args), {UPDATES: count}, results)


def _record(args: argparse.Namespace) -> None:
    """The frames of a smoke run that names none."""
    if args.data is None and not (Path(folders(args)) / DATASET).exists():
        from rllib_ext.frames.collect import collect

        collect(folders(args), SMOKE_GAME, SMOKE_STEPS, seed=0, ram=True)


def main(argv: list[str] | None = None) -> int:
    """Run the sweep, print its table, draw it, and print one JSON line."""
    args = arguments(argv)
    plan = {"fixed": fixed(args), "stop": {UPDATES: updates(args)}, "trials": trials(args)}
    return run(args, plan, build, knobs=["encoder", "losses", "seed"], metrics=METRICS)


if __name__ == "__main__":
    raise SystemExit(main())
