"""The settings of RLlib's PPO and of the run that ``rllib-ext train ContrastiveComm`` takes beside its own knobs.

Defaults are ContrastiveCommConfig's (a test holds them to it), which says where they differ from RLlib's and why.
"""

from __future__ import annotations

from dataclasses import replace

from rllib_ext.cli.ppo_knobs import PPO, RUN
from rllib_ext.cli.run_knobs import RUN_KNOBS

_PPO = {
    "lr": 1e-3,
    "gamma": 0.99,
    "lambda_": 0.95,
    "clip_param": 0.2,
    "vf_clip_param": 1e6,
    "vf_loss_coeff": 0.5,
    "entropy_coeff": 0.01,
    "grad_clip": 2.0,
    "num_epochs": 4,
}
COMM_PPO = {name: replace(PPO[name], default=default) for name, default in _PPO.items()}

_RUN = {
    "total_iterations": 200,
    "num_env_runners": 0,
    "num_envs_per_env_runner": 64,
    "evaluation_duration": 128,
}
COMM_RUN = {
    **RUN_KNOBS,
    **{
        name: replace(knob, default=_RUN.get(name, knob.default))
        for name, knob in RUN.items()
        if name != "hidden"
    },
}

# A PredatorPrey episode lasts 200 steps unless all prey are caught: 16 rounds of 16 steps see it end.
COMM_SMOKE = {
    "total_iterations": 16,
    "num_envs_per_env_runner": 32,
    "evaluation_interval": 8,
    "evaluation_duration": 32,
}
