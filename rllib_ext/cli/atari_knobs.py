"""The settings of RLlib and of the run that ``rllib-ext train SGIRainbow`` takes beside its own knobs.

Defaults are SGIRainbowConfig's (a test holds them to it).
"""

from __future__ import annotations

from dataclasses import replace

from rllib_ext.cli.ppo_knobs import PPO, RUN
from rllib_ext.cli.run_knobs import RUN_KNOBS
from rllib_ext.runtime.knobs import Knob

_RLLIB = {"lr": 1e-4, "gamma": 0.99, "grad_clip": None}
ATARI_RLLIB = {name: replace(PPO[name], default=default) for name, default in _RLLIB.items()} | {
    "train_batch_size_per_learner": Knob(32, int, "Rows of an update.", 1, 10**6),
}

_RUN = {
    "total_iterations": 100,
    "num_env_runners": 0,
    "num_envs_per_env_runner": 1,
    "evaluation_duration": 100,
}
ATARI_RUN = {
    **RUN_KNOBS,
    **{
        name: replace(knob, default=_RUN.get(name, knob.default))
        for name, knob in RUN.items()
        if name != "hidden"  # the algorithm has a knob of that name
    },
}

# Learning begins in the third iteration; Pong played badly lasts some 800 steps.
ATARI_SMOKE = {
    "total_iterations": 4,
    "steps_per_iteration": 50,
    "learning_starts": 100,
    "updates_per_step": 1,
    "train_batch_size_per_learner": 8,
    "replay_capacity": 2000,
    "evaluation_interval": 4,
    "evaluation_duration": 2,
}
