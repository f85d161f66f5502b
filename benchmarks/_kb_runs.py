"""One cell of kb_novelty: a scorer of triples, trained in this process by the package's own learner, and judged."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks._pieces import serve  # noqa: E402

FOLDER = "RLLIB_EXT_KB_FOLDER"


@dataclass(frozen=True)
class Cell:
    """data: "synthetic", or "folder": that of the environment variable `FOLDER`, whose path is no part of a result. kind:
    the synthetic rule, or the split of the folder.
    """

    data: str
    kind: str
    scorer: str
    embedding: str
    epochs: int
    size: int
    hidden: int
    train: int
    evaluation: int
    seed: int


def config_of(cell: Cell) -> Any:
    from rllib_ext.commonsense import CommonsenseKBCConfig

    config = CommonsenseKBCConfig().debugging(seed=cell.seed, log_level="ERROR")
    own = {
        "data": cell.data if cell.data == "synthetic" else os.environ[FOLDER],
        "scorer": cell.scorer,
        "embedding": cell.embedding,
        "word_size": cell.size,
        "hidden": cell.hidden,
    }
    if cell.data == "synthetic":
        own |= {
            "synthetic_rule": cell.kind,
            "synthetic_train": cell.train,
            "synthetic_evaluation": cell.evaluation,
        }
        own |= {"data_seed": cell.seed, "train_batch_size_per_learner": 100}
    else:
        own |= {"split": cell.kind, "data_seed": 0}  # one test set for all seeds
    return config.training(**own)


def run(cell: Cell) -> dict[str, Any]:
    """The cell's values, and every figure of the weights that dev2 has selected, with CPU seconds."""
    from ray.rllib.core import DEFAULT_MODULE_ID
    from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

    from rllib_ext.commonsense.scorers import UNTRAINED

    config = config_of(cell)
    config.validate()
    torch.manual_seed(cell.seed)
    start = time.process_time()
    learner = config.get_default_learner_class()(config=config, module_spec=config.get_multi_rl_module_spec())
    learner.build()
    batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch({"updates": np.zeros(1)})}, env_steps=1)
    epochs = 0 if cell.scorer in UNTRAINED else cell.epochs
    for _ in range(epochs):
        steps = {"num_env_steps_sampled_lifetime": 0}
        learner.update(batch=batch, timesteps=steps, num_epochs=learner.updates_per_epoch)
        learner.judge_now()
    found = learner.judge_now()["best"]
    return {**asdict(cell), "figures": found, "cpu_s": time.process_time() - start}


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(serve(Cell, run, contextlib.nullcontext))
