"""Senders and receivers of the circular game (arXiv 2101.10276, specification B.2).

A sender reads its target as ``target_obs`` gives it (by default in tens of degrees, unscaled) and describes a
distribution of messages. A receiver reads a message and answers with an angle in tens of degrees, without randomness.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SMALLEST_DEVIATION = 0.01  # added to the Gaussian sender's standard deviation
BINS = 1000  # of the grid over which an expectation over continuous messages is taken


class DiscreteSender(nn.Module):
    """Linear, ReLU, Linear, softmax over the vocabulary."""

    def __init__(self, inputs: int, hidden: int, vocabulary: int) -> None:
        super().__init__()
        self.hidden, self.symbols = nn.Linear(inputs, hidden), nn.Linear(hidden, vocabulary)

    def forward(self, seen_BO: Tensor) -> Tensor:
        """(B, V) log-probabilities of the symbols."""
        return self.symbols(self.hidden(seen_BO).relu()).log_softmax(-1)

    @staticmethod
    def speak(out_BV: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(messages (B,) int64, their log-probabilities (B,), entropies (B,) in nats)."""
        probabilities = out_BV.exp()
        message = torch.multinomial(probabilities.detach(), 1, generator=generator)
        return message[:, 0], out_BV.gather(1, message)[:, 0], -(probabilities * out_BV).sum(-1)


class GaussianSender(nn.Module):
    """Two hidden layers; a mean and a standard deviation of each number of the message, ReLU + 0.01.

    log_variance: the deviation is exp(half the head) instead (the appendix's variant).
    """

    def __init__(self, inputs: int, hidden: int, message_size: int, log_variance: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mean, self.spread = nn.Linear(hidden, message_size), nn.Linear(hidden, message_size)
        self.log_variance = log_variance

    def forward(self, seen_BO: Tensor) -> Tensor:
        """(B, 2, D): mean and standard deviation."""
        features = self.body(seen_BO)
        head = self.spread(features)
        deviation = (head / 2).exp() if self.log_variance else head.relu() + SMALLEST_DEVIATION
        return torch.stack([self.mean(features), deviation], dim=1)

    @staticmethod
    def speak(out_B2D: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(messages (B, D), their log-densities (B,), entropies (B,) in nats)."""
        mean, deviation = out_B2D[:, 0], out_B2D[:, 1]
        noise = torch.randn(mean.shape, generator=generator)
        message = (mean + deviation * noise).detach()
        log_deviation = deviation.log()
        half_log = 0.5 * math.log(2 * math.pi)
        logp = -((message - mean) / deviation).square() / 2 - log_deviation - half_log
        return message, logp.sum(-1), (log_deviation + half_log + 0.5).sum(-1)


class DiscreteReceiver(nn.Module):
    """Embedding drawn from N(0, 1), ReLU, Linear."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.embedding, self.answer = nn.Embedding(vocabulary, hidden), nn.Linear(hidden, 1)

    def forward(self, messages: Tensor) -> Tensor:
        """messages (...,) int64 -> angles (...,), tens of degrees."""
        return self.answer(self.embedding(messages).relu())[..., 0]


class ContinuousReceiver(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, message_size: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(message_size, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, messages: Tensor) -> Tensor:
        """messages (..., D) -> angles (...,), tens of degrees."""
        return self.layers(messages)[..., 0]


def make_sender(channel: str, inputs: int, hidden: int, size: int, log_variance: bool = False) -> nn.Module:
    """size: of the vocabulary, or of the message."""
    if channel == "discrete":
        return DiscreteSender(inputs, hidden, size)
    return GaussianSender(inputs, hidden, size, log_variance)


def make_receiver(channel: str, hidden: int, size: int) -> nn.Module:
    return (DiscreteReceiver if channel == "discrete" else ContinuousReceiver)(size, hidden)
