"""The knobs of LewisGame. Defaults are those of the published game and of Elastic Reset's development runs on it.

Sources: Lu et al. 2020 (arXiv 2003.12694); Elastic Reset's code resets the speaker alone, averages every 100 updates with
0.995, and was run with periods of 1,000 to 5,000.
"""

from __future__ import annotations

from dataclasses import replace

from rllib_ext.language_games.knobs import RESETS, RUN, resets
from rllib_ext.runtime.knobs import Knob

METHODS = ("plain", "s2p", "sil", *RESETS)

WORLD = {
    "properties": Knob(5, int, "p: properties of an object, symbols of a message (published: 5).", 1, 20),
    "types": Knob(5, int, "t: values of a property (published: 5).", 2, 1000),
    "labelled": Knob(
        10, int, "Objects that are learnt with their canonical message (published: 10).", 1, 10**6
    ),
    "played": Knob(30, int, "Objects that are played with (published: 30).", 1, 10**6),
    "data_seed": Knob(0, int, "Which objects are in which set.", 0, 2**31),
}

AGENTS = {
    "hidden": Knob(200, int, "Width between the two linear maps of an agent (published: 200).", 1, 10**5),
    "weight_scale": Knob(0.1, float, "Standard deviation of the first weights (published: 0.1).", 1e-6, 10),
}

LEARNING = {
    "method": Knob(
        "plain",
        str,
        "Against drift: 'plain' nothing, 's2p' a supervised loss in every update, 'sil' generations, 'elastic_reset', or "
        "one of its ablations.",
        choices=METHODS,
    ),
    "message_gradient": Knob(
        "gumbel",
        str,
        "How the speaker learns: 'gumbel' through the message (straight-through), 'reinforce' from the reward.",
        choices=("gumbel", "reinforce"),
    ),
    "temperature": Knob(10.0, float, "Of the Gumbel softmax (published: 10).", 1e-6, 10**6),
    "pretrain_updates": Knob(500, int, "Supervised updates of each agent on the labelled objects.", 0, 10**9),
    "pretrain_lr": Knob(1e-3, float, "Adam's rate in these.", 1e-12, 1),
    "play_updates": Knob(50_000, int, "Updates of the game (published: 50k).", 1, 10**9),
    "lr": Knob(
        None,
        float,
        "Adam's rate in the game; None: 1e-4 with 'gumbel', 1e-3 with 'reinforce' (published).",
        1e-12,
        1,
        optional=True,
    ),
    "batch_size": Knob(
        None,
        int,
        "Games of an update; None: 50 with 'gumbel', 64 with 'reinforce' (published).",
        1,
        10**6,
        optional=True,
    ),
    "entropy_weight": Knob(0.0, float, "Of the message's entropy, with 'reinforce'.", 0, 10**6),
    "report_every": Knob(500, int, "Updates of one iteration, after which the game is evaluated.", 1, 10**9),
    "s2p_weight": Knob(1.0, float, "alpha of S2P's supervised loss.", 0, 10**6),
    "sil_every": Knob(1000, int, "k1: play updates of a generation.", 1, 10**9),
    "sil_updates": Knob(200, int, "k2: imitation updates of each student.", 1, 10**9),
}

_RESETS = resets(
    "a quarter of play_updates.",
    {"speaker": "published", "both": "speaker and listener", "listener": "for comparison"},
)
ELASTIC = {
    **_RESETS,
    "reset_every": replace(_RESETS["reset_every"], default=2000),
    "ema_every": replace(_RESETS["ema_every"], default=100),
    "ema_decay": replace(_RESETS["ema_decay"], default=0.995),
}

LEWIS = {**WORLD, **AGENTS, **LEARNING, **ELASTIC, **RUN}
