"""Claim: SQOOP's generator draws at least 100,000 mini scenes and 10,000 full-size scenes per CPU second, one thread,
pictures included.

    mini          8 bitmaps in 24 x 24, five objects, positives restricted
    full          36 letters of six sizes in 64 x 64 RGB, five objects: the default arguments
    full, at once the same, 8,000 in one call (98 MB), as a data set is drawn; "full" draws batches of 256
    paper         the released sampler's own way (parity="paper"), for comparison; no claim is made of it

A turn is one call of `sample`; sides take turns in this process. CPU seconds of the process, system time included. The
rate is the median over turns, with a bootstrap 95 % interval; a turn is invalid where wall over CPU is above 1.2, and is
counted all the same. --profile writes where the time of a mini and of a full turn goes.

    python -m benchmarks.sqoop_generator [--quick] [--turns 9] [--profile]
"""

from __future__ import annotations

import cProfile
import sys
import time
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._load import BUSY_LIMIT  # noqa: E402
from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._profiles import profile_text  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import bootstrap_interval, median  # noqa: E402
from envs.sqoop import SqoopGenerator  # noqa: E402
from envs.sqoop.vocabulary import holds  # noqa: E402

TARGETS = {"mini": 100_000, "full": 10_000}
SCENES = {"mini": 40_000, "full": 8_000, "full, at once": 8_000, "paper": 2_000}  # a turn
BATCH = 256


class Drawn:
    """A generator, its training pairs and how many scenes a call draws."""

    def __init__(self, name: str, quick: bool) -> None:
        make = {"mini": SqoopGenerator.preset, "paper": SqoopGenerator.preset}.get(name)
        self.generator = make(name) if make else SqoopGenerator()
        self.pairs = self.generator.pairs(1, 0).train
        self.scenes = SCENES[name] // (20 if quick else 1)
        self.batch = BATCH if name == "full" else self.scenes
        self.calls = 0

    def turn(self) -> dict[str, Any]:
        cpu, wall, drawn = time.process_time(), time.perf_counter(), 0
        while drawn < self.scenes:
            self.calls += 1
            drawn += len(self.generator.sample(self.pairs, self.batch, self.calls))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {
            "scenes": drawn,
            "cpu_s": cpu,
            "wall_s": wall,
            "rate": drawn / cpu,
            "valid": wall <= BUSY_LIMIT * cpu,
        }

    def check(self) -> None:
        """What is measured is right: every answer is the geometry."""
        scenes, by = self.generator.sample(self.pairs, 1000, 0), self.generator
        truth = holds(scenes.positions, scenes.shapes, scenes.question, by.above_is_visual, by.num_glyphs)
        if not (truth == scenes.answer).all() or not scenes.image.any(axis=(1, 2, 3)).all():
            raise RuntimeError("the generator drew scenes that are wrong or empty")


def measure(sides: dict[str, Drawn], turns: int) -> list[dict[str, Any]]:
    rows = []
    for side in sides.values():
        side.check()
        side.turn()
    for index in range(turns):
        for name, side in sides.items():
            rows.append({"turn": index, "side": name, **side.turn()})
            note(f"{index}: {name} {rows[-1]['rate']:.0f} scenes per CPU second")
    return rows


def profiled(side: Drawn) -> str:
    profile = cProfile.Profile()
    profile.runcall(side.turn)
    return profile_text(profile)


def main() -> int:
    options = arguments(__doc__, turns=9)
    options.add_argument("--profile", action="store_true", help="write where the time goes")
    options = options.parse_args()
    results = Results("sqoop_generator", options)
    sides = {name: Drawn(name, options.quick) for name in SCENES}
    rows = measure(sides, 3 if options.quick else options.turns)
    if options.profile:
        results.text("\n".join(f"{name}\n{profiled(sides[name])}" for name in TARGETS))
    rates = {name: [row["rate"] for row in rows if row["side"] == name] for name in SCENES}
    results.table(rows)
    results.figure(
        rate_figure(
            "Scenes of SQOOP a CPU second, drawn and painted",
            "one thread, median over turns, bootstrap 95 % interval",
            {name: (median(of), bootstrap_interval(of)) for name, of in rates.items()},
        )
    )
    medians = {name: median(values) for name, values in rates.items()}
    headline = {
        "scenes_per_cpu_second": medians,
        "intervals": {name: bootstrap_interval(values) for name, values in rates.items()},
        "reached": {name: medians[name] >= target for name, target in TARGETS.items()},
        "invalid_turns": sum(not row["valid"] for row in rows),
    }
    results.close(headline, targets=TARGETS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
