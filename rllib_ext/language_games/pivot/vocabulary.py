"""One vocabulary for three languages: words, or byte pairs learnt on the game's text.

Ids: <pad> 0, <unk> 1, <bos> 2, <eos> 3, then the entries. Text is lower-cased, unicode-normalised (NFC) and split into
runs of letters and digits and runs of other marks; ``normal`` gives that form, which is what BLEU compares. A special
token's name in a text is text: it is split at its brackets before anything is looked up.

Source: the published game learns a joint BPE of 25,000 merges on Multi30k and applies it to the other corpora. Left out:
languages that are not written with spaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rllib_ext.errors import BadConfig, BadData

PAD, UNK, BOS, EOS = range(4)
SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
_END = "</w>"


class Vocabulary:
    """Text to ids and back."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.size = int(tokenizer.get_vocab_size())

    @classmethod
    def learn(cls, texts: Iterable[str], kind: str, size: int) -> Vocabulary:
        """The commonest words, or byte pairs until there are ``size`` entries."""
        tokenizers = _library()
        if kind == "bpe":
            model = tokenizers.models.BPE(unk_token=SPECIAL[UNK], end_of_word_suffix=_END)
            trainer = tokenizers.trainers.BpeTrainer(
                vocab_size=size, special_tokens=list(SPECIAL), end_of_word_suffix=_END, show_progress=False
            )
        else:
            model = tokenizers.models.WordLevel(unk_token=SPECIAL[UNK])
            trainer = tokenizers.trainers.WordLevelTrainer(
                vocab_size=size, special_tokens=list(SPECIAL), show_progress=False
            )
        tokenizer = tokenizers.Tokenizer(model)
        normalizers = tokenizers.normalizers
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        if kind == "bpe":
            tokenizer.decoder = tokenizers.decoders.BPEDecoder(suffix=_END)
        tokenizer.encode_special_tokens = True
        tokenizer.train_from_iterator(texts, trainer)
        found = [tokenizer.token_to_id(name) for name in SPECIAL]
        if found != [PAD, UNK, BOS, EOS] or tokenizer.get_vocab_size() == len(SPECIAL):
            raise BadData(
                f"no vocabulary of {size} entries can be learnt from this text (special ids {found})."
            )
        return cls(tokenizer)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, EOS last."""
        return [
            [*item.ids, EOS] for item in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ]

    def decode(self, rows: Iterable[Sequence[int]]) -> list[str]:
        """The text of each row up to its first EOS, words separated by one blank; <unk> is written out."""
        return [self._text(row) for row in rows]

    def normal(self, text: str) -> str:
        """The text as the agents could at best have written it: lower case, words separated by one blank."""
        pieces = self._tokenizer.pre_tokenizer.pre_tokenize_str(
            self._tokenizer.normalizer.normalize_str(text)
        )
        return " ".join(piece for piece, _ in pieces)

    def to_json(self) -> str:
        """All of it as JSON; ``from_json`` is its inverse."""
        return str(self._tokenizer.to_str())

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        tokenizer = _library().Tokenizer.from_str(text)
        tokenizer.encode_special_tokens = True
        return cls(tokenizer)

    def _text(self, row: Sequence[int]) -> str:
        ids = list(row)
        ids = ids[: ids.index(EOS)] if EOS in ids else ids
        tokens = [self._tokenizer.id_to_token(number) for number in ids if number not in (PAD, BOS)]
        if self._tokenizer.decoder is None:
            return " ".join(tokens)
        return str(self._tokenizer.decoder.decode(tokens)).strip()


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise BadConfig(
            "the pivot game needs the package tokenizers: pip install 'rllib-ext[llm]'."
        ) from error
    return tokenizers
