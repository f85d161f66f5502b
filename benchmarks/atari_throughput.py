"""Claims: agent steps per CPU second of our Atari worker, policy included, are at least four times those of RLlib's stock
wrapper and worker; and with random actions at least 85 % of ALE's vector environment stepped bare (spec C.2, F.2).

    raw          ALE's AtariVectorEnv, its own stack of four, random actions drawn beforehand
    ours random  AtariRunner, random actions: what the worker itself costs
    ours         AtariRunner with the encoder S and the noisy C51 head of SGIRainbow, 512 wide
    ours plain   the same without noise in the head, which RLlib's network has not either
    RLlib        SingleAgentEnvRunner on wrap_atari_for_new_api_stack at 84 x 84, DQN's default network
    RLlib random the same with random actions: what wrapper and worker cost

    share_of_raw   ours random over raw, median over turns and games, bootstrap 95 % interval
    ratio_rllib    ours over RLlib, likewise; ratio_rllib_plain: ours plain over RLlib

All in this process, one thread each for emulator and network, 32 copies; sides take turns, game by game. CPU seconds of
the process, with those of the emulator's thread. A turn is invalid where wall over CPU is above 1.2, and is counted.

    python -m benchmarks.atari_throughput [--quick] [--turns 5] [--copies 32] [--profile]
"""

from __future__ import annotations

import cProfile
import sys
import time
from functools import partial
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks._load import BUSY_LIMIT  # noqa: E402
from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._profiles import profile_text  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import bootstrap_interval, median  # noqa: E402
from benchmarks._stock_atari import StockRunner  # noqa: E402
from envs.atari_games import find_game  # noqa: E402
from rllib_ext.sgi.rainbow import SGIRainbowConfig  # noqa: E402
from rllib_ext.sgi.runner import AtariRunner  # noqa: E402

GAMES = ("Pong", "Breakout", "MsPacman")
TARGET_RATIO, TARGET_SHARE = 4.0, 0.85
# Of every copy, a turn.
STEPS = {"raw": 120, "ours random": 120, "ours": 80, "ours plain": 80, "RLlib": 20, "RLlib random": 20}
COMPARED = (
    ("share_of_raw", "ours random", "raw"),
    ("ratio_rllib", "ours", "RLlib"),
    ("ratio_rllib_plain", "ours plain", "RLlib"),
)


class Raw:
    """ALE's environment and nothing else."""

    def __init__(self, game: str, copies: int) -> None:
        from ale_py import AtariVectorEnv

        self._copies = copies
        self._env = AtariVectorEnv(
            find_game(game).rom, copies, num_threads=1, repeat_action_probability=0.0, life_loss_info=True,
            episodic_life=False, use_fire_reset=False,
        )  # fmt: skip
        self._env.reset(seed=0)
        self._actions = np.random.default_rng(0).integers(find_game(game).actions, size=(997, copies))

    def play(self, steps: int, policy: bool) -> int:
        for step in range(steps):
            self._env.step(self._actions[step % 997])
        return steps * self._copies

    def stop(self) -> None:
        self._env.close()


class Ours:
    """The worker as SGIRainbow drives it."""

    def __init__(self, game: str, copies: int, noisy: bool = True) -> None:
        config = SGIRainbowConfig().environment(f"Atari100k/{game}", env_config={"num_threads": 1})
        config.env_runners(num_envs_per_env_runner=copies).training(encoder="S", hidden=512, noisy=noisy)
        self._runner = AtariRunner(config=config.debugging(seed=0), worker_index=0, num_workers=0)

    def play(self, steps: int, policy: bool) -> int:
        stretch = self._runner.stretch(steps, epsilon=0.0 if policy else 1.0)
        self._runner.get_metrics()
        return stretch.env_steps()

    def stop(self) -> None:
        self._runner.stop()


def turn(side: Any, steps: int, policy: bool) -> dict[str, Any]:
    cpu, wall = time.process_time(), time.perf_counter()
    played = side.play(steps, policy)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "steps": played,
        "cpu_s": cpu,
        "wall_s": wall,
        "rate": played / cpu,
        "valid": wall <= BUSY_LIMIT * cpu,
    }


def measure(games: tuple[str, ...], copies: int, turns: int, steps: dict[str, int]) -> list[dict[str, Any]]:
    rows = []
    for game in games:
        makers = {"raw": Raw, "ours": Ours, "ours plain": partial(Ours, noisy=False), "RLlib": StockRunner}
        made = {name: make(game, copies) for name, make in makers.items()}
        sides = [(name, made[name.removesuffix(" random")], not name.endswith("random")) for name in steps]
        try:
            for _, side, policy in sides:
                turn(side, 4, policy)
            for index in range(turns):
                for name, side, policy in sides:
                    rows.append(
                        {"game": game, "turn": index, "side": name, **turn(side, steps[name], policy)}
                    )
                    note(f"{game} {index}: {name} {rows[-1]['rate']:.0f} steps per CPU second")
        finally:
            for side in made.values():
                side.stop()
    return rows


def compare(rows: list[dict[str, Any]], side: str, peer: str) -> tuple[float, list[float]]:
    rates = {(row["side"], row["game"], row["turn"]): row["rate"] for row in rows}
    ratios = [rate / rates[peer, game, index] for (name, game, index), rate in rates.items() if name == side]
    return median(ratios), bootstrap_interval(ratios)


def profiled(game: str, copies: int) -> str:
    """Where the time of the worker goes, with the policy."""
    side, profile = Ours(game, copies), cProfile.Profile()
    side.play(5, True)
    profile.enable()
    side.play(60, True)
    profile.disable()
    side.stop()
    return profile_text(profile)


def main() -> int:
    parser = arguments(__doc__, turns=5, copies=32)
    parser.add_argument("--profile", action="store_true", help="write where our worker's time goes, and stop")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = Results("atari_throughput", options)
    if options.profile:
        results.text(profiled(GAMES[0], options.copies))
        print((results.folder / "atari_throughput.txt").read_text())
        return 0
    steps = {name: max(4, count // 5) for name, count in STEPS.items()} if options.quick else STEPS
    games, turns = (GAMES[:1], 2) if options.quick else (GAMES, options.turns)
    rows = measure(games, options.copies, turns, steps)
    found: dict[str, Any] = {}
    for key, side, peer in COMPARED:
        found[key], found[f"{key}_interval"] = compare(rows, side, peer)
    rates = {name: [row["rate"] for row in rows if row["side"] == name] for name in steps}
    found |= {
        f"{name.replace(' ', '_').lower()}_steps_per_cpu_s": median(each) for name, each in rates.items()
    }
    found |= {
        "copies": options.copies, "games": list(games), "invalid": sum(not row["valid"] for row in rows),
        "target_ratio": TARGET_RATIO, "target_share": TARGET_SHARE,
    }  # fmt: skip
    found["reached"] = found["ratio_rllib"] >= TARGET_RATIO and found["share_of_raw"] >= TARGET_SHARE
    results.table(rows)
    shown = {name: (median(each), bootstrap_interval(each)) for name, each in rates.items()}
    results.figure(
        rate_figure(
            "Atari, agent steps per CPU second",
            f"one thread, {options.copies} copies of {', '.join(games)}",
            shown,
        )
    )
    results.close(found)
    return int(not found["reached"] and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
