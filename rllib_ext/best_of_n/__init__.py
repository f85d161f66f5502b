"""Best-of-K supervised finetuning: learn by heart the best of the policy's own completions (arXiv
2410.18252).
"""

from rllib_ext.best_of_n.algorithm import BestOfN
from rllib_ext.best_of_n.config import BestOfNConfig

__all__ = ["BestOfN", "BestOfNConfig"]
