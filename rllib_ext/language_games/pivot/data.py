"""The corpora of one run: read, accounted for, encoded by one vocabulary.

The vocabulary is learnt on the three languages of the game's training rows, as published, and applied to the rest: a word
that the game does not have is <unk> to the agents (with byte pairs there are few). Rows with a sentence of more than
``max_tokens`` are left out and counted. ``accounts`` says for each reading: read, kept, quarantined, too_long; the
quarantined rows are listed by index and reason in ``quarantine_<corpus>.jsonl`` of the run folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.pivot.corpora import SYNTHETIC, SYNTHETIC_SIZES, Row, read_parallel
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.language_games.pivot.batches import Ids
from rllib_ext.language_games.pivot.metrics import HeldOut
from rllib_ext.language_games.pivot.vocabulary import Vocabulary

LANGUAGES = {
    "game": ("fr", "en", "de"),
    "french_english": ("fr", "en"),
    "english_german": ("en", "de"),
    "english": ("en",),
}
# Of the synthetic pretraining corpora: several times the game's rows, as IWSLT is to Multi30k.
PRETRAINING_ROWS = 4 * SYNTHETIC_SIZES["train"]


class PivotData:
    """``columns[corpus][language]``: the encoded training rows; ``held_out``: the rows of every evaluation."""

    def __init__(self, values: Mapping[str, Any], folder: Path) -> None:
        self._values, self._folder = values, folder
        self.accounts: list[dict[str, Any]] = []
        rows = {corpus: self._train(corpus) for corpus in LANGUAGES}
        texts = (row[language] for row in rows["game"] for language in LANGUAGES["game"])
        self.vocabulary = Vocabulary.learn(texts, values["vocabulary"], values["vocabulary_size"])
        self.columns = {corpus: self._encode(corpus, rows[corpus]) for corpus in LANGUAGES}
        held_out = self._read("game", values["data"], "validation", values["eval_rows"])
        encoded = self._encode("game", held_out, purpose="held out", cut=False)
        self.held_out = HeldOut(
            french=encoded["fr"],
            english=encoded["en"],
            german=encoded["de"],
            english_texts=[self.vocabulary.normal(row["en"]) for row in held_out],
            german_texts=[self.vocabulary.normal(row["de"]) for row in held_out],
        )
        self.digest = self._digest()

    def _train(self, corpus: str) -> list[Row]:
        values = self._values
        rows = values["game_rows" if corpus == "game" else "pretrain_rows"]
        synthetic = values["data"] == SYNTHETIC
        source = values["data"] if corpus == "game" else values[corpus]
        if source is None and corpus == "english" and not synthetic:
            source = values["french_english"]
        if source is None and not synthetic:
            raise BadConfig(
                f"{corpus} is not set, and data={values['data']!r} has no pretraining corpus; give {corpus}."
            )
        source = source or SYNTHETIC
        if source == SYNTHETIC and corpus != "game":
            rows = rows or PRETRAINING_ROWS
        return self._read(corpus, source, "train", rows)

    def _read(self, corpus: str, source: str, split: str, size: int | None) -> list[Row]:
        values = self._values
        hub = (
            {"config": values["data_config"], "revision": values["data_revision"]} if corpus == "game" else {}
        )
        rows, report = read_parallel(
            source,
            LANGUAGES[corpus],
            split,
            corpus=corpus,
            size=size,
            seed=values["data_seed"],
            max_bad_rows=values["max_bad_rows"],
            quarantine=None if source == SYNTHETIC else self._folder / f"quarantine_{corpus}_{split}.jsonl",
            **hub,
        )
        quarantined = len(report.quarantined)
        account = {
            "corpus": corpus,
            "split": split,
            "read": report.total,
            "quarantined": quarantined,
            "too_long": 0,
        }
        self.accounts.append(account | {"kept": len(rows)})
        return rows

    def _encode(
        self, corpus: str, rows: list[Row], purpose: str = "train", cut: bool = True
    ) -> dict[str, Ids]:
        """The ids by language; rows that are too long go, in every language at once."""
        encoded = {
            language: self.vocabulary.encode([row[language] for row in rows])
            for language in LANGUAGES[corpus]
        }
        if not cut:
            return encoded
        most = self._values["max_tokens"]
        kept = [
            index
            for index, row in enumerate(zip(*encoded.values(), strict=True))
            if max(map(len, row)) <= most
        ]
        if not kept:
            raise BadData(
                f"{corpus}: every row of {purpose} has more than max_tokens={most} tokens; raise it."
            )
        for account in self.accounts:
            if account["corpus"] == corpus and account["split"] == "train":
                account |= {"kept": len(kept), "too_long": len(rows) - len(kept)}
        return {language: [ids[index] for index in kept] for language, ids in encoded.items()}

    def _digest(self) -> str:
        """SHA-256 over the vocabulary and all ids."""
        digest = hashlib.sha256(self.vocabulary.to_json().encode())
        held_out = [self.held_out.french, self.held_out.english, self.held_out.german]
        digest.update(json.dumps([self.columns, held_out], sort_keys=True).encode())
        return digest.hexdigest()
