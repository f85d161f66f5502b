"""The knobs of EmergentComm. [P] is arXiv 2101.10276 (specification B.2, B.3), [C] arXiv 1804.03980 (B.7), [U] the one
untuned setting for all biases of the specification (E.2 b).

In ``mode="ppo"`` the settings are PPO's own (``lr``, ``train_batch_size_per_learner``, ...), under RLlib's names.
"""

from __future__ import annotations

from rllib_ext.runtime.knobs import Knob

KNOBS = {
    "mode": Knob(
        "paper", str, "'paper': one update a batch of fresh games, by REINFORCE and, for the receiver on the circle, "
        "through its own answer; 'ppo': RLlib's PPO for both agents, from rollouts.", choices=("paper", "ppo"),
    ),
    "games_per_update": Knob(
        None, int, "Fresh games of an update ('paper'). None: 64 on the circle [P], 128 in negotiation [C].", 1, 10**6,
        optional=True,
    ),
    "updates_per_iteration": Knob(
        None, int, "Updates of an iteration ('paper'). None: 250 on the circle, the paper's epoch [P]; 200 in "
        "negotiation, between two tests [C].", 1, 10**6, optional=True,
    ),
    "sender_lr": Knob(1e-3, float, "Adam's rate of the sender, 1e-4 to 1e-2 searched [P]; 1e-3 [U].", 0.0, 1.0),
    "receiver_lr": Knob(
        2e-4, float, "Adam's rate of the receiver [P]; 2e-4 [U]. Their ratio decides who gains: a slow receiver favours "
        "the sender.", 0.0, 1.0,
    ),
    "sender_hidden": Knob(32, int, "Units of a layer of the sender, 16 to 64 searched [P].", 1, 10**5),
    "receiver_hidden": Knob(32, int, "Units of a layer of the receiver, 16 to 64 searched [P].", 1, 10**5),
    "sender_entropy_coeff": Knob(
        5e-3, float, "Weight of the entropy of messages, nats, 1e-4 to 1 searched [P]; higher keeps messages varied.",
        0.0, 1e3,
    ),
    "log_variance": Knob(False, bool, "Continuous sender: its head is a log-variance, not a deviation (appendix) [P]."),
    "switch_after": Knob(
        None, int, "Iterations after which the bias is switch_bias, to watch a protocol drift ('paper'; circle). None: "
        "never. From an unpublished branch of [P]'s authors.", 1, 10**6, optional=True,
    ),
    "switch_bias": Knob(0.0, float, "The bias from then on, degrees.", 0.0, 180.0),
    "lola": Knob(
        "none", str, "Who looks ahead through the other's simulated updates (LOLA): 'sender' (DiCE), 'receiver' or "
        "'both'; discrete channel only. An option of a precursor of [P], without reference results.",
        choices=("none", "sender", "receiver", "both"),
    ),
    "lola_order": Knob(1, int, "Simulated updates of the other agent.", 1, 100),
    "sender_lola_lr": Knob(1e-2, float, "Rate of the sender's simulated updates, 1e-4 to 1e-1 searched.", 0.0, 10.0),
    "receiver_lola_lr": Knob(1e-2, float, "Rate of the receiver's simulated updates.", 0.0, 10.0),
    # Negotiation.
    "negotiator_lr": Knob(1e-3, float, "Adam's rate of both negotiators [C].", 0.0, 1.0),
    "encoder": Knob(
        "lstm", str, "What a negotiator reads with: 'lstm', three of them over numbers and symbols [C]; 'mlp', one-hot "
        "inputs and two layers, several times faster (E.3).", choices=("lstm", "mlp"),
    ),
    "terminate_entropy_coeff": Knob(0.05, float, "Weight of the entropy of accepting, nats [C]. Selfish results hang on "
                                    "it: 0.5 spoils them.", 0.0, 1e3),
    "proposal_entropy_coeff": Knob(0.05, float, "Weight of the entropy of proposals [C].", 0.0, 1e3),
    "utterance_entropy_coeff": Knob(1e-3, float, "Weight of the entropy of utterances [C].", 0.0, 1e3),
}  # fmt: skip
