"""Contrastive communication (CACL) and the ways to learn messages that it is compared with."""

from rllib_ext.contrastive_comm.algorithm import ContrastiveComm
from rllib_ext.contrastive_comm.config import ContrastiveCommConfig
from rllib_ext.contrastive_comm.examining import examine

__all__ = ["ContrastiveComm", "ContrastiveCommConfig", "examine"]
