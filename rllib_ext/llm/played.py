"""A finished conversation as plain data, and many of them as two arrays on their way to the driver.

RLlib's SingleAgentEpisode is what ``sample()`` returns (`rllib_ext/llm/episodes.py`). Between a rollout worker and
the driver of this package it costs more than what it carries: making, pickling and reading one takes longer than a
small model needs for its tokens. There a batch travels as one array of ids, one of log-probabilities and the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rllib_ext.llm.conversation import Conversation


@dataclass(frozen=True, slots=True)
class Played:
    """One conversation; tuples have one entry a turn, arrays are (T,) of that turn.

    observations: what the environment said before each turn, and after the last. observation_ids: the same as tokens,
    the prompt first. token_ids: what was sampled, never re-tokenised; logps: float32, nats, of the tempered policy.
    finished: whether EOS came. version: of the weights that sampled. score None and unscored: why.
    """

    epoch: int
    index: int
    observations: tuple[Any, ...]
    texts: tuple[str, ...]
    observation_ids: tuple[np.ndarray, ...]
    token_ids: tuple[np.ndarray, ...]
    logps: tuple[np.ndarray, ...]
    finished: tuple[bool, ...]
    version: int
    score: float | None
    unscored: str | None
    truncated: bool
    info: dict[str, Any]


def played(item: Conversation, version: int) -> Played:
    """What stays of a conversation that has ended."""
    turns = item.turns
    return Played(
        epoch=item.epoch,
        index=item.index,
        observations=(*(turn.observation for turn in turns), item.final_observation),
        texts=tuple(turn.text for turn in turns),
        observation_ids=tuple(turn.observation_ids for turn in turns),
        token_ids=tuple(turn.token_ids for turn in turns),
        logps=tuple(turn.logps for turn in turns),
        finished=tuple(turn.finished for turn in turns),
        version=version,
        score=item.score,
        unscored=item.unscored,
        truncated=item.truncated,
        info=item.info,
    )


class PlayedBatch(list[Played]):
    """Conversations in the order of their prompts; pickles as two arrays, their cuts and what is no array."""

    def __reduce__(self) -> tuple[Any, ...]:
        ids = [array for item in self for array in (*item.observation_ids, *item.token_ids)]
        logps = [array for item in self for array in item.logps]
        rest = [
            (
                *(item.epoch, item.index, item.observations, item.texts, item.finished),
                *(item.version, item.score, item.unscored, item.truncated, item.info),
            )
            for item in self
        ]
        return _unpack, (_joined(ids, np.int64), _cuts(ids), _joined(logps, np.float32), _cuts(logps), rest)


def _joined(arrays: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *arrays])


def _cuts(arrays: list[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *map(len, arrays)])


def _pieces(joined: np.ndarray, cuts: np.ndarray) -> Iterator[np.ndarray]:
    places = cuts.tolist()
    return (joined[start:end] for start, end in pairwise(places))


def _unpack(
    ids: np.ndarray, id_cuts: np.ndarray, logps: np.ndarray, logp_cuts: np.ndarray, rest: Iterable[tuple]
) -> PlayedBatch:
    """The inverse of `PlayedBatch.__reduce__`; arrays are views into the two that came."""
    id_pieces, logp_pieces = _pieces(ids, id_cuts), _pieces(logps, logp_cuts)
    batch = PlayedBatch()
    for epoch, index, observations, texts, finished, version, score, unscored, truncated, info in rest:
        turns = range(len(texts))
        batch.append(
            Played(
                epoch,
                index,
                observations,
                texts,
                tuple(next(id_pieces) for _ in turns),
                tuple(next(id_pieces) for _ in turns),
                tuple(next(logp_pieces) for _ in turns),
                finished,
                version,
                score,
                unscored,
                truncated,
                info,
            )
        )
    return batch
