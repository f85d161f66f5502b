"""Small CommonsenseKBC configs on the synthetic base, and their learners built in the test's own process, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from rllib_ext.commonsense import CommonsenseKBCConfig
from rllib_ext.commonsense.reading import write_tsv
from rllib_ext.commonsense.synthetic import synthetic_kb

SMALL: dict[str, Any] = {
    "synthetic_train": 1500, "synthetic_evaluation": 100, "word_size": 16, "hidden": 16, "embedding": "random",
    "train_batch_size_per_learner": 100, "updates_per_iteration": 5, "judge_every": 1,
}  # fmt: skip


def small(**settings: Any) -> CommonsenseKBCConfig:
    """A config that builds and learns in a moment."""
    config = CommonsenseKBCConfig().debugging(seed=3, log_level="ERROR")
    return config.training(**{**SMALL, **settings})


def learner_of(config: CommonsenseKBCConfig, seed: int = 0) -> Any:
    """A built learner of this config; its first weights come from ``seed``."""
    config.validate()
    torch.manual_seed(seed)
    learner = config.get_default_learner_class()(config=config, module_spec=config.get_multi_rl_module_spec())
    learner.build()
    return learner


def update(learner: Any, times: int = 1) -> dict[str, float]:
    """So many updates; the figures that the learner reports of them."""
    batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch({"updates": np.zeros(1)})}, env_steps=1)
    steps = {"num_env_steps_sampled_lifetime": 0}
    found = learner.update(batch=batch, timesteps=steps, num_epochs=times)[DEFAULT_MODULE_ID]
    return {name: float(stat.peek() if hasattr(stat, "peek") else stat) for name, stat in found.items()}


def weights(learner: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.scorer.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def folder_of_files(folder: Path, train: int = 800, evaluation: int = 60) -> Path:
    """A synthetic base as the published files are: four columns, positives first; two lines of train are no triples."""
    folder.mkdir(parents=True, exist_ok=True)
    base = synthetic_kb(7, train=train, evaluation=evaluation)
    texts = [base.train.text(index) for index in range(train)]
    path = write_tsv(folder / "train100k.txt", texts, np.linspace(3.5, 1.0, train).round(3).tolist())
    with open(path, "ab") as stream:
        stream.write(b"relation0\tonly a head\nrelation0\tdog\t\xff\t1\n")
    for name in ("dev1", "dev2", "test"):
        part = base.evaluated[name]
        rows = [part.text(index) for index in range(len(part))]
        write_tsv(folder / f"{name}.txt", rows, part.labels.astype(float).tolist())
    return folder
