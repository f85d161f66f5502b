"""The stage ``SFT``: supervised finetuning on demonstrations (N+ details 1 to 5 and 9).

Loss: next-token cross entropy on every token but padding, the query's included (``loss_on="all"``), or on the
completion and its EOS alone. Figures at the end: loss of the held-out rows in nats a token, perplexity, lengths.
Left out: generation (ROUGE-L of samples is the pipeline's).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from envs.text.demonstrations import Demonstration
from rllib_ext.llm.lengths import check_lengths, lengths_of
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.supervised_rows import collate_sft, mean_sft_loss, sft_loss, sft_rows
from rllib_ext.llm.supervised_trainer import Loop
from rllib_ext.stages import knobs
from rllib_ext.stages.stage import Stage


class SFT(Stage):
    """Supervised finetuning on demonstrations."""

    knobs = knobs.SFT
    kind = "demonstrations"

    def make(self) -> Loop:
        model = open_causal_lm(self.base)
        self._longest = self.longest(model)
        rows = self._rows(self.data.train(), "train")
        self._held_out = self._rows(self.data.held_out(), "held out")
        self._lengths = lengths_of(rows, "input_ids")
        check_lengths(self._lengths, self.values["expected_lengths"])
        collate = partial(collate_sft, width=self.values["pad_to"])
        return Loop(model, rows, collate, sft_loss, self.training, on_update=self.on_update)

    def _rows(self, demonstrations: list[Demonstration], purpose: str) -> list[dict[str, Any]]:
        pairs = [(item.prompt, item.completion) for item in demonstrations]
        rows, dropped = sft_rows(
            pairs, self.tokenizer, max_length=self._longest, loss_on=self.values["loss_on"]
        )
        self.data.accounts.drop_long(purpose, dropped)
        return rows

    def finish(self) -> dict[str, Any]:
        figures: dict[str, Any] = {"lengths": self._lengths.as_json()}
        if self._held_out:
            loss = mean_sft_loss(self.loop.model, self._held_out, self.values["batch_size"])
            figures |= {"eval_loss": loss, "eval_perplexity": math.exp(min(loss, 700.0))}
        return figures
