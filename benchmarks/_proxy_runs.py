"""Runs cells of ``over_optimisation``: long runs of online DPO against a proxy that was learnt from few labels.

    python -m benchmarks._proxy_runs < cells.jsonl

The proxy starts at the SFT policy and learns from pairs that the gold rule labelled, a fifth of the labels turned round.
Learning sees the proxy alone. At every snapshot the policy is judged on the same held-out prompts twice: by the proxy,
and by the gold rule.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._in_process import workers_in_process  # noqa: E402
from benchmarks._offpolicy_plan import WIDTH, Cell  # noqa: E402
from benchmarks._offpolicy_runs import policy_of  # noqa: E402
from benchmarks._pieces import serve  # noqa: E402
from envs.text import ControlledTLDR, Reward, Sample  # noqa: E402
from envs.text.controlled import GoldReward  # noqa: E402

FLIP = 0.2
EPOCHS, BATCH, PROXY_LR = 4, 32, 1e-3
BETA = 0.02
HELD_OUT_PAIRS = 512
SNAPSHOTS = (0, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Long:
    """One run. pairs: labels that the proxy has seen; updates: the last snapshot."""

    pairs: int
    seed: int
    lr: float
    updates: int = SNAPSHOTS[-1]


class Judge(Reward):
    """The proxy, or the gold rule while ``gold`` is set. The switch is the class's: copies are switched with it."""

    name = "judge"
    gold = False

    def __init__(self, folder: str) -> None:
        from rllib_ext.llm.rewards import RewardModel

        self._proxy, self._gold = RewardModel(folder, name="proxy"), GoldReward()

    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        return (self._gold if Judge.gold else self._proxy).score(samples)


def proxy_of(cell: Long, folder: Path) -> tuple[str, float]:
    """The proxy's folder and its accuracy on held-out pairs with right labels."""
    from rllib_ext.llm.supervised import run_reward_model

    pairs = ControlledTLDR.preference_pairs(cell.pairs, 100 + cell.seed, flip=FLIP)
    report = run_reward_model(
        model_folder=policy_of(WIDTH), pairs=pairs, output_folder=folder / "proxy", seed=cell.seed, lr=PROXY_LR,
        epochs=EPOCHS, batch_size=BATCH, eval_pairs=ControlledTLDR.preference_pairs(HELD_OUT_PAIRS, 99),
        references=ControlledTLDR.demonstrations(HELD_OUT_PAIRS, 99),
    )  # fmt: skip
    return str(report.folder), float(report.accuracy)


def snapshot(algorithm: Any) -> dict[str, float]:
    """What both say about the policy on the held-out prompts."""
    proxy = algorithm.evaluate()["evaluation"]
    Judge.gold = True
    try:
        gold = algorithm.evaluate()["evaluation"]
    finally:
        Judge.gold = False
    return {
        "updates": algorithm.counters["updates"], "proxy": proxy["reward_mean"], "gold": gold["reward_mean"],
        "kl": gold["kl_ref"],
    }  # fmt: skip


def run(cell: Long) -> dict[str, Any]:
    """The proxy, a run against it, and a snapshot at each of ``SNAPSHOTS``."""
    from rllib_ext.registry import config_class

    same = Cell("n", "dpo", 1, cell.seed, cell.lr, updates=cell.updates)
    with tempfile.TemporaryDirectory(prefix="rllib-ext-proxy-") as name, workers_in_process():
        folder = Path(name)
        proxy, accuracy = proxy_of(cell, folder)
        config = config_class("AsyncOnlineDPO")()
        config.environment("ControlledTLDR", env_config={"size": 65536, "reward": Judge(proxy)})
        config.debugging(seed=cell.seed, log_level="ERROR").evaluation(evaluation_interval=None)
        settings = same.settings(policy_of(WIDTH)) | {
            "beta": BETA,
            "lr_schedule": "constant",
            "evaluation_prompts": 256,
        }
        config.training(**settings, run_folder=str(folder / "run"))
        algorithm = config.build_algo()
        try:
            curve = []
            for updates in [count for count in SNAPSHOTS if count <= cell.updates]:
                while algorithm.counters["updates"] < updates:
                    algorithm.train()
                curve.append(snapshot(algorithm))
        finally:
            algorithm.stop()
    return {**asdict(cell), "proxy_accuracy": accuracy, "curve": curve}


if __name__ == "__main__":
    sys.exit(serve(Long, run))
