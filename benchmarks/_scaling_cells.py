"""One cell of ``rlhf_scaling``: a model size and a seed, the whole chain from nothing, in a folder of its own.

The chain is ``tuned_configs/rlhf_pipeline.py`` with the Hugging Face engine, one thread and synchronous PPO, so a cell
that was killed goes on to the same figures, to the bit. A cell changes nothing but the width of policy, critic and proxy:
all sizes see the same posts, noise, number of updates and settings. The seed changes everything that is drawn.

Over-optimisation is looked for where there is little to stop it: a second PPO run from the same models with a weak tie to
the SFT model (``LOOSE``). Its snapshots, from the SFT model on, say what each policy's summaries are worth, at the
temperature that PPO trains at: to the proxy, to the gold rule, and how far it went (KL to the SFT model). A summary that
does not stop is worth -1 to both, as in training.

    python -m benchmarks._scaling_cells <folder> <hidden> <seed> [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._scaling_files import CELL  # noqa: E402
from rllib_ext.runtime.storage import replace as replace_file  # noqa: E402
from tuned_configs import rlhf_pipeline  # noqa: E402
from tuned_configs._rlhf_policy import reinforce, snapshot_folder, snapshot_updates  # noqa: E402
from tuned_configs._rlhf_steps import say  # noqa: E402
from tuned_configs._rlhf_table import MISSING_EOS, divergence, held_out, mean, standard_error  # noqa: E402

SNAPSHOTS = 8
LOOSE = {"kl_coef": 0.05, "lr": 3e-4}
THREADS = {"engine_threads": 1, "learner_threads": 1, "logp_probe": 0}


def pipeline_of(folder: Path, hidden: int, seed: int, quick: bool) -> Any:
    """The chain of one cell."""
    words = [
        "--scale",
        "tiny" if quick else "smoke",
        "--engine",
        "hf",
        "--seed",
        str(seed),
        "--folder",
        str(folder),
    ]
    args = rlhf_pipeline.arguments([*words, "--set", json.dumps(THREADS)])
    prompts = 16 if quick else 512
    args.sizes = replace(args.sizes, hidden=hidden, evaluation_prompts=prompts)
    return rlhf_pipeline.build(args)


def over_optimisation(pipeline: Any, stage: str) -> list[dict[str, float]]:
    """Proxy and gold reward against KL, from the SFT model to the last policy of ``stage``."""
    from envs.text.task import Sample, Task
    from rllib_ext.llm.rewards import RewardModel

    tasks = pipeline.demonstrations("validation", pipeline.scale.evaluation_prompts)
    proxy = RewardModel(pipeline.model_folder("reward_model"))
    total = pipeline.policy["total_updates"]
    stages = {0: "sft"} | {
        updates: str(snapshot_folder(Path(stage), updates))
        for updates in snapshot_updates(total, pipeline.snapshots)
    }
    rows = []
    for updates, place in stages.items():
        drawn = held_out(pipeline, place, tasks, pipeline.policy["temperature"])
        texts = [
            Sample(Task(str(task.index), task.prompt), item.text)
            for task, item in zip(tasks, drawn.found, strict=True)
        ]
        scores = [
            MISSING_EOS if not item.finished else score
            for item, score in zip(drawn.found, proxy.score(texts), strict=True)
            if score is not None
        ]
        kl, kl_se = divergence(pipeline, place, drawn)
        rows.append(
            {
                "updates": updates, "kl": kl, "kl_se": kl_se,
                "gold": mean(drawn.gold), "gold_se": standard_error(drawn.gold),
                "proxy": mean(scores), "proxy_se": standard_error(scores), "win_rate": mean(drawn.wins),
            }
        )  # fmt: skip
    return rows


def run_cell(folder: Path, hidden: int, seed: int, quick: bool) -> dict[str, Any]:
    """Whatever is left of the cell; its figures."""
    pipeline = pipeline_of(folder, hidden, seed, quick)
    table = pipeline.run()
    policy = {**pipeline.policy, **LOOSE}
    loose = replace(pipeline, policy=policy, snapshots=2 if quick else SNAPSHOTS)
    reinforce(loose, say, stage="ppo_loose")
    parameters = _parameters(pipeline.model_folder("sft"))
    found = {
        "hidden": hidden,
        "seed": seed,
        "parameters": parameters,
        **table,
        "curve": over_optimisation(loose, "ppo_loose"),
    }
    replace_file(folder / CELL, json.dumps(found, indent=1).encode())
    return found


def _parameters(folder: Path) -> int:
    from rllib_ext.llm.safety import open_causal_lm

    return sum(tensor.numel() for tensor in open_causal_lm(folder).parameters())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("hidden", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    run_cell(given.folder, given.hidden, given.seed, given.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
