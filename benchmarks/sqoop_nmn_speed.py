"""Claim: a training step of the module network whose convolutions are batched is at least 3 times that of the same
network with a loop over the batch, as released (spec A3.2, 4).

NMN-Tree of Residual modules, batch 64, one thread; both sides have the same weights and scenes (their first losses are
equal) and take turns in this process. A step is forward, backward and Adam.

    ratio         steps per CPU second, batched over loop, at the mini size; median over turns, bootstrap 95 % interval
    ratio_modules the same of the three modules alone, without stem and classifier
    ratio_paper   the same at 64 channels of 64 x 64 pixels with batch 16 (--paper): the stem's work is most of that step

CPU seconds of this process; a turn is invalid where wall over CPU is above 1.2, and is counted.

    python -m benchmarks.sqoop_nmn_speed [--quick] [--pairs 7] [--paper 1]
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from benchmarks._load import BUSY_LIMIT  # noqa: E402
from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import bootstrap_interval, median  # noqa: E402
from rllib_ext.sqoop.answering import AnswerEncoder  # noqa: E402
from rllib_ext.sqoop.encoders import build_encoder  # noqa: E402
from rllib_ext.sqoop.residual import ResidualModule  # noqa: E402

TARGET = 3.0
SIDES = ("batched", "loop")
BATCH, PAPER_BATCH = 64, 16


class LoopedResidual(ResidualModule):
    """The same module, one example after the other."""

    def forward(self, numbers_BP: Tensor, first: Tensor, second: Tensor | None = None) -> Tensor:
        read = first if second is None else torch.cat([first, second], dim=1)
        return torch.cat([self._one(n, maps[None]) for n, maps in zip(numbers_BP, read, strict=True)])

    def _one(self, numbers_P: Tensor, maps: Tensor) -> Tensor:
        d = self.channels
        inner, outer, inner_bias, outer_bias, mix, mix_bias = numbers_P.split(self.sizes)
        mix = mix.reshape(d, 2 * d, 1, 1)[:, : maps.shape[1]]
        z = F.conv2d(maps, mix, mix_bias).relu()
        hidden = F.conv2d(z, inner.reshape(d, d, 3, 3), inner_bias, padding=1).relu()
        return (z + F.conv2d(hidden, outer.reshape(d, d, 3, 3), outer_bias, padding=1)).relu()


def networks(size: str, image_shape: tuple[int, int, int], vocabulary: int) -> dict[str, AnswerEncoder]:
    """Both sides, of the same weights."""
    torch.manual_seed(0)
    batched = build_encoder({"size": size, "image_shape": image_shape, "vocabulary": vocabulary}).train()
    loop = copy.deepcopy(batched)
    loop.module = LoopedResidual(batched.module.channels)
    return {"batched": batched, "loop": loop}


def stepper(network: AnswerEncoder, scenes: tuple[Tensor, Tensor, Tensor]) -> Callable[[], float]:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        loss = network.answer_losses(*scenes)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def module_stepper(network: Any, scenes: tuple[Tensor, Tensor, Tensor]) -> Callable[[], float]:
    """The modules alone, forward and backward, on the map that the stem makes."""
    with torch.no_grad():
        features = network.stem(scenes[0])

    def step() -> float:
        network.words.zero_grad()
        numbers = network.written(scenes[1])
        first, second = network.both(numbers, features)
        loss = network.module(numbers[2], first, second).square().mean()
        loss.backward()
        return float(loss.detach())

    return step


def scenes_of(image_shape: tuple[int, int, int], glyphs: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    words = torch.randint(0, glyphs, (batch, 3), generator=draw)
    words[:, 1] = torch.randint(glyphs, glyphs + 4, (batch,), generator=draw)
    image = torch.randint(0, 256, (batch, *image_shape), generator=draw, dtype=torch.uint8)
    return image, words, torch.randint(0, 2, (batch,), generator=draw)


def turns(what: str, steps: dict[str, Callable[[], float]], pairs: int, count: int) -> list[dict[str, Any]]:
    """So many steps of each side in turn. Raises where their first losses differ."""
    first = {name: step() for name, step in steps.items()}
    if abs(first["batched"] - first["loop"]) > 1e-4 * abs(first["loop"]):
        raise SystemExit(f"{what}: the sides do not compute the same: {first}")
    rows = []
    for pair in range(pairs):
        for name in SIDES:
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(count):
                steps[name]()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            rows.append(
                {
                    "what": what,
                    "pair": pair,
                    "side": name,
                    "rate": count / cpu,
                    "valid": wall <= BUSY_LIMIT * cpu,
                }
            )
            note(f"{what}, pair {pair}: {name} {rows[-1]['rate']:.2f} steps per CPU second")
    return rows


def ratio_of(rows: list[dict[str, Any]], what: str) -> tuple[float, list[float]]:
    rates = {name: [r["rate"] for r in rows if (r["what"], r["side"]) == (what, name)] for name in SIDES}
    ratios = [ours / theirs for ours, theirs in zip(rates["batched"], rates["loop"], strict=True)]
    return median(ratios), bootstrap_interval(ratios)


def main() -> int:
    options = arguments(__doc__, pairs=7, paper=0).parse_args()
    results = Results("sqoop_nmn_speed", options)
    torch.set_num_threads(1)
    pairs, count = (3, 2) if options.quick else (options.pairs, 20)
    scenes, sides = scenes_of((24, 24, 1), 8, BATCH), networks("mini", (24, 24, 1), 12)
    modules = {name: module_stepper(network, scenes) for name, network in sides.items()}
    rows = turns("modules", modules, pairs, count)
    rows += turns("step", {name: stepper(network, scenes) for name, network in sides.items()}, pairs, count)
    if options.paper:
        scenes, sides = scenes_of((64, 64, 3), 36, PAPER_BATCH), networks("paper", (64, 64, 3), 40)
        steps = {name: stepper(network, scenes) for name, network in sides.items()}
        rows += turns("paper", steps, 3 if options.quick else pairs, 1)
    found: dict[str, Any] = {}
    for key, what in (("ratio", "step"), ("ratio_modules", "modules"), ("ratio_paper", "paper")):
        if any(row["what"] == what for row in rows):
            found[key], found[f"{key}_interval"] = ratio_of(rows, what)
    found |= {"batch": BATCH, "invalid": sum(not row["valid"] for row in rows)}
    found |= {"target": TARGET, "reached": found["ratio"] >= TARGET}
    results.table(rows)
    shown = {
        name: [row["rate"] for row in rows if (row["what"], row["side"]) == ("step", name)] for name in SIDES
    }
    figures = {name: (median(each), bootstrap_interval(each)) for name, each in shown.items()}
    results.figure(
        rate_figure(
            "Training steps of NMN-Tree per CPU second", f"mini size, one thread, batch {BATCH}", figures
        )
    )
    results.close(found)
    return int(not found["reached"] and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
