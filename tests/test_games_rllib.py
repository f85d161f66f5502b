"""Both games of conflicting interests under RLlib's own PPO, through this package's adapter."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import rllib_ext


@pytest.mark.parametrize(
    ("name", "agents", "settings"),
    [
        ("SenderReceiver", ("sender_0", "receiver_0"), {"bias": 30.0, "target_obs": "sincos"}),
        ("Negotiation", ("A", "B"), {"channels": "proposal", "utterance_length": 2}),
    ],
)
def test_stock_ppo_trains(
    ray_session: ModuleType, name: str, agents: tuple[str, str], settings: dict[str, Any]
) -> None:
    """A policy an agent, observations one-hot by RLlib's connector; every episode pays both, and both policies move."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.connectors.env_to_module import FlattenObservations

    rllib_ext.register()
    config = (
        PPOConfig()
        .environment(name, env_config=settings)
        .env_runners(
            num_env_runners=0, env_to_module_connector=lambda *_, **__: FlattenObservations(multi_agent=True)
        )
        .learners(num_learners=0)
        .multi_agent(policies=set(agents), policy_mapping_fn=lambda agent, *_, **__: agent)
        .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    try:
        before = {agent: _weights(algorithm, agent) for agent in agents}
        found = algorithm.train()["env_runners"]
        after = {agent: _weights(algorithm, agent) for agent in agents}
    finally:
        algorithm.stop()
    assert found["num_episodes"] > 0 and set(found["agent_episode_returns_mean"]) == set(agents)
    assert all(any((before[a][k] != after[a][k]).any() for k in before[a]) for a in agents)


def _weights(algorithm: Any, agent: str) -> dict[str, Any]:
    return {name: value.copy() for name, value in algorithm.get_module(agent).get_state().items()}
