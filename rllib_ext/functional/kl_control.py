"""How the weight beta of a KL penalty follows the KL it measures: the two rules of the RLHF code bases.

The KL is that to a reference policy, the one that a reward is penalised with. RLlib's own ``kl_coeff`` is another thing:
the KL between the policies before and after one PPO update. A controller here is a function of beta and of what was
measured; whoever calls it keeps beta, and it is part of what a checkpoint must hold.
"""

from __future__ import annotations

from rllib_ext.functional.arguments import require_range

__all__ = ["CONTROLLERS", "next_beta", "rl4lms", "trl"]

CONTROLLERS = ("fixed", "trl", "rl4lms")


def trl(beta: float, kl: float, *, target: float, samples: int, horizon: float) -> float:
    """beta (1 + clip(KL / target - 1, -0.2, 0.2) samples / horizon): Ziegler et al. 2019, as TRL has it.

    kl, target: nats a completion; samples: completions since the last call; horizon: completions in which beta may change
    by 20 % (TRL: 10,000).
    """
    require_range("trl", "target", target, low=0.0, above=True)
    require_range("trl", "horizon", horizon, low=0.0, above=True)
    return beta * (1.0 + _clip(kl / target - 1.0) * samples / horizon)


def rl4lms(beta: float, kl: float, *, target: float) -> float:
    """beta (1 + 0.1 clip((KL - target) / target, -0.2, 0.2)): at most 2 % a call, once an iteration.

    kl, target: nats, in one unit (RL4LMs: a token).
    """
    require_range("rl4lms", "target", target, low=0.0, above=True)
    return beta * (1.0 + 0.1 * _clip((kl - target) / target))


def next_beta(
    rule: str, beta: float, kl: float, *, target: float | None, samples: int, horizon: float
) -> float:
    """One step of the rule of that name, a member of CONTROLLERS. With "fixed" or without a target beta stays, as it does
    where nothing was measured (a KL that is not a number).
    """
    if rule not in CONTROLLERS:
        raise ValueError(f"next_beta: rule is {rule!r}; choose one of {', '.join(CONTROLLERS)}.")
    if rule == "fixed" or target is None or kl != kl:
        return beta
    if rule == "trl":
        return trl(beta, kl, target=target, samples=samples, horizon=horizon)
    return rl4lms(beta, kl, target=target)


def _clip(error: float) -> float:
    return min(0.2, max(-0.2, error))
