"""The models of SQOOP by name: what a configuration chooses from, and the one function that builds it.

nmn            layout tree, chain, chain_shortcut (modules residual or find), or stochastic; alpha hard or learned
film, mac      generic models with attention to words, channels or places
relnet         pairs of places; relation_activation="linear" is the released form, which looks at none
conv_rnn       one hidden layer on everything
question_only  blind: the negative control
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.runtime.knobs import Knob
from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.classifier import MapClassifier
from rllib_ext.sqoop.conv_rnn import ConvRecurrent
from rllib_ext.sqoop.film import Film
from rllib_ext.sqoop.language import CELLS, QuestionEncoder
from rllib_ext.sqoop.layouts import LAYOUTS
from rllib_ext.sqoop.mac import Mac
from rllib_ext.sqoop.nmn import ALPHAS, MODULES, LayoutNetwork
from rllib_ext.sqoop.question_only import QuestionOnly
from rllib_ext.sqoop.relation import ACTIVATIONS, RelationNetwork
from rllib_ext.sqoop.sizes import ENCODERS, FILM_BLOCKS, SIZES, TABLE, Size
from rllib_ext.sqoop.stem import ConvStem
from rllib_ext.sqoop.stochastic import StochasticNetwork

STOCHASTIC = "stochastic"
# [R] is the released code of Bahdanau et al. 2019.
ENCODER_KNOBS: dict[str, Knob] = {
    "encoder": Knob("nmn", str, "The model.", choices=ENCODERS),
    "size": Knob("mini", str, "'mini' for images of 24 pixels; 'paper' for 64 [R].", choices=SIZES),
    "layout": Knob(
        "tree", str, "Of nmn: how its three modules are wired; 'stochastic' learns p(tree) against the chain [R].",
        choices=(*LAYOUTS, STOCHASTIC),
    ),
    "module": Knob("residual", str, "Of nmn: what a word writes, a whole block or its channels' scales [R].",
                   choices=tuple(MODULES)),
    "alpha": Knob("hard", str, "Of nmn: which word writes which module, given or learnt (Attention-N2NMN) [R].",
                  choices=ALPHAS),
    "p0": Knob(0.5, float, "Of layout='stochastic': p(tree) at first [R].", 1e-6, 1 - 1e-6),
    "relation_activation": Knob(
        "relu", str, "Of relnet's g; 'linear' as released, a sum that sees no pair [R].", choices=ACTIVATIONS
    ),
    "cell": Knob(
        "gru", str, "Of the questions of relnet and conv_rnn; 'gru' as released under the name of LSTM [R].",
        choices=CELLS,
    ),
}  # fmt: skip
SHAPES = ("image_shape", "vocabulary")


def build_encoder(config: Mapping[str, Any]) -> AnswerEncoder:
    """The model of a configuration: any of `ENCODER_KNOBS`, and the shapes of the data.

    image_shape: (height, width, colours). vocabulary: how many tokens a question may hold. Raises BadConfig for an
    unknown key, a value out of range, and for images that the size is not made for.
    """
    for name in config:
        if name not in ENCODER_KNOBS and name not in SHAPES:
            raise unknown_name("setting of an encoder", name, [*ENCODER_KNOBS, *SHAPES])
    for name in SHAPES:
        if name not in config:
            raise BadConfig(
                f"{name} is not set: an encoder needs the shapes of its data, {' and '.join(SHAPES)}"
            )
    chosen = {name: knob.check(name, config.get(name, knob.default)) for name, knob in ENCODER_KNOBS.items()}
    build = _BUILDERS[chosen["encoder"]]
    return build(chosen, TABLE[chosen["size"]], tuple(config["image_shape"]), int(config["vocabulary"]))


def _stem(
    size: Size, image_shape: Sequence[int], *, out: int | None = None, coordinates: bool = False
) -> ConvStem:
    return ConvStem(
        image_shape, layers=size.layers, pools=size.pools, channels=size.channels, channels_out=out or size.channels,
        coordinates=coordinates,
    )  # fmt: skip


def _question(size: Size, vocabulary: int, cell: str) -> QuestionEncoder:
    return QuestionEncoder(vocabulary, size.words, size.recurrent, cell, both_ways=True)


def _nmn(chosen: Mapping[str, Any], size: Size, image_shape: Sequence[int], vocabulary: int) -> AnswerEncoder:
    stem = _stem(size, image_shape)
    classifier = MapClassifier(size.channels, size.projection, size.classifier)
    settings: dict[str, Any] = {
        "channels": size.channels,
        "vocabulary": vocabulary,
        "module": chosen["module"],
        "alpha": chosen["alpha"],
    }
    if chosen["layout"] == STOCHASTIC:
        return StochasticNetwork(stem, classifier, p0=chosen["p0"], **settings)
    return LayoutNetwork(stem, classifier, layout=chosen["layout"], **settings)


def _film(
    chosen: Mapping[str, Any], size: Size, image_shape: Sequence[int], vocabulary: int
) -> AnswerEncoder:
    stem = _stem(size, image_shape, coordinates=True)
    classifier = MapClassifier(size.channels, size.projection, size.classifier, coordinates=True)
    language = QuestionEncoder(vocabulary, size.film_words, size.film_recurrent, "gru", both_ways=False)
    return Film(stem, classifier, language, channels=size.channels, blocks=FILM_BLOCKS)


def _mac(chosen: Mapping[str, Any], size: Size, image_shape: Sequence[int], vocabulary: int) -> AnswerEncoder:
    stem = _stem(size, image_shape, out=size.mac_width, coordinates=True)
    language = QuestionEncoder(vocabulary, size.mac_words, size.mac_width // 2, "lstm", both_ways=True)
    return Mac(stem, language, width=size.mac_width, steps=size.mac_steps, hidden=size.hidden)


def _relnet(
    chosen: Mapping[str, Any], size: Size, image_shape: Sequence[int], vocabulary: int
) -> AnswerEncoder:
    stem = ConvStem(
        image_shape, layers=size.relation_layers, pools=size.relation_pools, channels=size.channels,
        channels_out=size.channels,
    )  # fmt: skip
    return RelationNetwork(
        stem, _question(size, vocabulary, chosen["cell"]), channels=size.channels, width=size.relation_width,
        hidden=size.hidden, activation=chosen["relation_activation"],
    )  # fmt: skip


def _conv_rnn(
    chosen: Mapping[str, Any], size: Size, image_shape: Sequence[int], vocabulary: int
) -> AnswerEncoder:
    language = _question(size, vocabulary, chosen["cell"])
    return ConvRecurrent(_stem(size, image_shape), language, channels=size.channels, hidden=size.hidden)


def _question_only(
    chosen: Mapping[str, Any], size: Size, image_shape: Sequence[int], vocabulary: int
) -> AnswerEncoder:
    return QuestionOnly(_question(size, vocabulary, chosen["cell"]), hidden=size.hidden)


_BUILDERS: dict[str, Callable[..., AnswerEncoder]] = {
    "nmn": _nmn,
    "film": _film,
    "mac": _mac,
    "relnet": _relnet,
    "conv_rnn": _conv_rnn,
    "question_only": _question_only,
}
