"""A language, a language model and a hackable reward, all small enough that a fine-tuning run takes a CPU second.

The language is a Markov chain of order 2 over 32 tokens: logits 1.2 Gumbel(a, b, c) + 0.8 N(b, c). The model sees three
tokens (embedding 16, one layer of 64 tanh units, 5,700 parameters) and is pretrained by maximum likelihood. The task
gives three tokens of the language, wants twelve more, and pays sigma(#{tokens 0 to 3} - #{tokens 4 to 7}): a mock
sentiment that is maximal for text that is no language any more. PPO, the KL penalty, the average and the resets are the
package's.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rllib_ext.functional.elastic import Elastic, ElasticSettings, assign_, snapshot, trainable
from rllib_ext.functional.kl import kl_penalised_reward, sequence_kl
from rllib_ext.functional.ppo import clipped_policy

VOCABULARY, CONTEXT, NEW_TOKENS = 32, 3, 12
BATCH, EPOCHS, LR, CLIP = 128, 4, 1e-3, 0.2
PRETRAINING_STEPS, PRETRAINING_TOKENS, PRETRAINING_LR = 2500, 512, 1e-3
HELD_OUT_TOKENS, EVALUATION_PROMPTS = 20_000, 500


class Language:
    """Sequences of the chain, and their true perplexity."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(VOCABULARY, VOCABULARY, VOCABULARY, generator=self.generator)
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-7)))
        pairs = torch.randn(VOCABULARY, VOCABULARY, generator=self.generator)
        self.logps = torch.log_softmax(1.2 * gumbel + 0.8 * pairs, dim=-1)

    def sequences(self, count: int, length: int) -> Tensor:
        """(count, length) tokens; the first two of each follow a burn-in."""
        tokens = torch.randint(0, VOCABULARY, (count, 2), generator=self.generator)
        for _ in range(8 + length):
            logps = self.logps[tokens[:, -2], tokens[:, -1]]
            tokens = torch.cat([tokens, torch.multinomial(logps.exp(), 1, generator=self.generator)], dim=1)
        return tokens[:, -length:]

    def windows(self, tokens: int) -> Tensor:
        """(tokens, CONTEXT + 1): a context and the token that follows, from long sequences."""
        length = 64 + CONTEXT
        sequences = self.sequences(math.ceil(tokens / 64), length)
        return sequences.unfold(1, CONTEXT + 1, 1).reshape(-1, CONTEXT + 1)[:tokens]


class TinyLM(nn.Module):
    """Next-token logits from the last CONTEXT tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.hidden = nn.Linear(16 * CONTEXT, 64)
        self.output = nn.Linear(64, VOCABULARY)

    def forward(self, contexts: Tensor) -> Tensor:
        """contexts (..., CONTEXT) -> log-probabilities (..., VOCABULARY)."""
        features = torch.tanh(self.hidden(self.embedding(contexts).flatten(-2)))
        return torch.log_softmax(self.output(features), dim=-1)

    def logps(self, sequences: Tensor) -> Tensor:
        """(B, NEW_TOKENS) log-probabilities of what follows the prompt in ``sequences`` (B, CONTEXT + NEW_TOKENS)."""
        windows = sequences.unfold(1, CONTEXT + 1, 1)
        return self(windows[..., :-1]).gather(-1, windows[..., -1:])[..., 0]

    @torch.no_grad()
    def complete(self, prompts: Tensor, generator: torch.Generator) -> Tensor:
        sequences = prompts
        for _ in range(NEW_TOKENS):
            probabilities = self(sequences[:, -CONTEXT:]).exp()
            sequences = torch.cat(
                [sequences, torch.multinomial(probabilities, 1, generator=generator)], dim=1
            )
        return sequences


@dataclass(frozen=True)
class Task:
    """One seed's language, its pretrained model and what is held out."""

    seed: int
    language: Language
    model: TinyLM
    prompts: Tensor  # held-out
    held_out: Tensor  # windows of held-out text


def make_task(seed: int) -> Task:
    language = Language(seed)
    torch.manual_seed(seed)
    model = TinyLM()
    optimizer = torch.optim.Adam(model.parameters(), lr=PRETRAINING_LR)
    corpus = language.windows(PRETRAINING_STEPS * PRETRAINING_TOKENS)
    for step in range(PRETRAINING_STEPS):
        batch = corpus[step * PRETRAINING_TOKENS : (step + 1) * PRETRAINING_TOKENS]
        loss = -model(batch[:, :-1]).gather(1, batch[:, -1:]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Task(
        seed,
        language,
        model,
        language.sequences(EVALUATION_PROMPTS, CONTEXT),
        language.windows(HELD_OUT_TOKENS),
    )


def reward(sequences: Tensor) -> Tensor:
    """sigma(#{0..3} - #{4..7}) of the completion, (B,)."""
    new = sequences[:, CONTEXT:]
    return torch.sigmoid(((new < 4).sum(1) - ((new >= 4) & (new < 8)).sum(1)).float())


@torch.no_grad()
def evaluate(task: Task, model: TinyLM) -> dict[str, float]:
    """reward, reverse_kl (nats a completion) and nll0 (nats a token, under the initial model) of sampled completions of
    held-out prompts; ppl, of held-out text of the language.
    """
    sequences = model.complete(task.prompts, torch.Generator().manual_seed(10_000 + task.seed))
    logps, first = model.logps(sequences), task.model.logps(sequences)
    mask = torch.ones_like(logps, dtype=torch.bool)
    text = model(task.held_out[:, :-1]).gather(1, task.held_out[:, -1:])
    return {
        "reward": float(reward(sequences).mean()),
        "ppl": math.exp(-float(text.double().mean())),
        "reverse_kl": float(sequence_kl(logps, first, mask).mean()),
        "nll0": -float(first.mean()),
    }


class Run:
    """PPO on one task: ``iterations`` of a batch and EPOCHS full-batch steps, under one variant of Elastic Reset."""

    def __init__(self, task: Task, beta: float, settings: ElasticSettings) -> None:
        self.task, self.beta = task, beta
        self.model = copy.deepcopy(task.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LR)
        self.weights, verbatim = trainable(self.model)
        self.elastic = Elastic(settings, self.weights, verbatim)
        self.generator = torch.Generator().manual_seed(100 + task.seed)
        self.language = Language(task.seed)
        self.language.generator.manual_seed(200 + task.seed)

    def iterate(self) -> None:
        """A reset that is due, a batch, its updates, a tick."""
        self.elastic.reset(self.weights)
        sequences = self.model.complete(self.language.sequences(BATCH, CONTEXT), self.generator)
        with torch.no_grad():
            old_BT, first_BT = self.model.logps(sequences), self.task.model.logps(sequences)
        mask_BT = torch.ones_like(old_BT, dtype=torch.bool)
        returns_B = kl_penalised_reward(reward(sequences), old_BT, first_BT, mask_BT, self.beta)
        advantages_B = (returns_B - returns_B.mean()) / (returns_B.std() + 1e-8)
        advantages_BT = advantages_B[:, None].expand_as(old_BT)
        for _ in range(EPOCHS):
            loss_BT, _ = clipped_policy(self.model.logps(sequences), old_BT, advantages_BT, mask_BT, CLIP)
            self.optimizer.zero_grad()
            loss_BT.mean().backward()
            self.optimizer.step()
        self.elastic.tick("iteration", self.weights)

    def evaluate(self) -> dict[str, float]:
        return evaluate(self.task, self.model)

    def evaluate_average(self) -> dict[str, float]:
        """The same with the average in the model's place."""
        online = snapshot(self.weights)
        assign_(self.weights, self.elastic.ema)
        found = self.evaluate()
        assign_(self.weights, online)
        return found
