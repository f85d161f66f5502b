"""RLlib's stock multi-agent PPO on Beacon: one recurrent module an agent, of the layers that ContrastiveComm has."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module import MultiRLModuleSpec, RLModuleSpec
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.tune.registry import register_env
from torch import nn

from envs.grid import Beacon
from rllib_ext.multi_agent.pettingzoo_env import PettingZooMultiAgentEnv

HIDDEN = 32
NAME = "StockBeacon"


def _head(outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, outputs)
    )


class RecurrentAgent(TorchRLModule, ValueFunctionAPI):
    """Encoder of two layers, GRU, heads of three; each HIDDEN wide."""

    def setup(self) -> None:
        size = self.observation_space.shape[0]
        self.encoder = nn.Sequential(nn.Linear(size, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh())
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.policy, self.value = _head(self.action_space.n), _head(1)

    def get_initial_state(self) -> dict[str, Any]:
        return {"h": np.zeros(HIDDEN, np.float32)}

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        memory, last = self.gru(self.encoder(batch[Columns.OBS]), batch[Columns.STATE_IN]["h"].unsqueeze(0))
        return {
            Columns.ACTION_DIST_INPUTS: self.policy(memory), Columns.STATE_OUT: {"h": last.squeeze(0)},
            Columns.EMBEDDINGS: memory,
        }  # fmt: skip

    def compute_values(self, batch: dict[str, Any], embeddings: torch.Tensor | None = None) -> torch.Tensor:
        if embeddings is None:
            embeddings = self._forward(batch)[Columns.EMBEDDINGS]
        return self.value(embeddings).squeeze(-1)


def stock_ppo(env_config: dict[str, Any], envs: int, batch: int, minibatch: int, epochs: int) -> Any:
    """Built, in this process; the settings that ContrastiveComm has by default. minibatch: environment steps."""
    register_env(NAME, lambda config: PettingZooMultiAgentEnv(Beacon(**config)))
    agents = Beacon(**env_config).possible_agents
    spec = RLModuleSpec(module_class=RecurrentAgent, model_config={"max_seq_len": 16})
    config = (
        PPOConfig()
        .environment(NAME, env_config=env_config)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=envs, rollout_fragment_length=batch // envs)
        .multi_agent(policies=set(agents), policy_mapping_fn=lambda agent, *_, **__: agent)
        .rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs=dict.fromkeys(agents, spec)))
        .training(
            lr=1e-3, gamma=0.99, lambda_=0.95, clip_param=0.2, vf_clip_param=1e6, vf_loss_coeff=0.5, entropy_coeff=0.01,
            num_epochs=epochs, train_batch_size_per_learner=batch, minibatch_size=minibatch, use_kl_loss=False,
            grad_clip=2.0,
        )
        .debugging(seed=0, log_level="ERROR")
    )  # fmt: skip
    return config.build_algo()
