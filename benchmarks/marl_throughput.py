"""Claim: environment steps per CPU second, policy and learner in the loop, are at least five times those of RLlib's stock
multi-agent PPO, without communication and with CACL (design section 5; spec D.2, E.4).

Beacon, three agents, each with a recurrent network of its own: encoder of two layers, GRU, heads of three, 32 wide, no
spectral norm on either side; PPO with 4 epochs, batches of 1,024 environment steps from 64 environments, two mini-batches
an epoch. Everything runs in this process on one thread; sides take turns; a turn is so many whole iterations.

    ours          ContrastiveComm, comm="none"
    ours cacl     the same with messages of 4 numbers learnt contrastively. RLlib has no channel: it is compared with
                  the same peer, which does less
    RLlib         stock MultiAgentEnvRunner and PPO on Beacon's PettingZoo face, through this package's adapter
    ours 2        ContrastiveComm, comm="none", two agents; with --benchmarl
    BenchMARL     its IPPO on VMAS's simple_reference, two agents, whose simulation is tensors too (``_benchmarl.py``):
                  GRU of 32 behind two layers, the same epochs, mini-batches and environments; another task of a like size

    ratio_rllib, ratio_rllib_cacl    steps per CPU second over RLlib's, median over turns, bootstrap 95 % interval
    ratio_benchmarl                  ours 2 over BenchMARL, as above

BenchMARL needs an environment E of its own, ``E/bin/pip install torch==2.13.0 benchmarl vmas "setuptools<81"``, and
``--benchmarl E/bin/python``. Without it its two sides are left out.

CPU seconds of this process, because it is alone in doing the work; a turn is invalid where wall over CPU is above 1.2,
and is counted. A step of the environment moves all agents; agent steps are three times as many.

    python -m benchmarks.marl_throughput [--quick] [--pairs 7] [--benchmarl E/bin/python]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import torch  # noqa: E402

from benchmarks._load import BUSY_LIMIT  # noqa: E402
from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._session import ray_session  # noqa: E402
from benchmarks._statistics import bootstrap_interval, median  # noqa: E402
from benchmarks._stock_marl import stock_ppo  # noqa: E402
from rllib_ext import ContrastiveCommConfig  # noqa: E402

TARGET = 5.0
AGENTS, ENVS, STEPS, EPOCHS, HIDDEN = 3, 64, 16, 4, 32
ENV_CONFIG = {"agents": AGENTS}
ITERATIONS = {"ours": 12, "ours cacl": 8, "RLlib": 2, "ours 2": 12, "BenchMARL": 5}  # a turn: seconds each
RATIOS = (
    ("ratio_rllib", "ours", "RLlib"), ("ratio_rllib_cacl", "ours cacl", "RLlib"),
    ("ratio_benchmarl", "ours 2", "BenchMARL"),
)  # fmt: skip
PEER_START_S = 300.0


class Ours:
    """An algorithm of RLlib's kind, in this process."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm

    def turn(self, iterations: int) -> dict[str, Any]:
        """Steps, CPU and wall seconds of some iterations."""
        before = steps_of(self._algorithm)
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(iterations):
            self._algorithm.train()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"steps": steps_of(self._algorithm) - before, "cpu_s": cpu, "wall_s": wall}

    def stop(self) -> None:
        self._algorithm.stop()


class BenchMARL:
    """The peer's process, asked for so many iterations at a time."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("_benchmarl.py")
        sizes = [str(size) for size in (ENVS, STEPS, EPOCHS, HIDDEN)]
        self._process = subprocess.Popen(
            [python, str(script), *sizes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def turn(self, iterations: int) -> dict[str, Any]:
        self._process.stdin.write(f"{iterations}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:  # some of what it imports greets on standard output
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(
            f"BenchMARL ended with status {self._process.wait(PEER_START_S)}; run it by hand to see why"
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(30.0)


def ours(comm: str, agents: int = AGENTS) -> Ours:
    config = ContrastiveCommConfig().environment("Beacon", env_config={"agents": agents})
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=ENVS).debugging(seed=0, log_level="ERROR")
    config.training(
        comm=comm,
        rollout_steps=STEPS,
        num_epochs=EPOCHS,
        num_minibatches=2,
        spectral_norm=False,
        hidden=HIDDEN,
    )
    return Ours(config.build_algo())


def turn(name: str, side: Any, iterations: int) -> dict[str, Any]:
    found = side.turn(iterations)
    valid = found["wall_s"] <= BUSY_LIMIT * found["cpu_s"]
    return {"side": name, **found, "rate": found["steps"] / found["cpu_s"], "valid": valid}


def steps_of(algorithm: Any) -> int:
    return int(algorithm.metrics.peek(("env_runners", "num_env_steps_sampled_lifetime"), default=0))


def measure(pairs: int, iterations: dict[str, int], benchmarl: str) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    makers: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours("none"),
        "ours cacl": lambda: ours("cacl"),
        "RLlib": lambda: Ours(stock_ppo(ENV_CONFIG, ENVS, ENVS * STEPS, ENVS * STEPS // 2, EPOCHS)),
    }
    if benchmarl:
        makers |= {"ours 2": lambda: ours("none", agents=2), "BenchMARL": lambda: BenchMARL(benchmarl)}
    sides = {name: make() for name, make in makers.items()}
    try:
        for name, side in sides.items():
            turn(name, side, 1)
        turns = []
        for pair in range(pairs):
            for name, side in sides.items():
                turns.append({"pair": pair, **turn(name, side, iterations[name])})
                note(f"pair {pair}: {name} {turns[-1]['rate']:.0f} steps per CPU second")
    finally:
        for side in sides.values():
            side.stop()
    return turns


def compare(turns: list[dict[str, Any]], side: str, peer: str) -> tuple[float, list[float]]:
    rates = {(row["side"], row["pair"]): row["rate"] for row in turns}
    ratios = [rates[side, pair] / rates[peer, pair] for name, pair in rates if name == side]
    return median(ratios), bootstrap_interval(ratios)


def main() -> int:
    options = arguments(__doc__, pairs=7, benchmarl="").parse_args()
    results = Results("marl_throughput", options)
    iterations = dict.fromkeys(ITERATIONS, 1) if options.quick else ITERATIONS
    with ray_session():
        turns = measure(2 if options.quick else options.pairs, iterations, options.benchmarl)
    found: dict[str, Any] = {}
    sides = list(dict.fromkeys(row["side"] for row in turns))
    for key, side, peer in RATIOS:
        if peer in sides:
            found[key], found[f"{key}_interval"] = compare(turns, side, peer)
    rates = {name: [row["rate"] for row in turns if row["side"] == name] for name in sides}
    found |= {
        f"{name.replace(' ', '_').lower()}_steps_per_cpu_s": median(each) for name, each in rates.items()
    }
    found |= {"agents": AGENTS, "invalid": sum(not row["valid"] for row in turns), "target": TARGET}
    found["reached"] = min(found["ratio_rllib"], found["ratio_rllib_cacl"]) >= TARGET
    results.table(turns)
    shown = {name: (median(each), bootstrap_interval(each)) for name, each in rates.items()}
    results.figure(
        rate_figure(
            "Multi-agent PPO, environment steps per CPU second",
            "one thread; three agents, two in ours 2 and BenchMARL",
            shown,
        )
    )
    results.close(found)
    return int(not found["reached"] and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
