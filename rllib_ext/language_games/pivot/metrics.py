"""How well the pivot game is played, and how far its English has drifted, on held-out rows.

All from greedy translations (messages are drawn in training only):

    game/bleu_de              task: corpus BLEU of the German that comes out of the chain
    drift/bleu_en             language: corpus BLEU of the messages against the reference English
    drift/nll                 nats a token of the messages under the frozen language model of English, EOS counted
    drift/nll_reference       the same of the reference English: where drift/nll would stand without drift
    drift/sender_nll          nats a token of the reference English under the sender
    drift/exact_match         share of messages that are the reference, word for word
    drift/same_as_start       share of the messages' places whose token is still that of the first message of play
    drift/unigram_divergence  Jensen-Shannon divergence in bits between the words of messages and of references
    game/receiver_bleu        BLEU of the receiver's German on the reference English, without a sender

Left out: R1, the retrieval of the captioned image among twenty, since no images come with the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from envs.pivot.scores import corpus_bleu
from rllib_ext.functional.messages import unigram_divergence
from rllib_ext.language_games.pivot.batches import Ids, pad
from rllib_ext.language_games.pivot.language_model import LanguageModel
from rllib_ext.language_games.pivot.losses import supervised_nll
from rllib_ext.language_games.pivot.seq2seq import Seq2Seq
from rllib_ext.language_games.pivot.vocabulary import EOS, Vocabulary

CHUNK = 128  # rows of one forward pass


@dataclass(frozen=True)
class HeldOut:
    """Encoded rows, and the references in the vocabulary's normal form."""

    french: Ids
    english: Ids
    german: Ids
    english_texts: list[str]
    german_texts: list[str]


def translate(
    net: Seq2Seq, sources: Ids, device: torch.device, *, most: int, least: int = 0, policy: bool = False
) -> Ids:
    """The greedy translation of each source: its ids up to EOS, EOS included where it came."""
    found: Ids = []
    for chunk in _chunks(sources):
        ids_BT = net.generate(pad(chunk).to(device), most=most, least=least, policy=policy)
        found += [_until_eos(row) for row in ids_BT.tolist()]
    return found


def evaluate(
    sender: Seq2Seq,
    receiver: Seq2Seq,
    language_model: LanguageModel,
    vocabulary: Vocabulary,
    held_out: HeldOut,
    limits: dict[str, int],
    device: torch.device,
) -> tuple[dict[str, Any], Ids]:
    """The figures above but ``same_as_start``, and the messages. limits: most and least tokens of a message."""
    messages = translate(sender, held_out.french, device, policy=True, **limits)
    longest = 2 * max(map(len, held_out.german))
    german = translate(receiver, messages, device, most=longest)
    german_of_english = translate(receiver, held_out.english, device, most=longest)
    texts = vocabulary.decode(messages)
    nll = _mean([language_model(pad(chunk).to(device)) for chunk in _chunks(messages)])
    nll_reference = _mean([language_model(pad(chunk).to(device)) for chunk in _chunks(held_out.english)])
    pairs = zip(_chunks(held_out.french), _chunks(held_out.english), strict=True)
    sender_nll = _mean([supervised_nll(sender, *(pad(part).to(device) for part in pair)) for pair in pairs])
    counts = (_unigrams(ids, vocabulary.size) for ids in (messages, held_out.english))
    same = [text == reference for text, reference in zip(texts, held_out.english_texts, strict=True)]
    return {
        "game": {
            "bleu_de": corpus_bleu(vocabulary.decode(german), held_out.german_texts),
            "receiver_bleu": corpus_bleu(vocabulary.decode(german_of_english), held_out.german_texts),
        },
        "drift": {
            "bleu_en": corpus_bleu(texts, held_out.english_texts),
            "nll": nll,
            "nll_reference": nll_reference,
            "sender_nll": sender_nll,
            "exact_match": sum(same) / len(same),
            "unigram_divergence": unigram_divergence(*counts),
            "message_tokens": sum(map(len, messages)) / len(messages),
        },
    }, messages


def same_places(messages: Ids, others: Ids) -> float:
    """Share of places with the same token, of all places that one of the two has; 1 for the same messages."""
    pairs = list(zip(messages, others, strict=True))
    alike = sum(a == b for one, other in pairs for a, b in zip(one, other, strict=False))
    return alike / sum(max(len(one), len(other)) for one, other in pairs)


def _mean(parts: list[tuple[Tensor, Tensor]]) -> float:
    """Sum of NLLs over sum of tokens."""
    nats = sum(float(nll.detach().double().sum()) for nll, _ in parts)
    return nats / sum(int(tokens.sum()) for _, tokens in parts)


def _unigrams(rows: Ids, size: int) -> Tensor:
    tokens = [token for row in rows for token in row if token != EOS]
    return torch.bincount(torch.tensor(tokens, dtype=torch.int64), minlength=size)


def _until_eos(row: list[int]) -> list[int]:
    return row[: row.index(EOS) + 1] if EOS in row else row


def _chunks(rows: Ids) -> list[Ids]:
    return [rows[begin : begin + CHUNK] for begin in range(0, len(rows), CHUNK)]
