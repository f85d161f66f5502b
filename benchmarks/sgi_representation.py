"""What pretraining keeps and loses, read off the encoder by linear probes: positions in memory, and the action.

An encoder as it was drawn is a strong baseline (its flattened features show positions almost as well as pixels do), so
every figure is a difference to it. Minutes of random play are the weakest setting of SGI: what this shows is whether a
choice of losses destroys information, not how good pretraining is.

    drawn      the encoder as it was initialised, one of each seed
    S, SI, SGI the same encoder after ``--updates`` updates of ``--batch`` windows

Data: ``--steps`` of random play with kept actions, with the memory beside each frame (12,000 to fit and 3,000 to judge by
default). Probes: ridge regression on the flattened (3,136) and the pooled (64) latent, 300 and 2,000 labels, judged on
the last fifth of the data in time (`rllib_ext/sgi/pretraining/probing.py`).

    position_<arm>_<kind>_<labels>    mean R^2 over the positions of player, enemy and ball
    delta_<arm>_<kind>_<labels>       its difference to drawn, mean over seeds, with a 95 % interval of Student's t
    relative_<arm>                    S's loss over the distance of random pairs; spread_<arm>: their share of the first

    python -m benchmarks.sgi_representation [--quick] [--game Pong] [--seeds 3] [--updates 1000] [--encoder S]
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import student_interval  # noqa: E402

ARMS = ("S", "SI", "SGI")
LABELS = (300, 2000)
POSITIONS = ("_x", "_y")  # endings of the names of positions in `envs.atari_ram`


def learner_of(folder: Path, losses: str, seed: int, options: Any) -> Any:
    from rllib_ext.sgi.pretraining import SGIPretrainConfig

    config = SGIPretrainConfig().debugging(seed=seed, log_level="ERROR").training(
        data=str(folder), encoder=options.encoder, losses=losses, train_batch_size_per_learner=options.batch,
        updates_per_iteration=max(1, options.updates // 10),
    )  # fmt: skip
    config.validate()
    torch.manual_seed(seed)  # the encoder is drawn first: every arm of a seed begins from the same
    learner = config.get_default_learner_class()(config=config, module_spec=config.get_multi_rl_module_spec())
    learner.build()
    return learner


def update(learner: Any, updates: int) -> dict[str, float]:
    """The figures of the last tenth."""
    from ray.rllib.core import DEFAULT_MODULE_ID
    from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

    asked = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch({"updates": np.zeros(1)})}, env_steps=1)
    piece = learner.config.updates_per_iteration
    for _ in range(max(1, updates // piece)):
        steps = {"num_env_steps_sampled_lifetime": 0}
        found = learner.update(batch=asked, timesteps=steps, num_epochs=piece)[DEFAULT_MODULE_ID]
    return {name: float(stat.peek()) for name, stat in found.items()}


def probed(learner: Any, labels: tuple[int, ...]) -> dict[str, float]:
    """Mean R^2 of positions and the accuracy of actions, by kind of latent and number of labels."""
    from rllib_ext.sgi.pretraining.probing import probe, ram_of

    addresses = ram_of(learner.reader.stores[0].about["game"])
    places = {
        name: byte
        for name, byte in addresses.items()
        if name.endswith(POSITIONS) and not name.startswith("car")
    }
    actions = int(learner.networks.action_space.n)
    found = {}
    for count in labels:
        scores = probe(learner.networks.encoder, learner.reader, count, places, actions)
        for kind in ("flat", "pooled"):
            found[f"position_{kind}_{count}"] = float(np.mean([scores[f"{name}_{kind}"] for name in places]))
            found[f"action_{kind}_{count}"] = scores[f"action_{kind}"]
    return found


def measure(
    options: Any, seeds: int, steps: int, updates: int, labels: tuple[int, ...]
) -> list[dict[str, Any]]:
    from rllib_ext.frames.collect import collect

    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "frames"
        collect(folder, options.game, steps, seed=0, ram=True)
        for seed in range(seeds):
            for arm in ARMS:
                learner = learner_of(folder, arm, seed, options)
                if arm == ARMS[0]:
                    rows.append({"seed": seed, "arm": "drawn", **probed(learner, labels)})
                figures = update(learner, updates)
                rows.append({"seed": seed, "arm": arm, **probed(learner, labels), "spread": figures["spread_share"],
                             "relative": figures["self_prediction_relative"]})  # fmt: skip
                learner.stream.close()
                note(f"seed {seed}: {arm} {rows[-1]}")
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    keys = [key for key in rows[0] if key not in ("seed", "arm")]
    drawn = {row["seed"]: row for row in rows if row["arm"] == "drawn"}
    found: dict[str, Any] = {
        f"position_drawn_{key.removeprefix('position_')}": float(
            np.mean([row[key] for row in drawn.values()])
        )
        for key in keys
        if key.startswith("position_")
    }
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm]
        for key in keys:
            kind, _, rest = key.partition("_")
            name = f"delta_{arm}_{rest}" if kind == "position" else f"delta_action_{arm}_{rest}"
            found[name] = student_interval([row[key] - drawn[row["seed"]][key] for row in mine])
        for key in ("spread", "relative"):
            found[f"{key}_{arm}"] = float(np.mean([row[key] for row in mine]))
    return found


def main() -> int:
    warnings.simplefilter("ignore")
    options = arguments(
        __doc__, game="Pong", seeds=3, updates=1000, encoder="S", batch=64, steps=15_000
    ).parse_args()
    torch.set_num_threads(1)
    results = Results("sgi_representation", options)
    sizes = (1, 1200, 2, (300,)) if options.quick else (options.seeds, options.steps, options.updates, LABELS)
    rows = measure(options, *sizes)
    results.table(rows)
    results.close({**summary(rows), "game": options.game, "seeds": sizes[0], "updates": sizes[2]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
