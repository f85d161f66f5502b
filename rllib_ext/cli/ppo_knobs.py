"""The settings of RLlib's PPO that ``rllib-ext train ElasticResetPPO`` takes beside Elastic Reset's own.

Defaults are RLlib's (a test holds them to it). RLlib has many more; a program of one's own sets those.
"""

from __future__ import annotations

from rllib_ext.cli.run_knobs import RUN_KNOBS
from rllib_ext.runtime.knobs import Knob

PPO = {
    "lr": Knob(5e-5, float, "Learning rate of Adam.", 1e-12, 1),
    "gamma": Knob(0.99, float, "Discount.", 0, 1),
    "lambda_": Knob(1.0, float, "lambda of generalised advantages.", 0, 1),
    "clip_param": Knob(0.3, float, "Clipping of the policy's ratio.", 1e-9, 1e6),
    "vf_clip_param": Knob(10.0, float, "Clipping of the critic's squared error.", 1e-9, 1e12),
    "vf_loss_coeff": Knob(1.0, float, "Weight of the critic's loss.", 0, 1e6),
    "entropy_coeff": Knob(0.0, float, "Weight of the entropy bonus.", 0, 1e6),
    "use_kl_loss": Knob(True, bool, "Penalise the KL between the policies before and after the update."),
    "kl_coeff": Knob(0.2, float, "Its first weight; RLlib adapts it. Not kl_beta, which is about drift.", 0, 1e6),
    "kl_target": Knob(0.01, float, "KL of an update that the weight is adapted to.", 1e-12, 1e6),
    "grad_clip": Knob(None, float, "Global norm of the gradients; None: no clipping.", 1e-9, 1e9, optional=True),
    "train_batch_size_per_learner": Knob(4000, int, "Environment steps an iteration and learner.", 1, 10**9),
    "minibatch_size": Knob(128, int, "Steps of a gradient step.", 1, 10**9),
    "num_epochs": Knob(30, int, "Passes over the batch of an iteration.", 1, 10**6),
}  # fmt: skip

RUN = {
    "total_iterations": Knob(100, int, "Iterations of the run.", 1, 10**9),
    "hidden": Knob("256,256", str, "Widths of the hidden layers, with commas between."),
    "num_env_runners": Knob(2, int, "Rollout workers; 0: this process samples.", 0, 4096),
    "num_envs_per_env_runner": Knob(1, int, "Environments of a worker, stepped together.", 1, 10**6),
    "evaluation_duration": Knob(10, int, "Episodes of an evaluation.", 1, 10**6),
    "evaluation_interval": Knob(
        None, int, "Iterations from one evaluation to the next; none: no evaluation.", 1, 10**9, optional=True
    ),
    "checkpoint_every": Knob(
        None, int, "Iterations from one checkpoint to the next; none: a tenth of the run.", 1, 10**9, optional=True
    ),
}  # fmt: skip

ELASTIC_RUN = {**RUN_KNOBS, **RUN}
PPO_KNOBS = {**PPO, **ELASTIC_RUN}
SMOKE = {
    "total_iterations": 4,
    "reset_every": 2,
    "train_batch_size_per_learner": 512,
    "num_epochs": 4,
    "hidden": "32,32",
    "num_env_runners": 0,
    "evaluation_interval": 2,
    "evaluation_duration": 4,
    "lr": 1e-3,
}
