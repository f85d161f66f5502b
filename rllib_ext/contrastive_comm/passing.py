"""Messages from one step to the next, as arrays: who hears what.

An inbox is the others' messages of the step before in increasing order of agents, oneself left out, zeros where nothing
arrived: at the first step of an episode, from an agent that did not act, and from one whose message was lost. The same
channel as `envs.channel.CommChannel` puts around a PettingZoo environment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def others_of(agents: int) -> NDArray[np.int64]:
    """(A, A - 1): whom each agent hears, in order."""
    return np.array([[j for j in range(agents) if j != i] for i in range(agents)], dtype=np.int64).reshape(
        agents, -1
    )


def heard_from(messages: torch.Tensor) -> torch.Tensor:
    """(..., A, D) messages -> (..., A, (A - 1) D) inboxes, all of them arriving."""
    agents = messages.shape[-2]
    return messages[..., torch.from_numpy(others_of(agents)), :].flatten(-2)


@dataclass
class Channel:
    """The channel of B environments. drop: probability that a message is lost, each listener by itself; noise: standard
    deviation of what is added to a message on its way, which is then cut to [0, 1].
    """

    agents: int
    message_dim: int
    drop: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        self._others = others_of(self.agents)

    @property
    def width(self) -> int:
        return (self.agents - 1) * self.message_dim

    def empty(self, rows: int) -> tuple[Floats, Bools]:
        """Inboxes in which nothing is: (B, A, W) zeros and (B, A, A - 1) False."""
        inbox = np.zeros((rows, self.agents, self.width), dtype=np.float32)
        return inbox, np.zeros((rows, self.agents, self.agents - 1), dtype=np.bool_)

    def deliver(
        self, messages_BAD: Floats, sent_BA: Bools, first_BA: Bools, generator: np.random.Generator
    ) -> tuple[Floats, Bools]:
        """(inbox (B, A, W), which of them arrived (B, A, A - 1)) at the next step.

        sent_BA: who acted when the messages were sent; first_BA: agents whose episode begins at the next step, who hear
        nothing of another one. A sender whose own episode began anew is not heard of the old one either.
        """
        arrived = sent_BA[:, self._others] & ~first_BA[:, self._others] & ~first_BA[:, :, None]
        if self.drop:
            arrived &= generator.random(arrived.shape) >= self.drop
        heard = messages_BAD[:, self._others]
        if self.noise:
            noise = generator.normal(0.0, self.noise, heard.shape).astype(np.float32)
            heard = np.clip(heard + noise, 0.0, 1.0)
        heard = np.where(arrived[..., None], heard, np.float32(0.0))
        return heard.reshape(*heard.shape[:2], self.width), arrived
