"""The agent that finetunes an encoder in 100,000 steps: Rainbow with the SPR loss."""

from rllib_ext.sgi.rainbow.algorithm import SGIRainbow
from rllib_ext.sgi.rainbow.config import SGIRainbowConfig

__all__ = ["SGIRainbow", "SGIRainbowConfig"]
