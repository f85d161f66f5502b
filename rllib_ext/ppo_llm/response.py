"""Where a completion ends and what counts in it: the width of the arrays, and the masks of policy, value and KL.

The paper works on responses of exactly R tokens (N+ detail 23). Here the engine stops at EOS, which leaves the same
tokens, and arrays are as wide as the longest completion and one column more, as far as R: the column that its score is
paid in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rllib_ext.functional.advantages import value_mask

_PER_TOKEN = ("token_ids", "token_mask", "action_mask", "behaviour_logps")


def fitted(
    columns: dict[str, torch.Tensor], response_length: int, *, whole: bool = False
) -> dict[str, torch.Tensor]:
    """The per-token columns (R, K, T) at width min(R, longest + 1); ``whole``: at width R.

    Padding that is added is what ``to_columns`` pads with: id 0, mask 0.
    """
    longest = int(columns["token_mask"].sum(-1).max())
    width = response_length if whole else min(response_length, longest + 1)
    widths = {name: columns[name].shape[-1] for name in _PER_TOKEN}
    return {
        name: torch.nn.functional.pad(columns[name], (0, max(0, width - widths[name])))[..., :width]
        for name in _PER_TOKEN
    }


@dataclass(frozen=True)
class Masks:
    """Booleans (B, T), all False in completions without a score.

    real_BT: tokens, whoever wrote them. policy_BT: those that the policy chose. value_BT: every token and one position
    more, where the score is paid. penalised_BT: positions that pay for their KL. steps_BT: those that advantages are
    estimated over.
    """

    real_BT: torch.Tensor
    policy_BT: torch.Tensor
    value_BT: torch.Tensor
    penalised_BT: torch.Tensor
    steps_BT: torch.Tensor


def masks(columns: dict[str, torch.Tensor], *, kl_after_eos: bool = False) -> Masks:
    """The masks of fitted columns, with (R, K) flattened to B."""
    scored_B1 = columns["scored"].flatten()[:, None] != 0
    token_BT = columns["token_mask"].flatten(0, 1) != 0
    real_BT = token_BT & scored_B1
    policy_BT = (columns["action_mask"].flatten(0, 1) != 0) & scored_B1
    value_BT = value_mask(token_BT) & scored_B1
    if not kl_after_eos:
        return Masks(real_BT, policy_BT, value_BT, policy_BT, value_BT)
    tail_BT = ~token_BT & scored_B1 & (columns["finished"].flatten()[:, None] != 0)
    return Masks(real_BT, policy_BT, value_BT, policy_BT | tail_BT, value_BT | tail_BT)
