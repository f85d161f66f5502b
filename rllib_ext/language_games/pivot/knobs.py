"""The knobs of PivotGame. Defaults are those of the published translation game (IWSLT, Multi30k) where it has them.

Sources: Lee et al. 2019 (arXiv 1909.04499), Lu et al. 2020 (arXiv 2003.12694) and its released code. Nothing is published
of Elastic Reset's period and decay on this game; the defaults here are this package's.
"""

from __future__ import annotations

from rllib_ext.language_games.knobs import RESETS, RUN, resets
from rllib_ext.runtime.knobs import Knob

METHODS = ("reinforce", "s2p", "sil", *RESETS)
_SOURCE = "'synthetic' (built in), a folder of aligned plain files, JSONL, parquet, or a hub name"

DATA = {
    "data": Knob("synthetic", str, f"Game data, rows of fr, en, de: {_SOURCE}. Published: Multi30k, task 1."),
    "french_english": Knob(
        None,
        str,
        "Pretraining pairs of fr, en; None: synthetic ones, with synthetic data only. Published: IWSLT.",
        optional=True,
    ),
    "english_german": Knob(None, str, "Pretraining pairs of en, de; as french_english.", optional=True),
    "english": Knob(
        None,
        str,
        "English text (en) for the language model; None: synthetic, or with other data the English of "
        "french_english. Published: COCO captions.",
        optional=True,
    ),
    "data_config": Knob(None, str, "Config of the hub data set of the game.", optional=True),
    "data_revision": Knob(None, str, "Commit of the hub data set of the game.", optional=True),
    "game_rows": Knob(None, int, "At most so many rows to play on; None: all.", 1, 10**9, optional=True),
    "pretrain_rows": Knob(
        None, int, "At most so many rows of each pretraining corpus; None: all.", 1, 10**9, optional=True
    ),
    "eval_rows": Knob(256, int, "Held-out rows that every evaluation translates.", 1, 10**9),
    "data_seed": Knob(0, int, "Of the synthetic corpora; the run's seed leaves them alone.", 0, 2**31),
    "max_bad_rows": Knob(0.01, float, "Share of unusable rows above which a run does not begin.", 0.0, 1.0),
    "vocabulary": Knob(
        "word",
        str,
        "'word', or 'bpe': byte pairs learnt on the game data's three languages.",
        choices=("word", "bpe"),
    ),
    "vocabulary_size": Knob(
        25_000, int, "Entries of the joint vocabulary (published: 25,000 merges).", 8, 10**7
    ),
    "max_tokens": Knob(80, int, "Rows with a longer sentence are left out, and counted.", 4, 10**5),
}

MODEL = {
    "embedding": Knob(256, int, "Width of the embeddings (published: 256).", 1, 10**5),
    "hidden": Knob(256, int, "Width of the GRUs and of the baseline's layer (published: 256).", 1, 10**5),
    "lm_hidden": Knob(512, int, "Embedding and GRU of the language model (published: 512).", 1, 10**5),
}

PRETRAINING = {
    "pretrain_updates": Knob(1_000_000, int, "Updates of each agent (published: at most 1M).", 0, 10**9),
    "pretrain_tokens": Knob(2000, int, "Tokens of a pretraining batch (published: 2,000).", 1, 10**8),
    "pretrain_lr": Knob(3e-4, float, "Adam's rate at the start of pretraining (published: 3e-4).", 1e-12, 1),
    "pretrain_lr_end": Knob(
        1e-5, float, "Reached linearly after pretrain_lr_updates (published: 1e-5).", 0, 1
    ),
    "pretrain_lr_updates": Knob(500_000, int, "Updates of the linear fall (published: 500k).", 1, 10**9),
    "sender_dropout": Knob(0.2, float, "In pretraining only (published: 0.2 for Fr-En).", 0, 0.99),
    "receiver_dropout": Knob(0.3, float, "In pretraining only (published: 0.3 for En-De).", 0, 0.99),
    "lm_updates": Knob(20_000, int, "Updates of the language model, at lm_lr.", 0, 10**9),
    "lm_lr": Knob(1e-3, float, "Adam's rate of the language model.", 1e-12, 1),
    "pretrained_folder": Knob(
        None,
        str,
        "Where pretrained agents are kept for the next run with the same settings, data and seed; None: nowhere.",
        optional=True,
    ),
}

PLAY = {
    "method": Knob(
        "reinforce",
        str,
        "Against drift: 'reinforce' nothing, 's2p' a supervised loss in every update, 'sil' teacher and student "
        "generations, 'elastic_reset', or one of its ablations.",
        choices=METHODS,
    ),
    "play_updates": Knob(100_000, int, "Updates of the game (published: 100k; S2P 140k).", 1, 10**9),
    "play_tokens": Knob(1024, int, "Tokens of a game batch (published: 1,024).", 1, 10**8),
    "lr": Knob(1e-5, float, "Adam's rate of both agents in the game (published: 1e-5).", 1e-12, 1),
    "grad_clip": Knob(0.1, float, "Gradient norm of an agent, everywhere (published: 0.1).", 1e-9, 1e9),
    "min_message": Knob(3, int, "Fewest tokens of a message, EOS not counted (published: 3).", 0, 10**4),
    "max_message": Knob(40, int, "Most tokens of a message, EOS counted (published: 40).", 1, 10**4),
    "policy_weight": Knob(1.0, float, "Of the sender's REINFORCE loss (published: 1).", 0, 10**6),
    "baseline_weight": Knob(10.0, float, "Of the baseline's squared error (published: 10).", 0, 10**6),
    "receiver_weight": Knob(1.0, float, "Of the receiver's cross entropy (published: 1).", 0, 10**6),
    "entropy_weight": Knob(1e-3, float, "Of the message's entropy (published: 1e-3).", 0, 10**6),
    "report_every": Knob(
        500, int, "Updates of one iteration, after which the game is evaluated (published: 500).", 1, 10**9
    ),
}

S2P = {"s2p_weight": Knob(1.0, float, "alpha of S2P's supervised loss (published: 1).", 0, 10**6)}

SIL = {
    "sil_every": Knob(4000, int, "k1: play updates of a generation (published: 4,000).", 1, 10**9),
    "sil_updates": Knob(400, int, "k2: imitation updates of each student (published: 400).", 1, 10**9),
    "sil_lr": Knob(1e-4, float, "Adam's rate of the students (published: 1e-4).", 1e-12, 1),
}

ELASTIC = resets(
    "a quarter of play_updates.",
    {"sender": "the pivot's author", "both": "sender and receiver", "receiver": "for comparison"},
)

PIVOT = {**DATA, **MODEL, **PRETRAINING, **PLAY, **S2P, **SIL, **ELASTIC, **RUN}
