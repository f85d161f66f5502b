"""LewisGame: objects described in a drifting language, with REINFORCE or Gumbel, S2P, SIL or Elastic Reset."""

from rllib_ext.language_games.lewis.trainable import LewisGame

__all__ = ["LewisGame"]
