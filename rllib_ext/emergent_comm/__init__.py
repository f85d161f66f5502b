"""Emergent communication under competition (arXiv 2101.10276): senders, receivers and negotiators that learn to speak."""

from rllib_ext.emergent_comm.algorithm import EmergentComm
from rllib_ext.emergent_comm.config import EmergentCommConfig

__all__ = ["EmergentComm", "EmergentCommConfig"]
