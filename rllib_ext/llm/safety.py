"""Opening models and tokenizers without running anything that came with them, and text without hidden tokens.

Every door of ``model_folder`` stays shut here as well: transformers is called with remote code off,
safetensors only, and local files only, on a folder that has been judged. ``encode_plain`` is the way for
text from data sets, users and models into token ids: text that spells a special token stays text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.llm.model_folder import check_model_folder, require_pinned

__all__ = [
    "PAD_TOKEN",
    "check_model_folder",
    "encode_plain",
    "open_causal_lm",
    "open_model",
    "open_tokenizer",
    "quiet_transformers",
    "require_pinned",
]

PAD_TOKEN = "<pad>"
LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)  # what transformers lets through when files are not what they should be


def open_causal_lm(
    name: str | Path, dtype: str | torch.dtype = "float32", revision: str | None = None
) -> PreTrainedModel:
    """A causal language model in evaluation mode, from safetensors only."""
    return open_model(AutoModelForCausalLM, check_model_folder(name, revision), dtype)[0]


def open_model(
    auto_class: Any,
    folder: Path,
    dtype: str | torch.dtype,
    *,
    config_values: Mapping[str, Any] | None = None,
    may_miss: Set[str] = frozenset(),
) -> tuple[PreTrainedModel, frozenset[str]]:
    """A model from a folder that ``check_model_folder`` has judged, and the tensors it left unused.

    config_values  replace those of the model's config
    may_miss       parameters that the folder may lack. Any other that is missing or of the wrong shape is an
                   error: the loader would fill it with noise

    Dropout is off in whatever is opened, in its config and so in every module (N+ detail 7): two passes over
    the same tokens must agree, or a ratio of probabilities starts away from 1.
    """
    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(folder, **safe)
            dropouts = {k: 0.0 for k, v in config.to_dict().items() if "drop" in k and isinstance(v, float)}
            for key, value in {**dropouts, **(config_values or {})}.items():
                setattr(config, key, value)
            model, report = auto_class.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are judged below, by name
                **safe,
            )
    except AssertionError as error:  # vLLM takes the class over where it runs it through transformers
        raise BadConfig(
            f"model folder {str(folder)!r} is of an architecture that vLLM has taken over in this process "
            f"({error}); open it in a process without vLLM, or use one that vLLM runs natively, such as llama"
        ) from error
    except LOADING_ERRORS as error:
        raise BadConfig(
            f"model folder {str(folder)!r} cannot be opened as {auto_class.__name__} in {dtype}: {error}; "
            "it must hold such a model, saved by save_pretrained"
        ) from error
    _require_whole(model, report, may_miss, folder)
    return model, frozenset(report["unexpected_keys"])


def _require_whole(
    model: PreTrainedModel, report: Mapping[str, Any], may_miss: Set[str], folder: Path
) -> None:
    misfits = {key for key, *_ in report["mismatched_keys"]}
    wanting = sorted((set(report["missing_keys"]) | misfits) - may_miss)
    if wanting:
        raise BadConfig(
            f"model folder {str(folder)!r} lacks {len(wanting)} parameters of {type(model).__name__} in the "
            f"shape that its config says, {wanting[0]!r} first; it holds another kind of model, or was not "
            "saved whole"
        )


def open_tokenizer(
    name: str | Path, revision: str | None = None, *, padding_side: str = "left", need_eos: bool = True
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, with a PAD of its own.

    A tokenizer without PAD, or with PAD = EOS (which teaches a model never to stop), gets a new token, and
    no embedding is resized for it: the batches of this package fill padding with id 0 under the attention
    mask, so the id of PAD never reaches a model (async RLHF specification, B.1 detail 3b).
    """
    folder = check_model_folder(name, revision, weights=False)
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True, padding_side=padding_side
            )
    except LOADING_ERRORS as error:
        raise BadConfig(
            f"{str(folder)!r} holds no tokenizer that transformers opens: {error}; save one there"
        ) from error
    if need_eos and tokenizer.eos_token_id is None:
        raise BadConfig(f"the tokenizer in {str(folder)!r} has no EOS token; set eos_token and save it again")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    return tokenizer


def encode_plain(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, add_special_tokens: bool = False
) -> list[list[int]]:
    """Token ids of untrusted texts, in which a special token's name is spelt out as text.

    add_special_tokens  True for a prompt: what the tokenizer itself puts around a text (BOS in many families)
    """
    if not texts:
        return []
    try:
        return tokenizer(
            list(texts),
            add_special_tokens=add_special_tokens,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
    except (
        Exception
    ) as error:  # the tokenizers library raises bare Exception for a word that it does not know
        for index, text in enumerate(texts if len(texts) > 1 else ()):
            try:
                encode_plain(tokenizer, [text], add_special_tokens=add_special_tokens)
            except BadData as culprit:
                raise BadData(f"text {index}: {culprit}") from error
        raise BadData(
            f"cannot be written in this tokenizer's vocabulary: {texts[0]!r:.80} ({error})"
        ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Loading without progress bars and reports; errors still come as exceptions."""
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()
