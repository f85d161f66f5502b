"""Pretraining of SGI: an Atari encoder from frames and actions alone, without rewards."""

from rllib_ext.sgi.pretraining.algorithm import SGIPretrain
from rllib_ext.sgi.pretraining.config import SGIPretrainConfig

__all__ = ["SGIPretrain", "SGIPretrainConfig"]
