"""Synchronous online DPO without a framework: one process, one loop, the same arithmetic. The yardstick of B12.

It uses the package's mathematics and its Hugging Face engine, and nothing of Ray, RLlib, episodes, tickets, snapshots or
journals. Asked for the same prompts and seeds, it arrives at the same weights as the plug-in.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch

from benchmarks._tasks import worth
from rllib_ext.functional.masking import sequence_logps
from rllib_ext.functional.preference import best_and_worst, online_dpo
from rllib_ext.llm.batch import Completion, Group, to_columns
from rllib_ext.llm.engine import Sampling
from rllib_ext.llm.engine_hf import HFEngine
from rllib_ext.llm.forward import completion_logps
from rllib_ext.llm.safety import encode_plain, open_causal_lm, open_tokenizer
from rllib_ext.llm.schedule import learning_rate


class BareLoop:
    """Settings are read from the plug-in's config, so that both do the same work."""

    def __init__(self, config: Any, prompts: list[str]) -> None:
        self.config, self.prompts = config, prompts
        self.tokenizer = open_tokenizer(config.language_model)
        self.policy = open_causal_lm(config.language_model)
        self.reference = copy.deepcopy(self.policy).eval().requires_grad_(False)
        self.engine = HFEngine(
            config.language_model, context_length=config.context_length, batch_size=config.engine_sequences
        )
        self.optimizer = torch.optim.AdamW(
            self.policy.parameters(), lr=config.lr, eps=config.adam_eps, weight_decay=config.weight_decay
        )
        self.updates = 0

    def round(self, ticket: Any, pauses: tuple[float, float] = (0.0, 0.0)) -> None:
        """Generate, score, pair, update, and give the engine the new weights.

        pauses: seconds to wait before generating and before learning.
        """
        time.sleep(pauses[0])
        groups = self._sample(ticket)
        time.sleep(pauses[1])
        scores = torch.tensor([[c.score for c in group.completions] for group in groups], dtype=torch.float64)
        chosen, rejected, valid = best_and_worst(scores, torch.ones_like(scores, dtype=torch.bool))
        rows = [
            group.keep([int(best), int(worst)])
            for group, best, worst, usable in zip(groups, chosen, rejected, valid, strict=True)
            if usable
        ]
        self._update({name: torch.from_numpy(array) for name, array in to_columns(rows).items()})
        self.engine.model.load_state_dict(self.policy.state_dict())

    def _sample(self, ticket: Any) -> list[Group]:
        texts = [self.prompts[index] for _, index in ticket.prompts]
        encoded = encode_plain(self.tokenizer, texts, add_special_tokens=True)
        eos = (int(self.tokenizer.eos_token_id),)
        sampling = Sampling(ticket.temperature, self.config.max_new_tokens, ticket.samples, ticket.seed, eos)
        groups = []
        for prompt, text, ids, results in zip(
            ticket.prompts, texts, encoded, self.engine.generate(encoded, sampling), strict=True
        ):
            completions = []
            for one in results:
                written = self.tokenizer.decode(one.token_ids.tolist(), skip_special_tokens=True)
                sampled = np.ones(len(one.token_ids), np.float32)
                score = worth(text, written, None)
                completions.append(Completion(one.token_ids, one.logps, sampled, score, one.finished))
            groups.append(Group(prompt, np.asarray(ids, np.int32), tuple(completions), self.updates))
        return groups

    def _update(self, columns: dict[str, torch.Tensor]) -> None:
        temperature = self.config.temperature
        with torch.no_grad():
            reference = completion_logps(self.reference, columns, temperature, share_prompts=True)
        self.optimizer.zero_grad(set_to_none=True)
        policy = completion_logps(self.policy, columns, temperature, share_prompts=True)
        mask = columns["action_mask"].flatten(0, 1)
        policy_B2 = sequence_logps(policy.flatten(0, 1), mask).view(-1, 2)
        reference_B2 = sequence_logps(reference.flatten(0, 1), mask).view(-1, 2)
        loss_B, _ = online_dpo(
            policy_B2[:, 0], policy_B2[:, 1], reference_B2[:, 0], reference_B2[:, 1], self.config.beta, 0.0
        )
        loss_B.mean().backward()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.updates, self.config)
        self.optimizer.step()
        self.updates += 1
