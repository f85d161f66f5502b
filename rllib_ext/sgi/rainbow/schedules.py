"""What changes in the course of a run: updates that are due, n and gamma, epsilon, the importance exponent."""

from __future__ import annotations

from typing import Any

from rllib_ext.functional.rainbow import annealed_discount, annealed_steps
from rllib_ext.sgi.acting import epsilon_at


def updates_due(config: Any, steps: int) -> int:
    """Updates that a run of ``steps`` agent steps has made: exactly updates_per_step for each step of learning."""
    return config.updates_per_step * max(0, steps - config.learning_starts)


def horizon(config: Any, updates: int) -> tuple[int, float]:
    """(n, gamma) after so many updates; both begin anew with every reset."""
    since = updates if config.reset_every is None else updates % config.reset_every
    share = since / config.anneal_updates
    steps, gamma = config.n_step, config.gamma
    if config.n_step_last is not None:
        steps = annealed_steps(steps, config.n_step_last, share)
    if config.gamma_last is not None:
        gamma = annealed_discount(gamma, config.gamma_last, share)
    return steps, gamma


def epsilon(config: Any, steps: int) -> float:
    """Chance of a random action after so many agent steps of all workers."""
    return epsilon_at(
        steps, random_steps=config.learning_starts, decay_steps=config.epsilon_steps, last=config.epsilon
    )


def importance(config: Any, steps: int) -> float:
    """beta after so many agent steps."""
    share = min(1.0, steps / config.importance_steps)
    first, last = config.importance_exponent, config.importance_exponent_last
    return first + share * (last - first)
