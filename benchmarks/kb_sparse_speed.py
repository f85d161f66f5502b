"""Claim: an epoch of Factorized on 100,000 triples is at least 3 times as fast with sparse gradients of the word vectors
as with dense ones.

The learner of CommonsenseKBC as it is configured by default (words of 200 numbers, ``--hidden`` units, 200 positives and
three negatives for each, Adagrad), one thread; the only difference between the sides is ``sparse``. Without ``--data``
the triples are made up to have the sizes of the published ones: 100,000 triples, 21,457 words with frequencies that fall
as 1/rank, 34 relations, heads of 1 to 4 words and tails of 1 to 5. Sides take turns in this process, a turn is a part of
an epoch, and an epoch's time is the sum of its turns.

    ratio          CPU seconds of an epoch, dense over sparse; median over epochs, bootstrap 95 % interval
    sparse_epoch_cpu_s, dense_epoch_cpu_s

A turn is invalid where wall over CPU is above 1.2, and is counted.

    python -m benchmarks.kb_sparse_speed [--quick] [--epochs 3] [--turns 10] [--hidden 1000] [--data folder]
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks._load import BUSY_LIMIT  # noqa: E402
from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import bootstrap_interval, median  # noqa: E402

TARGET = 3.0
TRIPLES, WORDS, RELATIONS = 100_000, 21_457, 34
SIDES = {"sparse": True, "dense": False}


def written(folder: Path) -> Path:
    """Made-up files of the published form and size."""
    draw = np.random.default_rng(0)
    chance = 1.0 / np.arange(1, WORDS + 1)
    ids = draw.choice(WORDS, size=(TRIPLES, 9), p=chance / chance.sum())
    # Every word once, in places that every phrase has.
    every = draw.permutation(WORDS)
    ids[:WORDS, 0] = every
    lengths = draw.choice([1, 2, 3, 4], TRIPLES, p=[0.5, 0.33, 0.12, 0.05])
    ends = draw.choice([1, 2, 3, 4, 5], TRIPLES, p=[0.3, 0.3, 0.2, 0.12, 0.08])
    relations = draw.integers(RELATIONS, size=TRIPLES)
    folder.mkdir(parents=True)
    lines = []
    for row, relation, head, tail in zip(ids, relations, lengths, ends, strict=True):
        phrase, end = (" ".join(f"w{word}" for word in part) for part in (row[:head], row[4 : 4 + tail]))
        lines.append(f"r{relation}\t{phrase}\t{end}\t1\n")
    (folder / "train100k.txt").write_text("".join(lines))
    for name in ("dev1", "dev2", "test"):
        pairs = [line.rpartition("\t")[0] + f"\t{label}\n" for line in lines[:100] for label in (1, 0)]
        (folder / f"{name}.txt").write_text("".join(pairs))
    return folder


def learner(folder: Path, sparse: bool, hidden: int = 1000) -> Any:
    from rllib_ext.commonsense import CommonsenseKBCConfig

    config = CommonsenseKBCConfig().debugging(seed=0, log_level="ERROR").training(
        data=str(folder), embedding="random", sparse=sparse, hidden=hidden
    )  # fmt: skip
    config.validate()
    torch.manual_seed(0)
    made = config.get_default_learner_class()(config=config, module_spec=config.get_multi_rl_module_spec())
    made.build()
    return made


def turn(made: Any, updates: int) -> dict[str, Any]:
    from ray.rllib.core import DEFAULT_MODULE_ID
    from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

    asked = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch({"updates": np.zeros(1)})}, env_steps=1)
    cpu, wall = time.process_time(), time.perf_counter()
    found = made.update(batch=asked, timesteps={"num_env_steps_sampled_lifetime": 0}, num_epochs=updates)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    loss = float(found[DEFAULT_MODULE_ID]["bce_loss"].peek())
    return {
        "updates": updates,
        "cpu_s": cpu,
        "wall_s": wall,
        "valid": wall <= BUSY_LIMIT * cpu,
        "bce_loss": loss,
    }


def measure(options: Any) -> list[dict[str, Any]]:
    """Turns of both sides, in alternation."""
    torch.set_num_threads(1)
    epochs, turns = (1, 2) if options.quick else (options.epochs, options.turns)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(options.data) if options.data else written(Path(place) / "triples")
        made = {name: learner(folder, sparse, options.hidden) for name, sparse in SIDES.items()}
        whole = made["sparse"].updates_per_epoch
        updates = 10 if options.quick else -(-whole // turns)
        rows = []
        for epoch in range(epochs):
            for index in range(turns):
                order = list(SIDES) if (epoch + index) % 2 else list(SIDES)[::-1]
                for name in order:
                    rows.append({"epoch": epoch, "turn": index, "side": name, **turn(made[name], updates)})
            note(
                f"epoch {epoch}: " + ", ".join(f"{name} {seconds(rows, name, epoch):.1f} s" for name in SIDES)
            )
        for row in rows:
            row["epoch_share"] = row["updates"] / whole
    return rows


def seconds(rows: list[dict[str, Any]], side: str, epoch: int) -> float:
    return sum(row["cpu_s"] for row in rows if (row["side"], row["epoch"]) == (side, epoch))


def main() -> int:
    warnings.simplefilter("ignore")
    options = arguments(__doc__, epochs=3, turns=10, hidden=1000, data="").parse_args()
    results = Results("kb_sparse_speed", options)
    rows = measure(options)
    epochs = sorted({row["epoch"] for row in rows})
    share = sum(row["epoch_share"] for row in rows if (row["side"], row["epoch"]) == ("sparse", 0))
    times = {name: [seconds(rows, name, epoch) / share for epoch in epochs] for name in SIDES}
    ratios = [dense / sparse for dense, sparse in zip(times["dense"], times["sparse"], strict=True)]
    found: dict[str, Any] = {"ratio": median(ratios), "ratio_interval": bootstrap_interval(ratios)}
    found |= {f"{name}_epoch_cpu_s": median(each) for name, each in times.items()}
    found |= {
        "hidden": options.hidden,
        "epochs": len(epochs),
        "invalid": sum(not row["valid"] for row in rows),
        "target": TARGET,
        "reached": found["ratio"] >= TARGET,
    }
    results.table(rows)
    rates = {
        name: [row["updates"] * 200 / row["cpu_s"] for row in rows if row["side"] == name] for name in SIDES
    }
    shown = {name: (median(each), bootstrap_interval(each)) for name, each in rates.items()}
    results.figure(rate_figure("Factorized, positives per CPU second", "100,000 triples, one thread", shown))
    results.close(found)
    return int(not found["reached"] and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
