"""How large each model is, and how it is trained at that size.

``paper``: the released configuration of Bahdanau et al. 2019 (arXiv 1811.12889) for images of 64 x 64. ``mini``: the same
networks with 16 channels for images of 24 x 24, made so that a run takes minutes on a core. Its learning rate, batch and
length are those with which every model but the slowest fits the training pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

SIZES = ("mini", "paper")
ENCODERS = ("nmn", "film", "mac", "relnet", "conv_rnn", "question_only")


@dataclass(frozen=True)
class Size:
    """layers, pools: of the stem, and which of its layers (from 0) are pooled; channels: inside it, and of modules.
    projection, classifier: of `MapClassifier`. hidden: of the plain heads. words, recurrent: of the question.
    """

    layers: int
    pools: tuple[int, ...]
    channels: int
    projection: int
    classifier: int
    hidden: int
    words: int
    recurrent: int
    film_words: int
    film_recurrent: int
    mac_words: int
    mac_width: int
    mac_steps: int
    relation_layers: int
    relation_pools: tuple[int, ...]
    relation_width: int


TABLE: dict[str, Size] = {
    "mini": Size(
        layers=4, pools=(0, 2), channels=16, projection=256, classifier=512, hidden=256, words=32, recurrent=32,
        film_words=32, film_recurrent=128, mac_words=64, mac_width=64, mac_steps=6, relation_layers=4,
        relation_pools=(0, 2), relation_width=64,
    ),
    "paper": Size(
        layers=6, pools=(1, 3), channels=64, projection=512, classifier=1024, hidden=1024, words=64, recurrent=64,
        film_words=200, film_recurrent=1024, mac_words=300, mac_width=128, mac_steps=12, relation_layers=8,
        relation_pools=(1, 3, 5), relation_width=256,
    ),
}  # fmt: skip
FILM_BLOCKS = 4


@dataclass(frozen=True)
class Recipe:
    """Adam's learning rate, scenes of an update, updates of a run."""

    lr: float
    batch: int
    updates: int


_PAPER = {
    "film": Recipe(3e-4, 64, 200_000),
    "mac": Recipe(1e-4, 128, 100_000),
    "relnet": Recipe(1e-4, 64, 500_000),
    "conv_rnn": Recipe(1e-4, 128, 200_000),
    "question_only": Recipe(1e-4, 64, 50_000),
}
_MINI = Recipe(1e-3, 64, 4_000)


def recipe(encoder: str, size: str, *, module: str = "residual", layout: str = "tree") -> Recipe:
    """How the source trains it: residual modules in a fixed layout 50,000 updates, all other module networks 200,000."""
    if size == "mini":
        return _MINI
    if encoder == "nmn":
        short = module == "residual" and layout != "stochastic"
        return Recipe(1e-4, 64, 50_000 if short else 200_000)
    return _PAPER[encoder]
