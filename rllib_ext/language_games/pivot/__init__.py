"""PivotGame: translation through a drifting pivot, with REINFORCE, S2P, SIL or Elastic Reset."""

from rllib_ext.language_games.pivot.trainable import PivotGame

__all__ = ["PivotGame"]
