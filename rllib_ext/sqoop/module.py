"""`SqoopRLModule`: a model of SQOOP as the policy of `SqoopEnv`, for RLlib's PPO and others that want logits and a value.

    spec = RLModuleSpec(module_class=SqoopRLModule, model_config={"encoder": "nmn", "layout": "tree"})
    PPOConfig().environment("SQOOP").rl_module(rl_module_spec=spec).training(gamma=0.0)

The encoder is the one that `SQOOP` trains with labels, with the same names in its state: the state of either module is
read by the other (this one has a critic beside it, which is no part of an inference-only state). Shapes come from the
observation space.

The critic sees what the encoder answers and how sure it is, not the scene, and sends no gradient back: of a policy that
is right with probability p its value is p.

Batch normalisation. Answers that are acted on use the running statistics, one scene at a time or many; the learner uses
those of its batch and moves the running ones. So the policy that the learner sees differs a little from the one that
acted, most at the beginning; PPO's ratio has that in it. The first updates of a run should be small ones.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from gymnasium.spaces import Dict
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rllib_ext.errors import BadConfig
from rllib_ext.sqoop.encoders import build_encoder

CRITIC = "critic"
CRITIC_WIDTH = 16
RLLIBS = frozenset(field.name for field in fields(DefaultModelConfig))  # PPO adds some to every model_config


class SqoopRLModule(TorchRLModule, InferenceOnlyAPI, ValueFunctionAPI):
    """``model_config``: settings of `build_encoder`, without the shapes."""

    def setup(self) -> None:
        own = {name: value for name, value in (self.model_config or {}).items() if name not in RLLIBS}
        self.encoder = build_encoder({**own, **_shapes(self.observation_space)})
        self.critic = nn.Sequential(nn.Linear(2, CRITIC_WIDTH), nn.Tanh(), nn.Linear(CRITIC_WIDTH, 1))
        self.action_dist_cls = TorchCategorical

    def get_non_inference_attributes(self) -> list[str]:
        return [CRITIC]

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes states without a critic too (those of the supervised module): the critic then stays as it is.

        Raises BadConfig for the state of another model, of which RLlib would take what happens to fit.
        """
        own, given = (
            {name for name in names if name.startswith("encoder.")} for names in (self.state_dict(), state)
        )
        if own != given:
            some = sorted(own ^ given)
            raise BadConfig(
                f"this state is of another model than {type(self.encoder).__name__} as configured: {len(some)} of its "
                f"tensors are missing or unknown, {some[0]} for one. Build the module with the settings of that model."
            )
        super().set_state(state)

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self._answers(batch, learning=False)}

    def _forward_train(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        logits_B2 = self._answers(batch, learning=True)
        return {Columns.ACTION_DIST_INPUTS: logits_B2, Columns.EMBEDDINGS: logits_B2.detach()}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """(B,): how likely the answer is right, from the logits (B, 2) or, where none are given, from the scenes."""
        if embeddings is None:
            with torch.no_grad():
                embeddings = self._answers(batch, learning=False)
        return self.critic(embeddings.log_softmax(dim=-1))[..., 0]

    def _answers(self, batch: dict[str, Any], *, learning: bool) -> Tensor:
        self.encoder.train(learning)
        observed = batch[Columns.OBS]
        return self.encoder(observed["image"], observed["question"])


def _shapes(space: Any) -> dict[str, Any]:
    if not isinstance(space, Dict) or {"image", "question"} - set(space.spaces):
        raise BadConfig(
            f"SqoopRLModule needs observations of image and question, not {space}; use SqoopEnv with "
            'observation="dict", its default.'
        )
    return {"image_shape": space["image"].shape, "vocabulary": int(space["question"].nvec[0])}
