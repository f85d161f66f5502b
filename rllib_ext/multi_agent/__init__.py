"""PettingZoo environments for RLlib's own multi-agent algorithms."""

from rllib_ext.multi_agent.pettingzoo_env import PettingZooMultiAgentEnv

__all__ = ["PettingZooMultiAgentEnv"]
