"""What the driver asks of a rollout worker and what comes back: plain data that both sides import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rllib_ext.llm.played import Played


@dataclass(frozen=True)
class Ticket:
    """A chunk of one generation round: which prompts, how to sample, and the seed that makes it reproducible.

    prompts: (epoch, index) pairs. A ticket that is asked for again (its worker died) keeps key and seed.
    round: from 0 up in training; evaluations count from -1 down, since they may read the training split too.
    """

    round: int
    chunk: int
    prompts: tuple[tuple[int, int], ...]
    samples: int
    temperature: float
    seed: int
    split: str = "train"
    attempt: int = 0

    @property
    def key(self) -> tuple[str, int, int]:
        return (self.split, self.round, self.chunk)

    @property
    def evaluates(self) -> bool:
        return self.round < 0


@dataclass
class Rollout:
    """A worker's answer to a ticket.

    played: the finished conversations, in the order of the prompts, the samples of a prompt side by side.
    version, digest: of the weights that generated them. spans: (role, start, end) in Unix seconds. refused:
    prompt index -> why nothing was generated. failures: reason -> count of completions without a score. process: the
    worker's, by which one that is stopped is ended.
    """

    ticket: Ticket
    worker: int
    version: int
    digest: str
    played: list[Played]
    spans: list[tuple[str, float, float]]
    tokens: int
    refused: dict[int, str] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)
    process: dict[str, Any] | None = None


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself once its environment stands. num_prompts: None for an endless environment."""

    num_prompts: int | None
    engine: str
    eos_ids: tuple[int, ...]
    vocabulary: int
    tokenizer_digest: str
