"""Policy and critic in one RLModule: one optimizer, one checkpoint, one DDP wrapper hold both.

Only the policy is what the rest of the package sees of it: it alone is published to the rollout workers, compared with
the engine, and exported.
"""

from __future__ import annotations

from typing import Any

import torch

from rllib_ext.llm.forward import sharing_fault
from rllib_ext.llm.rl_module import CausalLMModule
from rllib_ext.ppo_llm.value import as_outputs, completion_values, open_critic


class PPOModule(CausalLMModule):
    """model_config: CausalLMModule's, value_model and value_revision. Children: ``model`` (policy) and ``critic``."""

    def setup(self) -> None:
        super().setup()
        try:
            self.critic = open_critic(self.model_config)
            self.share_value_prompts = self.model_config["share_prompts"] and not sharing_fault(
                self.critic, lambda **inputs: as_outputs(self.critic, **inputs)
            )
        except AttributeError as error:  # see CausalLMModule.setup
            raise RuntimeError(f"the critic could not be set up: {error}") from error

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, torch.Tensor]:
        return {**super()._forward_train(batch), "values": self.values(batch)}

    def values(self, batch: dict[str, Any]) -> torch.Tensor:
        """V (R, K, T) of the state before each completion token, in units of the reward."""
        return completion_values(self.critic, batch, share_prompts=self.share_value_prompts)
