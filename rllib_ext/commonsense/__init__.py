"""Commonsense knowledge-base completion: triples of free phrases, their scorers, and how novel what they score is."""

from rllib_ext.commonsense.algorithm import CommonsenseKBC
from rllib_ext.commonsense.config import CommonsenseKBCConfig

__all__ = ["CommonsenseKBC", "CommonsenseKBCConfig"]
