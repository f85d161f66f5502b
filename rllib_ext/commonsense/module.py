"""A scorer of triples as an RLModule. There is nothing to act on: observation and action spaces are formal."""

from __future__ import annotations

from typing import Any

from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, arange, cat

from rllib_ext.commonsense.scorers import build_scorer


class KBCModule(TorchRLModule):
    """``model_config``: the arguments of `build_scorer`."""

    def setup(self) -> None:
        self.scorer = build_scorer(**self.model_config)
        if not self.scorer.trained:
            self.scorer.requires_grad_(False)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Logits [B] of triples: heads [B, L], relations [B], tails [B, L]."""
        return {"logits": self.scorer.score(batch["heads"], batch["relations"], batch["tails"])}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        """The same of B positives, then of M corruptions, which are rows of the batch: ``bad_heads`` [M] and so on."""
        scorer, relations = self.scorer, batch["relations"]
        own = arange(len(relations), device=relations.device)
        heads = scorer.of_heads(scorer.phrases(batch["heads"]))
        tails = scorer.of_tails(scorer.phrases(batch["tails"]))
        names = ("bad_heads", "bad_relations", "bad_tails")
        places = tuple(cat([own, batch[name]]) for name in names)
        return {"logits": scorer.score_rows(heads, relations, tails, places)}
