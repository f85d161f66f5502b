"""The learner's forward pass: log-probabilities of given completions, each prompt computed once or once a completion.

A group's K completions share their prompt of P tokens. Computed apart, a group costs K (P + T) tokens; with the prompt's
keys and values computed once and repeated, P + K T, and the gradient reaches the prompt through the sum over its
repeats: the same function of the same parameters, up to rounding. Only the columns that predict a completion token go
through the output layer, and the last token of a completion, which predicts nothing, through no layer at all.

Left out: sequence packing, and sharing across prompts that begin alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rllib_ext.functional.logprobs import token_logps

# A float32 forward in another order differs by about 1e-6; a wrong one, by whole nats.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_COARSE_TOLERANCE = 0.5


def completion_logps(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], temperature: float, *, share_prompts: bool = False
) -> torch.Tensor:
    """Log-probabilities logps_RKT of ``token_ids`` given prompt and earlier tokens, nats; padding positions hold 0.

    batch: columns of ``llm/batch.py`` with R rows of K completions. share_prompts: compute each prompt once; needs a
    model with a key-value cache (see ``sharing_fault``). Differentiable in the model's parameters.
    """
    rows, kept, width = batch["token_ids"].shape
    logits_BTV = completion_outputs(model, batch, share_prompts=share_prompts)
    token_ids_BT = batch["token_ids"].reshape(rows * kept, width)
    logps_BT = token_logps(logits_BTV, token_ids_BT, temperature=temperature)
    return (logps_BT * batch["token_mask"].reshape(rows * kept, width)).reshape(rows, kept, width)


def completion_outputs(
    model: Callable[..., Any], batch: dict[str, torch.Tensor], *, share_prompts: bool = False
) -> torch.Tensor:
    """What ``model`` puts out before each completion token: (R*K, T, V) logits, or whatever it calls by that name.

    Column t has read the prompt and the tokens before t: it predicts token t, or values the state that token t is
    chosen in. Beyond a completion's end, where the mask is 0, the outputs mean nothing, except in the first column
    there, which has read the whole completion.
    """
    logits = _shared_logits if share_prompts and batch["token_ids"].shape[1] > 1 else _separate_logits
    return logits(model, batch)


def _positions(mask_BL: torch.Tensor) -> torch.Tensor:
    return (mask_BL.cumsum(-1) - 1).clamp(min=0)


def _flat(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """(token ids (R*K, T), mask of prompt and completion (R*K, P + T)), one row a completion."""
    rows, kept, width = batch["token_ids"].shape
    prompt_mask = batch["prompt_mask"].repeat_interleave(kept, dim=0)
    token_mask = batch["token_mask"].reshape(rows * kept, width)
    return batch["token_ids"].reshape(rows * kept, width), torch.cat([prompt_mask, token_mask], dim=1)


def _separate_logits(model: Callable[..., Any], batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits (R*K, T, V) that predict the completions; the prompt is computed with every completion."""
    width = batch["token_ids"].shape[-1]
    token_ids_BT, mask_BL = _flat(batch)
    prompt_ids = batch["prompt_ids"].repeat_interleave(batch["token_ids"].shape[1], dim=0)
    return model(
        input_ids=torch.cat([prompt_ids, token_ids_BT], dim=1)[:, :-1],
        attention_mask=mask_BL[:, :-1],
        position_ids=_positions(mask_BL)[:, :-1],
        use_cache=False,
        logits_to_keep=width,
    ).logits


def _shared_logits(model: Callable[..., Any], batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same logits, with the prompt's keys and values computed once and repeated for its K completions."""
    kept, prompt_width = batch["token_ids"].shape[1], batch["prompt_ids"].shape[1]
    token_ids_BT, mask_BL = _flat(batch)
    prompt = model(
        input_ids=batch["prompt_ids"],
        attention_mask=batch["prompt_mask"],
        position_ids=_positions(batch["prompt_mask"]),
        use_cache=True,
        logits_to_keep=1,
    )
    first_B1V = prompt.logits.repeat_interleave(kept, dim=0)
    if token_ids_BT.shape[1] == 1:
        return first_B1V
    prompt.past_key_values.batch_repeat_interleave(kept)
    rest = model(
        input_ids=token_ids_BT[:, :-1],
        attention_mask=mask_BL[:, :-1],
        position_ids=_positions(mask_BL)[:, prompt_width:-1],
        past_key_values=prompt.past_key_values,
        use_cache=True,
    ).logits
    return torch.cat([first_B1V, rest], dim=1)


@torch.no_grad()
def sharing_fault(model: torch.nn.Module, values: Callable[..., Any] | None = None) -> str | None:
    """Why ``share_prompts`` cannot be used with this model, or None. Two small forwards on the model's own device.

    values: the model as ``completion_outputs`` calls it, where it puts out values (R*K, T, 1) and no logits.

    Tried instead of looked up: whether a cache may be continued by many tokens at once, from padded prompts, is a
    property of the architecture's code (state-space and some hybrid models may not).
    """
    parameter = next(model.parameters())
    batch = _trial_batch(parameter.device, int(model.config.get_text_config().vocab_size))
    what, unit = ("log-probabilities", " nats") if values is None else ("values", "")

    def compute(share: bool) -> torch.Tensor:
        if values is None:
            return completion_logps(model, batch, 1.0, share_prompts=share)
        return completion_outputs(values, batch, share_prompts=share)[..., 0] * batch["token_mask"].flatten(
            0, 1
        )

    try:
        shared, separate = (compute(on) for on in (True, False))
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        return f"its key-value cache cannot be continued ({type(error).__name__}: {error})"
    apart = float((shared - separate).abs().max())
    if not apart <= _TOLERANCE.get(parameter.dtype, _COARSE_TOLERANCE):
        return f"{what} from a shared prompt differ by {apart:.2g}{unit}"
    return None


def _trial_batch(device: Any, vocabulary: int) -> dict[str, torch.Tensor]:
    """Two prompts of 3 and 5 tokens with two completions of 4 and 2 tokens each."""
    ids = torch.arange(2 * 5 + 2 * 2 * 4, device=device) * 7 % vocabulary
    prompt_mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], device=device)
    token_mask = torch.tensor([[[1, 1, 1, 1], [1, 1, 0, 0]]] * 2, device=device)
    return {
        "prompt_ids": ids[:10].reshape(2, 5) * prompt_mask,
        "prompt_mask": prompt_mask,
        "token_ids": ids[10:].reshape(2, 2, 4) * token_mask,
        "token_mask": token_mask,
    }
