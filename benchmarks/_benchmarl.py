"""BenchMARL's IPPO on VMAS's simple_reference, an iteration at a time: run by a Python that has BenchMARL.

    python benchmarks/_benchmarl.py ENVIRONMENTS STEPS EPOCHS HIDDEN

Two agents with networks of their own, GRU of HIDDEN behind two layers, two mini-batches an epoch, one thread. Reads a
number of iterations a line from standard input, makes them, and prints {"steps", "cpu_s", "wall_s"}; the end of the input
ends it.
BenchMARL pins other versions than this package, so it lives in an environment of its own (`marl_throughput.py`).
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from typing import Any

import torch
from benchmarl.algorithms import IppoConfig
from benchmarl.environments import VmasTask
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models.gru import GruConfig


class Over(Exception):
    """Nobody asks for more."""


class InTurns(Callback):
    """Stops after the iterations that were asked for, and waits to be asked again."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self._frames, self._left, self._asked = frames, 0, 0
        self._cpu = self._wall = 0.0

    def on_setup(self) -> None:
        self._wait()

    def on_train_step(self, batch: Any, group: str) -> None:
        """BenchMARL's hook of a gradient step; not used."""

    def on_batch_collected(self, batch: Any) -> None:
        """A batch begins: the one before it has been learnt from."""
        if self._left == 0:
            cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
            print(
                json.dumps({"steps": self._asked * self._frames, "cpu_s": cpu, "wall_s": wall}),
                file=REPLY,
                flush=True,
            )
            self._wait()
        self._left -= 1

    def _wait(self) -> None:
        line = sys.stdin.readline()
        if not line:
            raise Over
        self._asked = self._left = int(line)
        self._cpu, self._wall = time.process_time(), time.perf_counter()


def experiment(folder: str, envs: int, steps: int, epochs: int, hidden: int) -> Any:
    """folder: for what BenchMARL writes of its own accord."""
    frames = envs * steps
    config = ExperimentConfig.get_from_yaml()
    config.loggers, config.create_json, config.evaluation, config.render = [], False, False, False
    config.checkpoint_interval, config.share_policy_params, config.lr = 0, False, 1e-3
    config.on_policy_collected_frames_per_batch, config.on_policy_n_envs_per_worker = frames, envs
    config.on_policy_n_minibatch_iters, config.on_policy_minibatch_size = epochs, frames // 2
    config.max_n_iters, config.max_n_frames = None, 10**9
    config.save_folder = folder
    model = GruConfig.get_from_yaml()
    model.hidden_size, model.n_layers, model.mlp_num_cells = hidden, 1, [hidden, hidden]
    return Experiment(
        task=VmasTask.SIMPLE_REFERENCE.get_from_yaml(), algorithm_config=IppoConfig.get_from_yaml(), model_config=model,
        critic_model_config=model, seed=0, config=config, callbacks=[InTurns(frames)],
    )  # fmt: skip


if __name__ == "__main__":
    REPLY = sys.stdout
    sys.stdout = sys.stderr  # BenchMARL's own words
    torch.set_num_threads(1)
    with contextlib.suppress(Over), tempfile.TemporaryDirectory(prefix="benchmarl-") as folder:
        experiment(folder, *map(int, sys.argv[1:])).run()
