"""The knobs of SGIPretrain, each with its default and where that comes from.

[C] is the released configuration of SGI (Schwarzer et al. 2021), [P] its paper. ``lr`` and ``gamma`` and the batch,
``train_batch_size_per_learner``, have RLlib's names.
"""

from __future__ import annotations

from rllib_ext.functional.goal_conditioned import DISTANCES
from rllib_ext.runtime.knobs import Knob
from rllib_ext.sgi.encoders import SIZES

KNOBS = {
    "data": Knob(
        None, str, "Folders of frames, with commas between; all of one game. `rllib-ext frames collect` and `import` "
        "make them.", optional=True,
    ),
    "encoder": Knob("M", str, "Size of the encoder: S is the Nature DQN's, M and L are residual [C].", choices=SIZES),
    "losses": Knob(
        "SGI", str, "Any of S (self-prediction), G (goals) and I (inverse dynamics), for example SI. S alone tends to "
        "collapse and warns.",
    ),
    "horizon": Knob(5, int, "K, steps that the dynamics is rolled out [C].", 1, 100),
    "hidden": Knob(512, int, "Width of each first layer; the projection has twice as many numbers [C].", 1, 8192),
    "self_prediction_coeff": Knob(1.0, float, "Weight of S [C].", 0.0, 1000.0),
    "goal_coeff": Knob(1.0, float, "Weight of G [C].", 0.0, 1000.0),
    "inverse_coeff": Knob(1.0, float, "Weight of I [C].", 0.0, 1000.0),
    "predictor": Knob(
        "linear", str, "What predicts the target's projection from the online one: a linear layer, or two with batch "
        "normalisation between [C].", choices=("linear", "mlp"),
    ),
    "tau": Knob(
        0.01, float, "How far the target networks move towards the online ones with every update; 1: they are the online "
        "ones [C].", 0.0, 1.0,
    ),
    "goal_nearest": Knob(2, int, "Steps to the nearest frame that can be a goal [C].", 0, 10_000),
    "goal_farthest": Knob(49, int, "Steps to the farthest one [C].", 1, 10_000),
    "goal_noise": Knob(0.5, float, "Largest share of noise in a goal [C].", 0.0, 1.0),
    "goal_swap": Knob(0.2, float, "Probability that a window takes another window's goal [C].", 0.0, 1.0),
    "goal_distance": Knob(
        "exp", str, "Distance to a goal, of the chord c: 'exp', 1 - exp(-5 c); 'norm', 5 c [C].", choices=DISTANCES,
    ),
    "goal_reward": Knob(10.0, float, "Reward of a step from distance 1 to distance 0 [C].", 0.0, 1000.0),
    "atoms": Knob(51, int, "Values of the distribution of returns [C].", 2, 1000),
    "value_range": Knob(10.0, float, "They lie between minus this and this [C].", 1e-3, 1e6),
    "bug_compat": Knob(
        False, bool, "Modulate the advantage branch where the value branch belongs, as the released code of G does.",
    ),
    "shift": Knob(4, int, "Largest random shift of a stack, pixels; 0: none [C].", 0, 20),
    "intensity": Knob(0.05, float, "Standard deviation of a stack's random brightness; 0: none [C].", 0.0, 1.0),
    "grad_clip_networks": Knob(
        10.0, float, "Largest norm of the gradient of encoder and heads; None: no clipping [C].", 1e-9, 1e9,
        optional=True,
    ),
    "grad_clip_dynamics": Knob(
        10.0, float, "The same of the dynamics, by itself. Predictor and inverse are never clipped [C].", 1e-9, 1e9,
        optional=True,
    ),
    "adam_eps": Knob(1.5e-4, float, "Adam's epsilon [C].", 1e-12, 1.0),
    "life_loss": Knob(
        "ignore", str, "Whether a lost life ends an episode ('terminal') or not ('ignore'), as in DQN Replay.",
        choices=("ignore", "terminal"),
    ),
    "precision": Knob(
        "float32", str, "Of products of matrices and convolutions; weights, losses and averages are always float32. "
        "'float32' as published; 'bfloat16' is quicker where the hardware multiplies it and was not compared over long "
        "training; 'auto': bfloat16 on such hardware, else float32.",
        choices=("auto", "float32", "bfloat16"),
    ),
    "updates_per_iteration": Knob(100, int, "Gradient steps of one iteration (of one row of results).", 1, 10**6),
    "prefetch": Knob(2, int, "Batches that a thread reads ahead; 0: none.", 0, 64),
    "collapse_below": Knob(
        0.05, float, "Warn where random states are closer in the projection than this share of what they were at first.",
        0.0, 1.0,
    ),
    "probe_every": Knob(
        None, int, "Iterations from one linear probe of the latents to the next (of the action, and of the console's "
        "memory where the data hold it); None: never.", 1, 10**9, optional=True,
    ),
    "probe_samples": Knob(2000, int, "Frames that a probe is fitted on; a quarter as many again judge it.", 64, 10**6),
}  # fmt: skip
