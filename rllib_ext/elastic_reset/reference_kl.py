"""The KL penalty of RLHF for any RLModule: rewards lose beta (log pi - log pi_ref) before advantages are computed.

    r_t <- r_t - beta (log pi(a_t | s_t) - log pi_ref(a_t | s_t))

pi is the policy that sampled (its log-probabilities are in the batch), pi_ref the module with its initial weights or with
their average. A connector piece of the learner; it stands before GeneralAdvantageEstimation. The step that RLlib adds to
every episode for the critic's sake, and padding, have no reward to lose.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns

from rllib_ext.functional.elastic import assign_, snapshot


class ReferenceKLPenalty(ConnectorV2):
    """Penalises the rewards of the modules that take part in ``learner``'s Elastic Reset."""

    def __init__(self, learner: Any) -> None:
        super().__init__(None, None)
        self._learner = learner

    def __call__(self, *, rl_module: Any, batch: dict[str, Any], episodes: list[Any], **kwargs: Any) -> Any:
        for module_id in self._learner.elastic:
            if module_id in batch:
                self._penalise(module_id, rl_module[module_id], batch[module_id], episodes)
        return batch

    def _penalise(self, module_id: str, module: Any, columns: dict[str, Any], episodes: list[Any]) -> None:
        kl = columns[Columns.ACTION_LOGP] - reference_logps(self._learner, module_id, module, columns)
        valid = columns.get(Columns.LOSS_MASK, torch.ones_like(kl, dtype=torch.bool))
        kl = torch.where(valid, kl, 0.0)
        penalty = self._learner.penalties[module_id]
        single = self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False)
        count = sum(episode.module_id in (None, module_id) for episode in single)
        penalty.measure(float(kl.sum()), float(valid.sum()), count)
        columns[Columns.REWARDS] = columns[Columns.REWARDS] - penalty.beta * kl


@torch.no_grad()
def reference_logps(learner: Any, module_id: str, module: Any, columns: dict[str, Any]) -> torch.Tensor:
    """log pi_ref of the actions in ``columns``: the module carries the anchor's weights for one forward pass."""
    elastic = learner.elastic[module_id]
    weights = learner.weights_of(module_id)
    online = snapshot(weights)
    assign_(weights, elastic.ema if learner.config.kl_anchor == "ema" else elastic.init)
    try:
        module = module.unwrapped()
        outputs = module.forward_train(columns)
        policy = module.get_train_action_dist_cls().from_logits(outputs[Columns.ACTION_DIST_INPUTS])
        return policy.logp(columns[Columns.ACTIONS])
    finally:
        assign_(weights, online)
