"""Claim: an update of SGI pretraining (S + G + I) costs at most a fifth of the CPU time of the released code's.

Batch 32, K = 5, encoder S, four actions; one thread; sides take turns in this process; a turn is so many whole updates,
loading and augmentation included. The released code does not install on a current Python (torch 1.8, rlpyt); it is stood
for by a transcription of what it computes, ``_official_sgi.py``, on the torch of today, whose losses begin at the same
values (2, ln 51, ln 4).

    ours            SGIPretrain's learner as it is configured by default, in float32 like the peer
    ours bfloat16   the same with precision="bfloat16"
    official        the transcription

    ratio             updates per CPU second, ours over official, median over turns, bootstrap 95 % interval
    ratio_bfloat16    the same of ours bfloat16

CPU seconds of this process; a turn is invalid where wall over CPU is above 1.2, and is counted.

    python -m benchmarks.sgi_pretrain_speed [--quick] [--pairs 7] [--encoder S] [--batch 32] [--profile]
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks._load import BUSY_LIMIT  # noqa: E402
from benchmarks._official_sgi import OfficialUpdate  # noqa: E402
from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import bootstrap_interval, median  # noqa: E402

TARGET = 5.0
PROFILED = 4  # updates
ROWS, ACTIONS, HORIZON = 4000, 4, 5
SIDES = ("ours", "ours bfloat16", "official")


def data(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """A bright square that the actions move, as a folder of frames; (frames, actions)."""
    from rllib_ext.frames.writer import FrameWriter

    random = np.random.default_rng(0)
    actions = random.integers(0, ACTIONS, ROWS)
    place = np.array([[0, 2], [0, -2], [2, 0], [-2, 0]])[actions].cumsum(0) % 76
    frames = random.integers(0, 24, (ROWS, 84, 84), dtype=np.uint8)
    for frame, (row, column) in zip(frames, place, strict=True):
        frame[row : row + 8, column : column + 8] = 230
    flat = {name: np.zeros(ROWS, bool) for name in ("terminated", "truncated", "life_lost")}
    about = {"game": "Squares", "action_meanings": ["RIGHT", "LEFT", "DOWN", "UP"]}
    with FrameWriter(folder, about) as writer:
        writer.append(
            frames, action=actions, reward=np.zeros(ROWS, np.float32), episode_id=np.zeros(ROWS, int),
            t=np.arange(ROWS), **flat,
        )  # fmt: skip
    return frames, actions


def ours(folder: Path, encoder: str, batch: int, precision: str) -> Callable[[], dict[str, float]]:
    """One update of the learner; the batch is read in this thread, so that its cost is counted here."""
    from ray.rllib.core import DEFAULT_MODULE_ID
    from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

    from rllib_ext.sgi.pretraining import SGIPretrainConfig

    config = SGIPretrainConfig().debugging(seed=0, log_level="ERROR").training(
        data=str(folder), encoder=encoder, train_batch_size_per_learner=batch, prefetch=0, precision=precision
    )  # fmt: skip
    config.validate()
    learner = config.get_default_learner_class()(config=config, module_spec=config.get_multi_rl_module_spec())
    learner.build()
    asked = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch({"updates": np.zeros(1)})}, env_steps=1)

    def step() -> dict[str, float]:
        found = learner.update(batch=asked, timesteps={"num_env_steps_sampled_lifetime": 0})[
            DEFAULT_MODULE_ID
        ]
        names = {"S": "self_prediction_loss", "G": "goal_loss", "I": "inverse_loss"}
        return {letter: float(found[name].peek()) for letter, name in names.items()}

    return step


def turn(step: Callable[[], dict[str, float]], updates: int, batch: int) -> dict[str, Any]:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(updates):
        losses = step()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "rate": updates * batch / cpu,
        "cpu_s": cpu,
        "wall_s": wall,
        "valid": wall <= BUSY_LIMIT * cpu,
        **losses,
    }


def measure(
    options: Any, pairs: int, updates: int
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """Turns of all sides, and each side's losses of its first update."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "frames"
        frames, actions = data(folder)
        official = OfficialUpdate(frames, actions, ACTIONS, options.encoder, options.batch, HORIZON)
        steps = {
            "ours": ours(folder, options.encoder, options.batch, "float32"),
            "ours bfloat16": ours(folder, options.encoder, options.batch, "bfloat16"),
            "official": official.step,
        }
        first = {name: step() for name, step in steps.items()}
        turns = []
        for pair in range(pairs):
            for name in SIDES:
                turns.append({"pair": pair, "side": name, **turn(steps[name], updates, options.batch)})
                note(f"pair {pair}: {name} {turns[-1]['rate']:.1f} windows per CPU second")
    return turns, first


def profiled(options: Any) -> str:
    """The operations that an update of ours spends its time in, by type of number."""
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "frames"
        data(folder)
        for precision in ("float32", "bfloat16"):
            step = ours(folder, options.encoder, options.batch, precision)
            step()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                for _ in range(PROFILED):
                    step()
            table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=16)
            found.append(f"{precision}, {PROFILED} updates\n{table}")
    return "\n".join(found)


def main() -> int:
    warnings.simplefilter("ignore")
    parser = arguments(__doc__, pairs=7, encoder="S", batch=32)
    parser.add_argument("--profile", action="store_true", help="write where an update's time goes, and stop")
    options = parser.parse_args()
    results = Results("sgi_pretrain_speed", options)
    if options.profile:
        results.text(profiled(options))
        return 0
    turns, first = measure(options, 2 if options.quick else options.pairs, 2 if options.quick else 8)
    rates = {name: [row["rate"] for row in turns if row["side"] == name] for name in SIDES}
    found: dict[str, Any] = {}
    for key, side in (("ratio", "ours"), ("ratio_bfloat16", "ours bfloat16")):
        ratios = [a / b for a, b in zip(rates[side], rates["official"], strict=True)]
        found[key], found[f"{key}_interval"] = median(ratios), bootstrap_interval(ratios)
    found |= {f"{name.replace(' ', '_')}_windows_per_cpu_s": median(each) for name, each in rates.items()}
    found |= {
        "encoder": options.encoder,
        "batch": options.batch,
        "invalid": sum(not row["valid"] for row in turns),
    }
    found |= {"target": TARGET, "reached": found["ratio"] >= TARGET}
    results.table(turns)
    shown = {name: (median(each), bootstrap_interval(each)) for name, each in rates.items()}
    results.figure(
        rate_figure("SGI pretraining, windows per CPU second", f"one thread, batch {options.batch}", shown)
    )
    results.close(found, first_losses=first)
    return int(not found["reached"] and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
