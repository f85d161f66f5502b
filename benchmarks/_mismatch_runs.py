"""Runs cells of ``sampling_mismatch``: the sampler and the learner disagree about log-probabilities, in a known way.

    python -m benchmarks._mismatch_runs < cells.jsonl

noise        what the engine samples from is softmax(log pi + sigma e), e ~ N(0, 1) drawn anew for every token of the
             vocabulary at every step: an engine that rounds. It reports the log-probability that it sampled with.
             The learner uses its own (``old_logps="recompute"`` in PPO), and the weight min(pi / mu, 2), or not.
temperature  the learner's log-probabilities are at temperature 1, while 0.7 is sampled from
ties         a pair whose scores are equal is kept, in the order in which it was sampled, instead of dropped
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

from benchmarks._session import quiet_process

quiet_process()

import torch  # noqa: E402

from benchmarks._offpolicy_plan import UPDATES, WIDTH, Cell  # noqa: E402
from benchmarks._offpolicy_runs import judged, policy_of, trained  # noqa: E402
from benchmarks._pieces import serve  # noqa: E402
from rllib_ext.llm.batch import Group  # noqa: E402
from rllib_ext.llm.engine_hf import HFEngine  # noqa: E402
from rllib_ext.online_dpo.algorithm import AsyncOnlineDPO  # noqa: E402

CAP = 2.0


@dataclass(frozen=True)
class Mismatch:
    """One training run. part: "noise", "temperature" or "ties"; corrected: truncated importance weights; switched: the
    learner at temperature 1, or tied pairs kept.
    """

    part: str
    method: str
    n: int
    seed: int
    lr: float
    sigma: float = 0.0
    corrected: bool = False
    switched: bool = False
    updates: int = UPDATES

    @property
    def cell(self) -> Cell:
        return Cell("n", self.method, self.n, self.seed, self.lr, updates=self.updates)

    def settings(self, model: str) -> dict[str, Any]:
        found = {**self.cell.settings(model), "logp_probe": 32}
        if self.part == "noise" and self.method == "ppo":
            found |= {"old_logps": "recompute"}
        if self.corrected:
            found |= {"staleness_correction": "truncated", "truncation_cap": CAP}
        return found


class TiesKept(AsyncOnlineDPO):
    """A tie makes a pair, chosen by nothing."""

    def rows_of(self, groups: list[Group]) -> list[Group | None]:
        kept = super().rows_of(groups)
        return [
            row if row is not None or len(group.completions) < 2 else group.keep([0, 1])
            for row, group in zip(kept, groups, strict=True)
        ]


class Noise:
    """Gaussian noise on an engine's log-probabilities, while it is on."""

    def __init__(self, cell: Mismatch, temperature: float) -> None:
        self.scale, self.on = cell.sigma * temperature, False
        self.generator = torch.Generator().manual_seed(1000 + cell.seed)

    def __call__(self, model: torch.nn.Module, arguments: Any, output: Any) -> Any:
        if self.on:
            noise = torch.randn(output.logits.shape, generator=self.generator)
            output.logits = output.logits + self.scale * noise
        return output


@contextlib.contextmanager
def noisy_engines(noise: Noise) -> Iterator[None]:
    """Within, every engine that is made has the noise."""
    make = HFEngine.__init__

    def start(engine: HFEngine, *arguments: Any, **named: Any) -> None:
        make(engine, *arguments, **named)
        engine.model.register_forward_hook(noise)

    with mock.patch.object(HFEngine, "__init__", start):
        yield


def run(cell: Mismatch) -> dict[str, Any]:
    """Train a cell and judge its policy, sampled from without noise."""
    settings = cell.settings(policy_of(WIDTH))
    noise = Noise(cell, settings["temperature"])

    @contextlib.contextmanager
    def learning(algorithm: Any) -> Iterator[None]:
        if cell.part == "temperature" and cell.switched:
            algorithm.learner_group._learner.language_module.temperature = 1.0
        noise.on = cell.sigma > 0
        yield
        noise.on = False

    kept = TiesKept if cell.part == "ties" and cell.switched else None
    with noisy_engines(noise):
        before, result, after = trained(cell.cell, settings, learning=learning, algorithm=kept)
    return {
        **asdict(cell), **judged(before, result, after),
        "logp_diff_mean": result["policy"]["logp_diff_mean"], "tied_share": result["reward"]["tied_share"],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(serve(Mismatch, run))
