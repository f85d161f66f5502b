"""The stage ``OfflineDPO``: DPO on fixed comparisons, the comparison of the N+ paper (detail 19).

    z = (log pi(y+) - log pi_ref(y+)) - (log pi(y-) - log pi_ref(y-)),   loss = -log sigmoid(beta z)

with beta 0.05, log-probabilities summed over the completion and its EOS, at temperature 1. The reference is the model
that the stage starts from; its log-probabilities are computed once, before the first update, and kept in the
checkpoints. The implicit reward model is beta (log pi - log pi_ref): its accuracy on held-out comparisons is the
figure to put beside the reward model's.

Left out: generation from the policy while training (``AsyncOnlineDPO``).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from rllib_ext.functional.preference import ipo, online_dpo
from rllib_ext.llm.reward_head import pad_right
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.sequence_logps import completion_sums, score_sequences
from rllib_ext.llm.supervised_rows import Batch, Row
from rllib_ext.llm.supervised_trainer import Loop
from rllib_ext.stages import knobs
from rllib_ext.stages.preferences import PreferenceStage

SIDES = ("input_ids", "rejected_ids")


class OfflineDPO(PreferenceStage):
    """DPO on fixed comparisons."""

    knobs = knobs.OFFLINE_DPO

    def make(self) -> Loop:
        model = open_causal_lm(self.base)
        rows = self.read(self.longest(model))
        self._reference = {
            name: self._reference_logps(model, part)
            for name, part in (("train", rows), ("held_out", self.held_rows))
        }
        for place, row in enumerate(rows):
            row["place"] = place
        return Loop(model, rows, self._collate, self._loss, self.training, on_update=self.on_update)

    def _reference_logps(self, model: PreTrainedModel, rows: list[Row]) -> torch.Tensor:
        """(rows, 2) in nats: chosen, rejected."""
        size = self.values["batch_size"]
        columns = [
            score_sequences(model, [row[side] for row in rows], [row["query_tokens"] for row in rows], size)
            for side in SIDES
        ]
        return torch.stack(columns, dim=1)

    def extra_tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"reference_logps": dict(self._reference)}

    def restore_extra(self, tensors: dict[str, dict[str, torch.Tensor]]) -> None:
        self._reference = dict(tensors["reference_logps"])

    def _collate(self, rows: list[Row]) -> Batch:
        sequences = [row[side] for side in SIDES for row in rows]
        input_ids, attention_mask = pad_right(sequences, self.values["pad_to"])
        places = torch.tensor([row["place"] for row in rows])
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "starts": torch.tensor([row["query_tokens"] for row in rows] * 2),
            "reference": self._reference["train"][places],
            "terms": torch.tensor(len(rows)),
        }

    def _loss(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        sums_2B = completion_sums(model, batch["input_ids"], batch["attention_mask"], batch["starts"])
        chosen_B, rejected_B = sums_2B.chunk(2)
        reference = batch["reference"].to(sums_2B.device)
        sides = (chosen_B, rejected_B, reference[:, 0], reference[:, 1])
        if self.values["loss"] == "ipo":
            loss_B, _ = ipo(*sides, self.values["beta"])
        else:
            loss_B, _ = online_dpo(*sides, self.values["beta"], self.values["label_smoothing"])
        return loss_B.sum(), batch["terms"]

    def finish(self) -> dict[str, Any]:
        figures: dict[str, Any] = {"lengths": self.lengths.as_json()}
        if not self.held_rows:
            return figures
        now = self._reference_logps(self.loop.model, self.held_rows)
        rewards = self.values["beta"] * (now - self._reference["held_out"])
        return figures | self.write_scores(rewards[:, 0].tolist(), rewards[:, 1].tolist())
