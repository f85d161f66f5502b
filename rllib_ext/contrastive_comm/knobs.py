"""The knobs of ContrastiveComm, each with its default and where that comes from.

[W] is the appendix of the workshop paper (Lo & Sengupta 2022), [P] the prototype behind the small setting; PPO's own
settings (``lr``, ``gamma``, ``lambda_``, ``clip_param``, ``num_epochs``, ``entropy_coeff``, ``vf_loss_coeff``) have
RLlib's names. The paper trains by asynchronous n-step actor-critic; PPO is put in its place here.
"""

from __future__ import annotations

from rllib_ext.contrastive_comm.networks import ACTIVATIONS
from rllib_ext.functional.contrastive import NEGATIVES
from rllib_ext.runtime.knobs import Knob

#: What a message head learns from. "none": no channel; "random": a channel whose heads stay as they were made.
METHODS = ("none", "random", "cacl", "aecomm", "positive_listening", "dial", "cacl+dial", "aecomm+dial")

KNOBS = {
    "comm": Knob(
        "cacl", str, "How messages are learnt. 'cacl': contrastively; 'aecomm': so that the observation's encoding can "
        "be decoded from them; 'positive_listening': not at all, but listeners are made to act upon them; 'dial': from "
        "what listeners gain, through the channel (centralised); 'cacl+dial', 'aecomm+dial': both; 'random': never; "
        "'none': there is no channel.", choices=METHODS,
    ),
    "message_dim": Knob(4, int, "D, numbers a message, each in (0, 1). 4 [W]; 10 separates methods most [P].", 1, 1024),
    "comm_coeff": Knob(
        None, float, "kappa, weight of the message loss beside the policy's. None: 0.5 for cacl [W], 1 for aecomm.",
        0.0, 1000.0, optional=True,
    ),
    "temperature": Knob(0.1, float, "eta of the contrastive loss; lower tells more sharply apart [W].", 1e-3, 100.0),
    "window": Knob(
        5, int, "w: messages sent at most so many steps apart are positives of each other; 0: simultaneous ones only, "
        "None: all of an episode [W]. The paper's value is not known.", 0, 10**6, optional=True,
    ),
    "negatives": Knob(
        "all", str, "What a message is told apart from: 'all' others known to the agent (the formula), or only those of "
        "'other_trajectories' (the prose).", choices=NEGATIVES,
    ),
    "max_messages": Knob(
        576, int, "Messages compared at once by an agent, own and received; the cost grows with its square. A mini-batch "
        "with more is compared on as many of its environments as fit (2 or more).", 8, 10**6,
    ),
    "grad_into_encoder": Knob(
        False, bool, "Let the message loss train the observation encoder too (not said in the paper; its text has the "
        "loss train the message head only).",
    ),
    "listening_coeff": Knob(0.01, float, "Weight of positive listening's distance.", 0.0, 100.0),
    "listening_ce_coeff": Knob(1e-3, float, "Weight of positive listening's cross-entropy.", 0.0, 100.0),
    "message_drop_prob": Knob(0.0, float, "Probability that a message is lost, each listener by itself.", 0.0, 1.0),
    "message_noise": Knob(0.0, float, "Standard deviation of noise on what is heard, then cut to [0, 1].", 0.0, 10.0),
    "share_parameters": Knob(False, bool, "One network for all agents; the paper's agents each have their own."),
    "agent_indicator": Knob(False, bool, "Append to the observation which agent sees it; of use with shared parameters."),
    "hidden": Knob(32, int, "Width of every hidden layer, of the observation's encoding and of the memory [W].", 1, 4096),
    "message_encoding": Knob(16, int, "Width of the encoding of what was heard [W].", 1, 4096),
    "spectral_norm": Knob(True, bool, "Normalise the penultimate layer of the policy and value heads [W]."),
    "activation": Knob("tanh", str, "Of hidden layers; the paper does not say.", choices=tuple(ACTIVATIONS)),
    "adam_eps": Knob(
        1e-8, float, "Adam's epsilon [P]. The paper's 1e-3 [W] goes with its sums of gradients; with means it all but "
        "stops the learning.", 1e-12, 1.0,
    ),
    "rollout_steps": Knob(
        16, int, "Steps of every environment in one round of a worker; gradients go back through time no further.",
        1, 10**5,
    ),
    "num_minibatches": Knob(
        2, int, "Mini-batches an epoch; each takes whole environments with all their agents, so that what was said and "
        "heard stays together.", 1, 10**4,
    ),
    "epoch_steps": Knob(
        80_000, int, "Environment steps of an epoch, for environments with a curriculum (TrafficJunction); 80,000 is "
        "IC3Net's.", 1, 10**12,
    ),
    "normalize_advantages": Knob(True, bool, "Mean 0 and deviation 1 a round, for every agent by itself."),
}  # fmt: skip
