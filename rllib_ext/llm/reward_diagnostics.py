"""What a reward model's scores do when they should not: under left padding, and before the last token.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), details 13 and 14. Position ids are not
corrected for left padding, as in the paper: the difference is that of the same weights reading the same text further to
the right. Left out: telling apart what rounding and what positions contribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from rllib_ext.llm.reward_head import last_token_scores, pad_left, pad_right

LARGE = 1e-2  # a difference above this is counted (N+)
_BINS = 20


@dataclass(frozen=True)
class PaddingDifference:
    """Right-padded minus left-padded score of the same rows, all padded to one width."""

    differences: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.differences) / max(1, len(self.differences))

    @property
    def share_above(self) -> float:
        """Share of rows whose scores are more than ``LARGE`` apart."""
        return sum(abs(value) > LARGE for value in self.differences) / max(1, len(self.differences))

    def as_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "share_above_1e-2": self.share_above,
            "differences": list(self.differences),
        }


@dataclass(frozen=True)
class PositionScores:
    """The head's output by place: ``last`` at the last token, ``before`` the mean over all earlier ones."""

    last_mean: float
    before_mean: float
    negative_share: float
    by_place: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "last_mean": self.last_mean,
            "before_mean": self.before_mean,
            "negative_share": self.negative_share,
            "by_place": list(self.by_place),
        }


@torch.no_grad()
def padding_difference(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], *, batch_size: int = 64
) -> PaddingDifference:
    """Score every row with the padding behind it and with the padding in front of it (detail 14)."""
    found: list[float] = []
    width = max(map(len, rows)) + 1  # so that every row has some padding
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        right, left = (
            last_token_scores(model, *(tensor.to(model.device) for tensor in pad(part, width)))[:, 0]
            for pad in (pad_right, pad_left)
        )
        found += (right - left).tolist()
    return PaddingDifference(tuple(found))


@torch.no_grad()
def position_scores(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], *, batch_size: int = 64
) -> PositionScores:
    """The head's output at every token (detail 13); ``by_place`` in twentieths of the way to the last token."""
    last: list[float] = []
    before: list[torch.Tensor] = []
    places: list[torch.Tensor] = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        input_ids, mask = (tensor.to(model.device) for tensor in pad_right(part))
        hidden = model.base_model(input_ids=input_ids, attention_mask=mask, use_cache=False).last_hidden_state
        scores_BT = model.score(hidden).squeeze(-1).float().cpu()
        for row, scores_T in zip(part, scores_BT, strict=True):
            last.append(scores_T[len(row) - 1].item())
            before.append(scores_T[: len(row) - 1])
            places.append(torch.arange(len(row) - 1) * _BINS // max(1, len(row) - 1))
    values, bins = torch.cat(before).double(), torch.cat(places)
    by_place = tuple(values[bins == place].mean().item() for place in range(_BINS) if (bins == place).any())
    return PositionScores(
        sum(last) / len(last), values.mean().item(), (values < 0).double().mean().item(), by_place
    )


def spread(scores: torch.Tensor) -> dict[str, float]:
    """Mean, standard deviation and range of scores, as N+ logs them of the references."""
    scores = scores.double()
    return {
        "mean": scores.mean().item(),
        "std": scores.std(unbiased=False).item(),
        "min": scores.min().item(),
        "max": scores.max().item(),
    }
