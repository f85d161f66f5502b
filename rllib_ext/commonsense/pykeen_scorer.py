"""A PyKEEN model as a baseline scorer of triples.

PyKEEN's models score triples of entities of a closed set; a phrase is an entity of its own, and "red apple" has nothing
to do with "apple". So a triple with a phrase that the model was not trained on has no score of its own here: it gets
``unknown_score``, the same for all of them. Read `known` beside every figure: on the published test set 98 % of the heads
and 94 % of the tails occur in training, on mined candidates far fewer.

    factory = TriplesFactory.from_labeled_triples(label_array(base.train))
    model = pipeline(training=factory, testing=factory, model="DistMult").model
    scores = PyKEENScorer(model, factory.entity_to_id, factory.relation_to_id)(base.test)
    figures(scores, base.test.labels, best_threshold(...).value)

Whatever takes `mining.Score` takes it: `mine`, `TripleJudge`. PyKEEN itself is not imported here. Left out: rankings of
entities (MRR, hits at k), which PyKEEN has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rllib_ext.commonsense.triples import Triples
from rllib_ext.errors import BadConfig, BadData

BATCH = 4096


class PyKEENScorer:
    """model: any `pykeen.models.Model`. entity_to_id, relation_to_id: of the factory that it was trained on."""

    def __init__(
        self,
        model: Any,
        entity_to_id: Mapping[str, int],
        relation_to_id: Mapping[str, int],
        *,
        unknown_score: float = 0.0,
        batch_size: int = BATCH,
    ) -> None:
        if not hasattr(model, "predict_hrt"):
            raise BadConfig(f"{type(model).__name__} has no predict_hrt: give a model of PyKEEN")
        if not np.isfinite(unknown_score) or batch_size < 1:
            raise BadConfig(
                f"unknown_score is {unknown_score} and batch_size {batch_size}; they must be finite, and 1 or more"
            )
        self.model, self.unknown_score, self.batch_size = model, float(unknown_score), batch_size
        self._entities, self._relations = dict(entity_to_id), dict(relation_to_id)

    def __call__(self, triples: Triples) -> NDArray[np.float64]:
        """Scores [N], higher for the more plausible; ``unknown_score`` where the model lacks a part."""
        ids_N3 = self._ids(triples)
        found = np.full(len(triples), self.unknown_score)
        rows = np.flatnonzero((ids_N3 >= 0).all(axis=1))
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            with torch.no_grad():
                scores = self.model.predict_hrt(torch.from_numpy(ids_N3[part]).to(self.model.device))
            found[part] = scores.double().cpu().numpy().reshape(-1)
        if not np.isfinite(found).all():
            raise BadData(
                f"{type(self.model).__name__} gave {int((~np.isfinite(found)).sum())} scores that are not finite"
            )
        return found

    def known(self, triples: Triples) -> NDArray[np.bool_]:
        """[N]: whether the model has both phrases and the relation."""
        return (self._ids(triples) >= 0).all(axis=1)

    def _ids(self, triples: Triples) -> NDArray[np.int64]:
        """Head, relation and tail by the model's numbers [N, 3]; -1 for what it lacks."""
        found = np.full((len(triples), 3), -1, np.int64)
        for row in range(len(triples)):
            head, relation, tail = triples.text(row)
            found[row] = (
                self._entities.get(head, -1), self._relations.get(relation, -1), self._entities.get(tail, -1),
            )  # fmt: skip
        return found


def label_array(triples: Triples) -> NDArray[np.str_]:
    """Head, relation, tail as strings [N, 3]: what ``TriplesFactory.from_labeled_triples`` takes."""
    return np.array([triples.text(row) for row in range(len(triples))], dtype=str)
