"""Asynchronous RLOO: leave-one-out baselines, vanilla or with a clipped sequence ratio (arXiv 2410.18252)."""

from rllib_ext.rloo.algorithm import AsyncRLOO
from rllib_ext.rloo.config import AsyncRLOOConfig

__all__ = ["AsyncRLOO", "AsyncRLOOConfig"]
