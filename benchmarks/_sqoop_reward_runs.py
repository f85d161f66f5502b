"""Runs cells of the study of labels and rewards one after another and prints one JSON line for each.

python -m benchmarks._sqoop_reward_runs < cells.jsonl

Both losses see the same questions in the same order: a batch of independent ones, of `SqoopEnv`'s distribution. With
labels, the loss is the cross-entropy. With rewards, the model's two logits are a policy, an answer is drawn, the reward
is 1 where it is right, and the loss is REINFORCE's with the batch's mean reward as its baseline and a little entropy:

    -(r - mean r) log pi(a | scene) - .01 H(pi)
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from envs.sqoop import Scenes, SqoopGenerator  # noqa: E402
from rllib_ext.sqoop.encoders import build_encoder  # noqa: E402
from rllib_ext.sqoop.scenes import as_tensors, examinations  # noqa: E402

ENTROPY, EXAMINED = 0.01, 2048


@dataclass(frozen=True)
class Cell:
    """One run: a loss ("label" or "reward"), a module of the tree, a seed, and how it is trained."""

    loss: str
    module: str
    seed: int
    batch: int
    lr: float
    updates: int
    every: int


def questions(generator: SqoopGenerator, pairs: np.ndarray, num: int, rng: np.random.Generator) -> Scenes:
    """Independent ones: pair, relation and answer uniform."""
    pair, relation = rng.integers(0, len(pairs), num), rng.integers(0, 4, num)
    return generator.scenes_of(pairs[pair], relation, rng.integers(0, 2, num).astype(bool), rng, pair)


def loss_of(
    kind: str, logits_B2: torch.Tensor, answer_B: torch.Tensor, draw: torch.Generator
) -> torch.Tensor:
    """The mean loss of a batch. With rewards, the answers tell no more than whether the drawn one is right."""
    if kind == "label":
        return F.cross_entropy(logits_B2, answer_B)
    logps_B2 = logits_B2.log_softmax(dim=1)
    probs_B2 = logps_B2.exp()
    drawn_B = torch.multinomial(probs_B2.detach(), 1, generator=draw)[:, 0]
    reward_B = (drawn_B == answer_B).float()
    chosen_B = logps_B2.gather(1, drawn_B[:, None])[:, 0]
    entropy_B = -(probs_B2 * logps_B2).sum(dim=1)
    return -((reward_B - reward_B.mean()) * chosen_B + ENTROPY * entropy_B).mean()


@torch.no_grad()
def accuracy(model: torch.nn.Module, scenes: dict[str, torch.Tensor]) -> float:
    model.eval()
    parts = zip(scenes["image"].split(512), scenes["question"].split(512), strict=True)
    answers = torch.cat([model(image, question).argmax(dim=1) for image, question in parts])
    model.train()
    return float((answers == scenes["answer"]).float().mean())


def run(cell: Cell) -> dict[str, Any]:
    """Train it; accuracies on seen and unseen pairs along the way, by samples."""
    torch.manual_seed(cell.seed)
    generator = SqoopGenerator.preset("mini")
    pairs = generator.pairs(1, cell.seed)
    sets = examinations(generator, pairs, EXAMINED, cell.seed)
    model = build_encoder(
        {"module": cell.module, "image_shape": generator.shape, "vocabulary": generator.num_tokens}
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=cell.lr, fused=True)
    rng = np.random.default_rng(np.random.SeedSequence([cell.seed, 9]))
    draw = torch.Generator().manual_seed(cell.seed)
    curve, began = [], time.process_time()
    for update in range(1, cell.updates + 1):
        batch = as_tensors(questions(generator, pairs.train, cell.batch, rng))
        loss = loss_of(cell.loss, model(batch["image"], batch["question"]), batch["answer"], draw)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % cell.every == 0 or update == cell.updates:
            found = {name: accuracy(model, sets[name]) for name in ("seen", "unseen_test")}
            curve.append({"samples": update * cell.batch, **found})
    return {**asdict(cell), **curve[-1], "cpu_s": time.process_time() - began, "curve": curve}


def main() -> int:
    """Like `benchmarks._pieces.serve`, without a Ray session: nothing here needs one."""
    torch.set_num_threads(1)
    for cell in [Cell(**json.loads(line)) for line in sys.stdin if line.strip()]:
        print(json.dumps(run(cell)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
