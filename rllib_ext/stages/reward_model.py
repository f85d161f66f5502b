"""The stage ``RewardModel``: a scalar head on the SFT model, trained on comparisons (N+ details 10 to 18).

Loss -log sigmoid(r_chosen - r_rejected), both sides in one forward pass; the head starts at standard deviation
1 / sqrt(d + 1) and bias 0; a score is the head's output at the last token before padding. Afterwards the mean score of
the reference completions goes into the bias, so that references score 0 on average (detail 15); the scale stays.

Figures at the end: accuracy and margin of the held-out comparisons, means of either side, mean, spread and range of
the references' scores, what left padding changes (detail 14), what the head says before the last token (detail 13).
"""

from __future__ import annotations

from typing import Any

from rllib_ext.errors import BadData
from rllib_ext.llm.reward_diagnostics import padding_difference, position_scores, spread
from rllib_ext.llm.reward_head import new_reward_model, score_rows, subtract_from_bias
from rllib_ext.llm.supervised_rows import preference_loss, sft_rows
from rllib_ext.llm.supervised_trainer import Loop
from rllib_ext.stages import knobs
from rllib_ext.stages.preferences import POSITIONS, PreferenceStage

_PADDING_ROWS = 256


class RewardModel(PreferenceStage):
    """A reward model on comparisons."""

    knobs = knobs.REWARD_MODEL

    def make(self) -> Loop:
        model = new_reward_model(self.base, seed=self.training.seed, pad_token_id=self.tokenizer.pad_token_id)
        self._longest = self.longest(model)
        rows = self.read(self._longest)
        self._references = self._reference_rows() if self.values["normalise"] else []
        return Loop(model, rows, self.collate, preference_loss, self.training, on_update=self.on_update)

    def _reference_rows(self) -> list[list[int]]:
        pairs = [(item.prompt, item.completion) for item in self.data.references()]
        rows, dropped = sft_rows(pairs, self.tokenizer, max_length=self._longest)
        self.data.accounts.drop_long("references", dropped)
        if not rows:
            raise BadData(
                "no reference is short enough to be scored; raise max_length or set normalise=false"
            )
        return [row["input_ids"] for row in rows]

    def finish(self) -> dict[str, Any]:
        model, size = self.loop.model, self.values["batch_size"]
        figures: dict[str, Any] = {"lengths": self.lengths.as_json()}
        if self._references:
            before = score_rows(model, self._references, batch_size=size)
            subtract_from_bias(model, before)
            after = score_rows(model, self._references, batch_size=size)
            figures |= {"references": spread(after), "reference_mean": after.double().mean().item()}
            figures |= {"reference_mean_before": before.double().mean().item()}
        figures["bias"] = model.score.bias.item()
        if self.held_rows:
            figures |= self._held_out(model, size)
        return figures

    def _held_out(self, model: Any, size: int) -> dict[str, Any]:
        sides = [[row[name] for row in self.held_rows] for name in ("input_ids", "rejected_ids")]
        chosen, rejected = (score_rows(model, side, batch_size=size) for side in sides)
        padding = padding_difference(model, sides[0][:_PADDING_ROWS], batch_size=size)
        positions = position_scores(model, sides[0][:_PADDING_ROWS], batch_size=size)
        self.run.write_json(POSITIONS, {"padding": padding.as_json(), "positions": positions.as_json()})
        figures = self.write_scores(chosen.tolist(), rejected.tolist())
        return {
            **figures,
            "padding_difference_mean": padding.mean,
            "padding_difference_share": padding.share_above,
            "other_positions_negative_share": positions.negative_share,
        }
