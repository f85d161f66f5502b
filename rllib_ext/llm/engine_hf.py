"""Generation with Hugging Face transformers: the fallback where vLLM is not installed, behind the same
interface.

A plain batched loop with the model's own key-value cache. It leaves out what vLLM is for (continuous
batching, paged attention); it keeps what the rest of the package relies on: ids in and out, tempered
log-probabilities, the same stopping rule, and reproducibility by one seed a call.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import DynamicCache

from rllib_ext.errors import BadConfig
from rllib_ext.llm.engine import Generated, Refused, Sampling, refusal
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.weights import WeightSnapshot, unpack


class HFEngine:
    """One causal LM on one device. ``batch_size`` bounds the sequences that are decoded together."""

    name = "hf"

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        context_length: int,
        batch_size: int = 256,
        device: str = "cpu",
    ) -> None:
        self.model = (
            open_causal_lm(model, dtype=dtype, revision=revision).to(device).eval().requires_grad_(False)
        )
        longest = getattr(self.model.config, "max_position_embeddings", None)
        if longest is not None and context_length > longest:
            raise BadConfig(
                f"max_prompt_tokens and max_new_tokens ask for a context of {context_length} tokens, but the model "
                f"{model!r} has {longest} positions; lower them"
            )
        self.device = torch.device(device)
        self.context_length = context_length
        self.batch_size = batch_size

    def load_weights(self, snapshot: WeightSnapshot) -> None:
        self.model.load_state_dict(unpack(snapshot), strict=True)

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Generated] | Refused]:
        results: list[list[Generated] | Refused | None] = [
            refusal(
                prompt,
                max_new_tokens=sampling.max_new_tokens,
                context_length=self.context_length,
                vocabulary=self.model.config.vocab_size,
            )
            for prompt in prompts
        ]
        rows = [i for i, refused in enumerate(results) if refused is None for _ in range(sampling.samples)]
        generator = torch.Generator(self.device).manual_seed(sampling.seed)
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            for row, generated in zip(
                part, self._decode([prompts[i] for i in part], sampling, generator), strict=True
            ):
                held = results[row]
                results[row] = [*held, generated] if isinstance(held, list) else [generated]
        return [result if result is not None else Refused("nothing was generated") for result in results]

    @torch.inference_mode()
    def _decode(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, generator: torch.Generator
    ) -> list[Generated]:
        """Left-padded batch decode. ids_BT and logps_BT grow by one column a step until every row has
        stopped.
        """
        width = max(map(len, prompts))
        ids_BL = torch.zeros(len(prompts), width, dtype=torch.long)
        mask_BL = torch.zeros(len(prompts), width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids_BL[row, width - len(prompt) :] = torch.as_tensor(list(prompt))
            mask_BL[row, width - len(prompt) :] = 1
        step_ids, mask_BL = ids_BL.to(self.device), mask_BL.to(self.device)
        eos = torch.as_tensor(sampling.eos_ids, device=self.device)
        alive_B = torch.ones(len(prompts), dtype=torch.bool, device=self.device)
        cache = DynamicCache()
        tokens, logps, alive = [], [], []
        for _ in range(sampling.max_new_tokens):
            positions = (mask_BL.cumsum(-1) - 1).clamp(min=0)[:, -step_ids.shape[1] :]
            logits_BV = self.model(
                input_ids=step_ids,
                attention_mask=mask_BL,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            all_logps_BV = torch.log_softmax(logits_BV.float() / sampling.temperature, dim=-1)
            token_B1 = torch.multinomial(all_logps_BV.exp(), 1, generator=generator)
            tokens.append(token_B1)
            logps.append(all_logps_BV.gather(1, token_B1))
            alive.append(alive_B[:, None])
            alive_B = alive_B & ~torch.isin(token_B1[:, 0], eos)
            if not alive_B.any():
                break
            step_ids = token_B1
            mask_BL = torch.cat([mask_BL, mask_BL.new_ones(len(prompts), 1)], dim=1)
        return _split(torch.cat(tokens, 1), torch.cat(logps, 1), torch.cat(alive, 1), alive_B)

    def close(self) -> None:
        del self.model


def _split(
    tokens_BT: torch.Tensor, logps_BT: torch.Tensor, alive_BT: torch.Tensor, running_B: torch.Tensor
) -> list[Generated]:
    """Cut each row after its stop token; a row that still runs was truncated by the length limit."""
    lengths = alive_BT.sum(1).tolist()
    tokens, logps = tokens_BT.cpu().numpy().astype(np.int32), logps_BT.float().cpu().numpy()
    return [
        Generated(tokens[row, :length].copy(), logps[row, :length].copy(), not running)
        for row, (length, running) in enumerate(zip(lengths, running_B.tolist(), strict=True))
    ]
