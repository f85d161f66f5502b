"""The knobs of SGIRainbow, each with its default and where that comes from.

[SGI] is the finetuning of Schwarzer et al. (2021) and its released settings, [BBF] the settings of BBF (2023) and of
SR-SPR (2023) in its release. ``lr``, ``gamma``, ``grad_clip`` and ``train_batch_size_per_learner`` have RLlib's names;
counts of steps are agent steps of all copies together (a step is four frames).
"""

from __future__ import annotations

from rllib_ext.runtime.knobs import Knob
from rllib_ext.sgi.encoders import SIZES

KNOBS = {
    "pretrained": Knob(
        None, str, "Folder of SGIPretrain to begin with. None: from scratch, with one learning rate for all.",
        optional=True,
    ),
    "encoder": Knob(
        None, str, "Size of the encoder. None: the pretrained folder's, or else M [SGI]. S is the fastest on a CPU.",
        choices=SIZES, optional=True,
    ),
    "hidden": Knob(
        None, int, "Width of each first layer of the head. None: the pretrained folder's, or else 512 [SGI].", 1, 65536,
        optional=True,
    ),
    "freeze_encoder": Knob(False, bool, "Leave the encoder as it is; it is trained at a low rate otherwise [SGI]."),
    "encoder_lr": Knob(
        None, float, "Adam's rate of the encoder. None: 1e-6 with a pretrained folder [SGI], else lr.", 0.0, 1.0,
        optional=True,
    ),
    "first_layers_lr": Knob(
        None, float, "Adam's rate of the head's first layers. None: 3e-5 with a pretrained folder [SGI], else lr.",
        0.0, 1.0, optional=True,
    ),
    "adam_eps": Knob(1.5e-4, float, "Adam's epsilon [SGI].", 1e-12, 1.0),
    "weight_decay": Knob(0.0, float, "Of AdamW, decoupled; 0.1 in [BBF].", 0.0, 10.0),
    "learning_starts": Knob(2000, int, "Random steps before the first update [SGI].", 1, 10**9),
    "updates_per_step": Knob(2, int, "Updates an agent step once learning has begun [SGI]; 8 in SR-SPR.", 1, 64),
    "steps_per_iteration": Knob(1000, int, "Agent steps of an iteration: how often there are results.", 1, 10**8),
    "rollout_steps": Knob(
        1, int, "Steps of every copy before updates are made up for; more than 1 with remote workers.", 1, 10**6
    ),
    "n_step": Knob(10, int, "Steps of the return [SGI].", 1, 100),
    "n_step_last": Knob(
        None, int, "n falls to this, geometrically, in anneal_updates after the start and after every reset; 3 in [BBF]. "
        "None: it does not.", 1, 100, optional=True,
    ),
    "gamma_last": Knob(
        None, float, "gamma rises to this likewise (0.97 to 0.997 in [BBF]). None: it does not.", 0.0, 0.99999,
        optional=True,
    ),
    "anneal_updates": Knob(10_000, int, "Updates that n and gamma take to their last values [BBF].", 1, 10**9),
    "atoms": Knob(51, int, "Atoms of the return's distribution [SGI].", 2, 1001),
    "v_max": Knob(10.0, float, "The atoms span [-v_max, v_max], in clipped points [SGI].", 0.1, 1e6),
    "noisy": Knob(True, bool, "Learnt noise in the head's layers explores [SGI]; SR-SPR and BBF do without."),
    "sigma_0": Knob(0.5, float, "First size of that noise [SGI].", 0.0, 10.0),
    "epsilon": Knob(0.0, float, "Chance of a random action once learning has begun [SGI]; 0.01 in DER.", 0.0, 1.0),
    "epsilon_steps": Knob(1, int, "Agent steps from 1 to epsilon after learning_starts [SGI].", 1, 10**9),
    "evaluation_epsilon": Knob(0.001, float, "Chance of a random action in evaluations [SGI].", 0.0, 1.0),
    "spr_weight": Knob(5.0, float, "Weight of the SPR loss [SGI]; 0: none, and nothing is built for it.", 0.0, 1000.0),
    "spr_steps": Knob(5, int, "K, steps that the dynamics is rolled out [SGI].", 1, 50),
    "spr_tau": Knob(0.01, float, "Step of the averages that make SPR's targets, each update [SGI].", 0.0, 1.0),
    "target_tau": Knob(
        1.0, float, "Step of the target network, each update. 1: it is the network itself [SGI]; 0.005 in SR-SPR, [BBF].",
        0.0, 1.0,
    ),
    "augmentation": Knob(True, bool, "Shift and brighten frames in updates [SGI]."),
    "shift_pad": Knob(4, int, "Largest shift, pixels [SGI].", 0, 40),
    "intensity_scale": Knob(0.05, float, "Standard deviation of the brightness factor [SGI].", 0.0, 0.49),
    "replay_capacity": Knob(
        100_000, int, "Steps that are kept, 7 kB each. The published 1,000,000 never fill in a run of 100,000.", 100,
        10**9,
    ),
    "priority_exponent": Knob(0.5, float, "alpha of prioritised replay [SGI]; 0: uniform.", 0.0, 1.0),
    "importance_exponent": Knob(0.4, float, "beta of its importance weights at the start [SGI].", 0.0, 1.0),
    "importance_exponent_last": Knob(1.0, float, "beta at the end [SGI].", 0.0, 1.0),
    "importance_steps": Knob(100_000, int, "Agent steps that beta takes to its last value, on a line [SGI].", 1, 10**12),
    "reset_every": Knob(
        None, int, "Updates from one reset of the head to the next, 40,000 in SR-SPR and [BBF] (20,000 steps of 2, 5,000 "
        "of 8). None: no resets [SGI].", 1, 10**12, optional=True,
    ),
    "shrink": Knob(0.8, float, "Of a reset: what is kept of encoder and dynamics (SR-SPR); 0.5 in [BBF].", 0.0, 1.0),
    "perturb": Knob(0.2, float, "Of a reset: the weight of newly drawn ones (SR-SPR); 0.5 in [BBF].", 0.0, 1.0),
    "checkpoint_replay": Knob(
        True, bool, "Keep the replay in checkpoints, up to 0.7 GB at 100,000 steps. Without it a resumed run fills a new "
        "one before it learns on.",
    ),
}  # fmt: skip
