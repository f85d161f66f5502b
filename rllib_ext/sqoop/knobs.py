"""The knobs of SQOOP, each with its default and where that comes from.

[R] is the released code of Bahdanau et al. 2019 (arXiv 1811.12889). ``lr`` and the batch,
``train_batch_size_per_learner``, have RLlib's names; where they are not set they are those of
`rllib_ext.sqoop.sizes.recipe`. Arguments of the generator beside its preset are ``env_config``.
"""

from __future__ import annotations

from dataclasses import replace

from rllib_ext.runtime.knobs import Knob
from rllib_ext.sqoop.encoders import ENCODER_KNOBS
from rllib_ext.sqoop.sizes import SIZES

KNOBS: dict[str, Knob] = {
    **ENCODER_KNOBS,
    "size": replace(
        ENCODER_KNOBS["size"], default=None, optional=True,
        doc="Of the model: 'mini' for images of 24 pixels, 'paper' for 64 [R]; None: as the preset of the data.",
    ),
    "preset": Knob("mini", str, "The generator's: 8 bitmaps in 24 pixels, or the released data [R].", choices=SIZES),
    "rhs_per_lhs": Knob(
        1, int, "Distinct right-hand objects that each left-hand one is trained with; fewer is harder [R].", 1, 10**4
    ),
    "cover": Knob(
        False, bool, "Whether every glyph stands on the right of some training pair. At rhs_per_lhs=1 the released pairs "
        "leave about 36% of them out [R].",
    ),
    "pairs_seed": Knob(0, int, "Seed of the training pairs, apart from the run's.", 0, 2**31 - 1),
    "train_scenes": Knob(
        None, int, "Training scenes that are drawn once and gone through in a new order in every epoch; 0: every scene "
        "is new; None: 40,000 for mini, 0 for paper (there were a million there [R]).", 0, 10**8, optional=True,
    ),
    "eval_scenes": Knob(2304, int, "Fresh scenes of each of the three evaluation sets; even.", 2, 10**7),
    "evaluate_every": Knob(5, int, "Iterations from one examination to the next; one is after the first.", 1, 10**9),
    "updates_per_iteration": Knob(100, int, "Gradient steps of one iteration (of one row of results).", 1, 10**6),
    "structure_lr_ratio": Knob(
        10.0, float, "Learning rate of the layout's and the attention's logits, as a multiple of lr [R].", 1e-6, 1e6
    ),
    "escape_below": Knob(
        0.68, float, "The plateau is left where the average training loss first falls below this; ln 2 = 0.693 is "
        "guessing.", 1e-3, 0.6931,
    ),
}  # fmt: skip
