"""Asynchronous PPO for language models, with the details of "The N+ Implementation Details of RLHF with PPO"
(arXiv 2403.17031; the asynchronous mode is that of arXiv 2410.18252).

    reward of a token    r_t = -kappa k1_t,  and the score one position after the last token
    advantage, return    generalised advantage estimation on a critic of its own, which begins as the reward model
    loss                 token mean of the clipped surrogate + 0.1 token mean of the clipped squared value error

Detail by detail, with the test of each: docs/n_plus_ppo.md. Left out: an adaptive KL coefficient (the paper switches it
off), an entropy bonus, a critic that shares the policy's weights.
"""

from rllib_ext.ppo_llm.algorithm import AsyncPPO
from rllib_ext.ppo_llm.config import AsyncPPOConfig

__all__ = ["AsyncPPO", "AsyncPPOConfig"]
