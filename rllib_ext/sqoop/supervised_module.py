"""A model of SQOOP as the RLModule that the supervised learner trains. The weights are those of ``encoder``."""

from __future__ import annotations

from typing import Any

from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch import TorchRLModule

from rllib_ext.sqoop.encoders import ENCODER_KNOBS, SHAPES, build_encoder

LOSSES = "losses"


class SupervisedSqoop(TorchRLModule):
    """``model_config``: what `build_encoder` takes."""

    def setup(self) -> None:
        self.encoder = build_encoder({name: self.model_config[name] for name in (*ENCODER_KNOBS, *SHAPES)})

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        observed = batch[Columns.OBS]
        return {Columns.ACTION_DIST_INPUTS: self.encoder(observed["image"], observed["question"])}

    def _forward_train(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        """``losses`` (B,) of a batch with image, question and answer, and figures beside them."""
        losses_B, figures = self.encoder.answer_losses(batch["image"], batch["question"], batch["answer"])
        return {LOSSES: losses_B, **figures}
