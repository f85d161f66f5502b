"""A trained scorer as a folder: what mining, rewards and programs of one's own begin from.

    folder/step_<updates>/      a checkpoint of `runtime.checkpoint`: safetensors and JSON, hashed, no pickle
        scorer                  its weights, the initial word vectors among them
        train                   the training triples: novelty is the distance to them
        dev1                    scores and labels of dev1: what the threshold, and any calibration, is fitted on
        card.json               vocabulary, threshold, what it is and was made from

The folder holds the training triples, so what their licence asks for (ConceptNet: CC BY-SA 4.0) goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rllib_ext.commonsense.evaluation import scores_of
from rllib_ext.commonsense.scorers import Scorer, build_scorer
from rllib_ext.commonsense.triples import Text, Triples, Vocabulary
from rllib_ext.errors import BadData, CheckpointCorrupt
from rllib_ext.runtime import checkpoint

CARD = "card"
GROUPS = ("scorer", "train", "dev1")


@dataclass(frozen=True)
class TrainedScorer:
    """An exported scorer that was read and verified. threshold: call true what scores above."""

    scorer: Scorer
    train: Triples
    threshold: float
    dev1_scores: NDArray[np.float64]
    dev1_labels: NDArray[np.int64]
    card: Mapping[str, Any]
    path: Path

    @property
    def vocabulary(self) -> Vocabulary:
        return self.train.vocabulary

    @property
    def initial_vectors(self) -> NDArray[np.float32]:
        """[V, D]: what novelty is measured in."""
        return self.scorer.phrases.initial.cpu().numpy()

    def score(self, triples: Triples) -> NDArray[np.float64]:
        """Logits of triples on this vocabulary."""
        return scores_of(self.scorer, triples)

    def score_text(self, rows: list[Text]) -> NDArray[np.float64]:
        """Logits of triples in words. An unknown relation raises BadConfig; unknown words share one vector."""
        return self.score(Triples.from_text(rows, self.vocabulary))


def save_scorer(
    folder: Path | str,
    *,
    weights: Mapping[str, Tensor],
    model_config: Mapping[str, Any],
    train: Triples,
    threshold: float,
    dev1: tuple[NDArray[np.float64], NDArray[np.int64]],
    updates: int,
    about: Mapping[str, Any],
) -> Path:
    """Write the folder, durably and all or nothing; its path. An older content is replaced."""
    arrays = {
        "train": {"heads": train.heads, "relations": train.relations, "tails": train.tails},
        "dev1": {"scores": dev1[0], "labels": dev1[1]},
    }
    tensors = {name: {key: torch.from_numpy(np.ascontiguousarray(one)) for key, one in group.items()}
               for name, group in arrays.items()}  # fmt: skip
    tensors["scorer"] = {name: one.detach().cpu().contiguous() for name, one in weights.items()}
    card = {
        "model_config": {**model_config, "train_shape": list(model_config["train_shape"])},
        "words": list(train.vocabulary.words),
        "relations": list(train.vocabulary.relations),
        "threshold": threshold,
        "updates": updates,
        **about,
    }
    checkpoint.save(folder, step=updates, tensors=tensors, state={CARD: card}, keep=1)
    return Path(folder)


def load_scorer(folder: Path | str) -> TrainedScorer:
    """Read and verify an exported folder. Raises BadData where there is none, CheckpointCorrupt where it is damaged."""
    folder = Path(folder)
    path = checkpoint.latest(folder) if folder.is_dir() else None
    if path is None:
        for damaged in sorted(folder.glob("step_*")):
            checkpoint.verify(damaged)  # raises, naming the file
        raise BadData(
            f"{folder} is no exported scorer: it has no complete step_<updates> in it; give the folder `model` of a run "
            "of CommonsenseKBC"
        )
    loaded = checkpoint.load(path)
    card = loaded.state.get(CARD)
    if not isinstance(card, Mapping) or set(GROUPS) - set(loaded.tensors):
        raise CheckpointCorrupt(
            f"{path} is no exported scorer: it lacks its card or one of {', '.join(GROUPS)}"
        )
    try:
        return _built(card, loaded.tensors, folder)
    except (KeyError, TypeError, RuntimeError, BadData) as error:
        raise CheckpointCorrupt(f"{path}: card and tensors do not fit together ({error!r})") from error


def _built(
    card: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]], folder: Path
) -> TrainedScorer:
    settings = {**card["model_config"], "train_shape": tuple(card["model_config"]["train_shape"])}
    scorer = build_scorer(**settings)
    scorer.load_state_dict(dict(tensors["scorer"]), strict=True)
    stored = {name: one.numpy() for name, one in tensors["train"].items()}
    vocabulary = Vocabulary(tuple(card["words"]), tuple(card["relations"]))
    train = Triples(stored["heads"], stored["relations"], stored["tails"], vocabulary)
    dev1 = tensors["dev1"]
    return TrainedScorer(
        scorer.eval(), train, card["threshold"], dev1["scores"].numpy(), dev1["labels"].numpy(), card, folder
    )
