"""Knowledge-base completion over model, split and word vectors: how much of an accuracy is nearness to training?

Every combination of ``--scorer``, ``--split`` and ``--embedding`` is a trial with every seed. Seeds are of weights and
corruptions; the data have their own (``--set '{"data_seed": 1}'``), so that seeds are compared on one test set. Models
that are not trained run for one iteration, and with one seed where their vectors do not depend on it.

With ``--data <folder>`` (train100k.txt, dev1.txt, dev2.txt, test.txt, four columns) a trial is as published: 200
positives and three negatives for each an update, Adagrad 0.01, 30 epochs, weights selected by dev2, threshold from dev1.
Without it the synthetic base is learnt, whose ``novel`` triples are of pairs of types that training never shows.

Expect (random split, authors' notebook): Factorized .822, DNN .809, Prototypical .755 accuracy with their vectors, and
about ten points more on the confidence split. All models fall from the nearest third of the test set to the farthest:
read F1 beside the positive rate, and AUC.

Source: Jastrzębski et al. 2018 (arXiv 1804.09259), Li et al. 2016.
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from pathlib import Path
from typing import Any

from ray.tune import Tuner

from rllib_ext.commonsense.embeddings import PPMI_SVD, RANDOM
from rllib_ext.commonsense.knobs import SYNTHETIC
from rllib_ext.commonsense.scorers import MODELS, UNTRAINED
from rllib_ext.commonsense.splits import SPLITS
from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from tuned_configs import _flags
from tuned_configs._algorithm_sweep import require_valid, run, tuner
from tuned_configs._points import Points

PLAYED = ("factorized", "prototypical", "dnn", "bilinear", "argsim", "maxsim")
SMOKE_SCORERS = ("factorized", "prototypical", "maxsim")
EPOCHS = {True: 30, False: 10}  # of files, of the synthetic base
SMOKE: dict[str, Any] = {
    "synthetic_train": 2000,
    "synthetic_evaluation": 200,
    "hidden": 32,
    "word_size": 16,
    "updates_per_iteration": 10,
    "judge_every": 1,
}
UPDATES = "num_updates_lifetime"
THIRDS = ("near", "middle", "far")
METRICS = (
    UPDATES,
    "best/dev2/accuracy",
    *(f"best/test/{name}" for name in ("accuracy", "f1", "auc")),
    *(
        f"best/test/pooled_thirds/{third}/{name}"
        for name in ("auc", "f1", "positive_rate")
        for third in THIRDS
    ),
    *(f"best/test/positive_thirds/{third}/auc" for third in THIRDS),
    "best/novel/auc",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "commonsense",
        __doc__,
        samples="runs of every trial",
        smoke=f"{' '.join(SMOKE_SCORERS)}, random vectors, a small synthetic base, one epoch",
    )
    parser.add_argument("--data", default=SYNTHETIC, help="folder of the published files; default: synthetic")
    add = partial(parser.add_argument, nargs="+", metavar="VALUE")
    add("--scorer", default=None, choices=MODELS, help=f"axis: {', '.join(MODELS)}")
    add("--split", default=None, choices=SPLITS, help=f"axis: {', '.join(SPLITS)}; default: confidence random, of the "
        "synthetic base published")  # fmt: skip
    add("--embedding", default=None, help=f"axis: {PPMI_SVD}, {RANDOM}, or files of vectors")
    parser.add_argument("--epochs", type=float, default=None, help="passes over the training triples")
    args = parser.parse_args(argv)
    if args.epochs is not None and not args.epochs > 0:
        raise BadConfig(f"--epochs is {args.epochs}; it must be above 0")
    real = args.data != SYNTHETIC
    args.scorer = args.scorer or list(SMOKE_SCORERS if args.smoke else PLAYED)
    args.split = args.split or (["confidence", "random"] if real else ["published"])
    args.embedding = args.embedding or ([PPMI_SVD] if real else [RANDOM])
    args.embedding = [
        one if one in (PPMI_SVD, RANDOM) else str(Path(one).expanduser().absolute()) for one in args.embedding
    ]
    args.epochs = args.epochs or (1 if args.smoke else EPOCHS[real])
    return args


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial."""
    path = Path(args.data).expanduser()
    data = str(path.absolute()) if args.data != SYNTHETIC and path.exists() else args.data
    return {"data": data, **(SMOKE if args.smoke else {}), **args.set}


def trials(args: argparse.Namespace) -> Points:
    """Every combination, with every seed. Raises BadConfig where one cannot hold."""
    found = []
    for scorer, split, embedding in itertools.product(args.scorer, args.split, args.embedding):
        point = {"scorer": scorer, "split": split, "embedding": embedding}
        require_valid("CommonsenseKBC", fixed(args), [point], args)
        drawn = scorer not in UNTRAINED or embedding == RANDOM
        found += [{**point, "seed": seed} for seed in _flags.seeds(args)[: None if drawn else 1]]
    return found


def updates(args: argparse.Namespace) -> int:
    """How many a trained model takes: the epochs over the triples that there are, in whole iterations."""
    config = config_class("CommonsenseKBC")().update_from_dict({**fixed(args), "split": args.split[0]})
    triples = len(config.triples.base.train)
    steps = args.epochs * triples / config.train_batch_size_per_learner
    return config.updates_per_iteration * max(config.judge_every, round(steps / config.updates_per_iteration))


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: trials that stop after so many updates, an interrupted sweep continued."""
    own, count = fixed(args), updates(args)
    results = count // own.get("updates_per_iteration", 100)
    return tuner(args, "CommonsenseKBC", own, trials(args), {UPDATES: count}, results)


def main(argv: list[str] | None = None) -> int:
    """Run the sweep, print its table, draw it, and print one JSON line."""
    args = arguments(argv)
    plan = {"fixed": fixed(args), "stop": {UPDATES: updates(args)}, "trials": trials(args)}
    return run(args, plan, build, knobs=["scorer", "split", "embedding", "seed"], metrics=METRICS)


if __name__ == "__main__":
    raise SystemExit(main())
