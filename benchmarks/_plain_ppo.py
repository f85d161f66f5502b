"""PPO on a language model as one writes it first: one process, one loop, nothing computed once that could be.

Prompts are padded to their limit and computed with every completion, answers are padded to theirs, every forward makes
the logits of the whole sequence, the reference is asked anew at each pass, and Hugging Face's ``generate`` samples. The
arithmetic of the losses is the paper's (arXiv 2403.17031), without the package's own.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import torch


@dataclass(frozen=True)
class PlainSettings:
    """batch: completions a round, the copies of a prompt counted. passes: updates on each."""

    model: str
    prompts: tuple[str, ...]
    batch: int
    samples: int
    max_prompt_tokens: int
    max_new_tokens: int
    passes: int
    lr: float
    temperature: float


class PlainPPO:
    """Lives in an actor. ``rounds`` makes so many rounds and returns a lap for each."""

    def __init__(self, settings: PlainSettings, reward: Callable[..., float]) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._settings, self._reward, self._next = settings, reward, 0
        self._tokenizer = AutoTokenizer.from_pretrained(settings.model, padding_side="left")
        self._policy = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32)
        self._reference = copy.deepcopy(self._policy).requires_grad_(False)
        self._critic = copy.deepcopy(self._policy.base_model)
        self._head = torch.nn.Linear(self._policy.config.hidden_size, 1)
        torch.nn.init.zeros_(self._head.weight)
        parts = (self._policy, self._critic, self._head)
        parameters = [parameter for part in parts for parameter in part.parameters()]
        self._optimizer = torch.optim.AdamW(parameters, lr=settings.lr, eps=1e-5, weight_decay=0.0)

    def rounds(self, count: int, threads: int) -> list[dict[str, float]]:
        torch.set_num_threads(threads)
        laps = []
        for _ in range(count):
            start, cpu = time.perf_counter(), time.process_time()
            sequences, mask, ended, scores = self._sample()
            middle = time.perf_counter()
            self._learn(sequences, mask, ended, scores)
            laps.append({
                "wall": time.perf_counter() - start, "cpu": time.process_time() - cpu, "generate": middle - start,
            })  # fmt: skip
        return laps

    @torch.no_grad()
    def _sample(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sequences and their attention mask, last real index of every answer, scores."""
        s = self._settings
        chosen = [s.prompts[(self._next + i) % len(s.prompts)] for i in range(s.batch // s.samples)]
        self._next += len(chosen)
        texts = [text for text in chosen for _ in range(s.samples)]
        inputs = self._tokenizer(
            texts, return_tensors="pt", padding="max_length", max_length=s.max_prompt_tokens
        )
        sequences = self._policy.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], do_sample=True,
            max_new_tokens=s.max_new_tokens, temperature=s.temperature, top_k=0, top_p=1.0,
            pad_token_id=self._tokenizer.pad_token_id,
        )  # fmt: skip
        wanted = s.max_prompt_tokens + s.max_new_tokens
        sequences = torch.nn.functional.pad(
            sequences, (0, wanted - sequences.shape[1]), value=self._tokenizer.pad_token_id
        )
        answers = sequences[:, s.max_prompt_tokens :]
        real = answers != self._tokenizer.pad_token_id
        written = self._tokenizer.batch_decode(answers, skip_special_tokens=True)
        scores = torch.tensor([self._reward(p, c, None) for p, c in zip(texts, written, strict=True)])
        return sequences, torch.cat([inputs["attention_mask"], real.long()], 1), real.sum(1) - 1, scores

    def _logps(self, model: torch.nn.Module, sequences: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=sequences, attention_mask=mask, use_cache=False).logits
        first = self._settings.max_prompt_tokens
        logps = torch.log_softmax(logits[:, first - 1 : -1] / self._settings.temperature, -1)
        return logps.gather(-1, sequences[:, first:, None])[..., 0]

    def _values(self, sequences: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self._critic(input_ids=sequences, attention_mask=mask, use_cache=False).last_hidden_state
        return self._head(hidden)[:, self._settings.max_prompt_tokens - 1 : -1, 0]

    def _learn(
        self, sequences: torch.Tensor, mask: torch.Tensor, ended: torch.Tensor, scores: torch.Tensor
    ) -> None:
        columns = torch.arange(self._settings.max_new_tokens)
        tokens = columns <= ended[:, None]
        paid = (ended + 1).clamp(max=self._settings.max_new_tokens - 1)
        steps = columns <= paid[:, None]
        with torch.no_grad():
            old, old_values = self._logps(self._policy, sequences, mask), self._values(sequences, mask)
        for _ in range(self._settings.passes):
            with torch.no_grad():
                reference = self._logps(self._reference, sequences, mask)
                rewards = torch.where(tokens, -0.05 * (old - reference), 0.0)
                rewards[torch.arange(len(scores)), paid] += scores
                advantages, returns = _advantages(rewards, old_values * steps, tokens)
            ratio = torch.exp(self._logps(self._policy, sequences, mask) - old)
            surrogate = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(0.8, 1.2))
            values = self._values(sequences, mask)
            near = old_values + (values - old_values).clamp(-0.2, 0.2)
            error = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
            loss = surrogate[tokens].mean() + 0.1 * 0.5 * error[steps].mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()


def _advantages(
    rewards: torch.Tensor, values: torch.Tensor, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(advantages, whitened over the tokens, and returns); discount 1, trace decay 0.95."""
    advantages, running = torch.zeros_like(rewards), torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        following = values[:, t + 1] if t + 1 < rewards.shape[1] else 0.0
        running = rewards[:, t] + following - values[:, t] + 0.95 * running
        advantages[:, t] = running
    chosen = advantages[tokens]
    shifted = (advantages - chosen.mean()) * torch.rsqrt(chosen.var(unbiased=False) + 1e-8)
    return shifted, advantages + values


def start_plain(settings: PlainSettings, reward: Callable[..., float], cores: int) -> Any:
    """An actor with a PlainPPO."""
    return ray.remote(PlainPPO).options(num_cpus=cores).remote(settings, reward)
