"""The settings of a run that are RLlib's own and not a method's: workers, learners, devices, seed, schedule."""

from __future__ import annotations

from rllib_ext.runtime.knobs import Knob

RUN_KNOBS: dict[str, Knob] = {
    "seed": Knob(0, int, "Seed of the run: prompt order, sampling, adapters.", 0, 2**63 - 1),
    "num_env_runners": Knob(1, int, "Rollout workers, each with an engine of its own.", 1, 4096),
    "num_cpus_per_env_runner": Knob(1.0, float, "CPUs that Ray reserves for a rollout worker.", 0, 4096),
    "num_gpus_per_env_runner": Knob(0.0, float, "GPUs that Ray reserves for a rollout worker.", 0, 64),
    "num_learners": Knob(0, int, "Learner actors (DDP); 0: one learner in the driver's process.", 0, 4096),
    "num_gpus_per_learner": Knob(0.0, float, "GPUs of a learner.", 0, 64),
    "evaluation_interval": Knob(
        None,
        int,
        "Rounds from one evaluation to the next; none: no evaluation.",
        1,
        100_000_000,
        optional=True,
    ),
    "checkpoint_every": Knob(
        None,
        int,
        "Updates from one checkpoint to the next; none: a tenth of the run.",
        1,
        100_000_000,
        optional=True,
    ),
}
