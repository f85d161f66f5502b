"""Tokenizers and small language models built on the spot, with nothing downloaded.

For demos, tests and controlled studies. What ``save_model`` writes is an ordinary Hugging Face folder that
``AutoModelForCausalLM``, ``AutoTokenizer`` and vLLM open. Two architectures: ``llama`` (native in vLLM) and
``gpt_neox`` (the Pythia family; vLLM runs it through its Transformers backend). Dropout is 0 throughout.

PAD and EOS are two tokens, so that a model can learn to stop: EOS carries loss, PAD never does (async RLHF
specification, B.1 detail 3b). BOS, which no text here starts with, is an alias of EOS as in GPT-2 and Pythia.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.llm.safety import PAD_TOKEN, quiet_transformers

EOS_TOKEN = "<eos>"
Architecture = Literal["llama", "gpt_neox"]
ARCHITECTURES = ("llama", "gpt_neox")
MIN_BYTE_VOCABULARY = 2 + 256  # PAD, EOS and one token a byte, so that every text can be written


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (the GPT-2 kind) learnt from ``texts``; any text can be encoded and comes back whole.

    PAD is id 0 and EOS id 1. The splitting rule of byte-level BPE parts the brackets of "<eos>" from its
    letters, so no merge can spell a special token, whatever the texts hold; ``encode_plain`` relies on that.
    Few texts may give fewer than ``vocab_size`` tokens; a model should take its size from ``len(tokenizer)``.
    """
    if vocab_size < MIN_BYTE_VOCABULARY:
        raise BadConfig(
            f"vocab_size is {vocab_size}; byte-level BPE needs at least {MIN_BYTE_VOCABULARY} tokens"
        )
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[PAD_TOKEN, EOS_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return _as_transformers(core)


def word_tokenizer(vocabulary: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token a word, words parted by whitespace; word i has id i, then come PAD and EOS.

    There is no unknown token: a word outside the vocabulary is an error (``encode_plain`` names the text) and
    not a token that a policy could emit unseen by a reward. PAD and EOS live outside the word table, so text
    that spells them is such an unknown word too.
    """
    words = list(vocabulary)
    wrong = [word for word in words if word.split() != [word] or word in (PAD_TOKEN, EOS_TOKEN)]
    if not words or wrong or len(set(words)) != len(words):
        raise BadConfig(
            f"a vocabulary must be distinct words without whitespace, not {PAD_TOKEN} or {EOS_TOKEN}; got "
            f"{len(words)} words of which {len(set(words))} are distinct, and these wrong ones: {wrong[:5]}"
        )
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([PAD_TOKEN, EOS_TOKEN])
    return _as_transformers(core)


def _as_transformers(core: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD_TOKEN,
        eos_token=EOS_TOKEN,
        bos_token=EOS_TOKEN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def causal_lm_config(
    tokenizer: PreTrainedTokenizerBase,
    *,
    architecture: Architecture = "llama",
    hidden: int,
    layers: int,
    heads: int,
    intermediate: int | None = None,
    max_length: int,
    tie_embeddings: bool = False,
) -> PretrainedConfig:
    """The shape of a causal language model for ``tokenizer``.

    hidden         width, a multiple of heads; vLLM on CPU wants hidden/heads of 32, 64, 96 or 128
    intermediate   width of the MLP; None: 8/3 of hidden rounded up to a multiple of 32 (llama, whose MLP has
                   three matrices), 4 times hidden (gpt_neox, two matrices), as in the published models
    max_length     longest sequence, prompt and completion together
    tie_embeddings llama only: input and output embeddings share one matrix
    """
    _check_shape(architecture, hidden, layers, heads, max_length, tie_embeddings)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "attention_dropout": 0.0,
        "tie_word_embeddings": tie_embeddings,
        "use_cache": True,
    }
    if architecture == "llama":
        width = intermediate or -(-8 * hidden // (3 * 32)) * 32
        return LlamaConfig(**shape, intermediate_size=width, num_key_value_heads=heads)
    return GPTNeoXConfig(
        **shape, intermediate_size=intermediate or 4 * hidden, hidden_dropout=0.0, classifier_dropout=0.0
    )


def _check_shape(
    architecture: str, hidden: int, layers: int, heads: int, max_length: int, tie_embeddings: bool
) -> None:
    if architecture not in ARCHITECTURES:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    sizes = {"hidden": hidden, "layers": layers, "heads": heads, "max_length": max_length}
    for field, value in sizes.items():
        if value < 1:
            raise BadConfig(f"{field} is {value}; it must be 1 or more")
    if hidden % heads or (hidden // heads) % 2:
        raise BadConfig(f"hidden {hidden} with heads {heads}: hidden / heads must be an even whole number")
    if tie_embeddings and architecture != "llama":
        raise BadConfig(
            f"tie_embeddings=True with architecture {architecture!r}; only 'llama' ties its embeddings"
        )


def build_causal_lm(config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A model with random weights, given by ``config`` and ``seed`` alone; global random state stays."""
    with torch.random.fork_rng(range(torch.cuda.device_count())), quiet_transformers():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def count_parameters(model: PreTrainedModel | PretrainedConfig) -> int:
    """Exact number of parameters, a tied matrix counted once; for a config, without allocating anything."""
    if isinstance(model, PretrainedConfig):
        with torch.device("meta"), quiet_transformers():
            model = AutoModelForCausalLM.from_config(model)
    return sum(parameter.numel() for parameter in model.parameters())


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> Path:
    """Write model (safetensors) and tokenizer as one folder that any Hugging Face loader and vLLM open.

    Files are written beside the folder and moved in one by one, config.json last: a folder without it was not
    finished, and ``check_model_folder`` says so. Other files in the folder stay.
    """
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with quiet_transformers():
            model.save_pretrained(beside)
            tokenizer.save_pretrained(beside)
        (folder / "config.json").unlink(missing_ok=True)
        for path in sorted(beside.iterdir(), key=lambda path: path.name == "config.json"):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder
