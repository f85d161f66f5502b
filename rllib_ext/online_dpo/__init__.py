"""Asynchronous online DPO (arXiv 2410.18252): preference pairs made of the policy's own completions."""

from rllib_ext.online_dpo.algorithm import AsyncOnlineDPO
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig

__all__ = ["AsyncOnlineDPO", "AsyncOnlineDPOConfig"]
