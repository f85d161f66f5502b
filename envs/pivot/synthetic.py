"""The built-in corpora: generated French, English and German in two domains of one grammar.

    talks      what the agents are pretrained on: mostly past tense, definite, few adjectives and places, synonyms free
    captions   what is played on: mostly present tense, places and adjectives, the usual word four times in five

They stand for IWSLT and Multi30k: same languages, other frequencies. French-English pairs, English-German pairs and
English text are drawn from independent scenes, so that no French sentence meets its German one outside the game.

Item i of (seed, corpus, split) does not depend on how many are drawn. Splits are disjoint by construction: the
checksum of a scene modulo 20 is 0 or 1 in validation, 2 or 3 in test, anything else in train, in every corpus; no
scene of validation or test is in any training corpus.

Why it can drift. English has synonyms that German does not see, so a sender may wander among them for free; and it
has words that German has to tell apart (``lexicon.AMBIGUOUS``), so that a sender earns by leaving the usual English.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np

from envs.errors import BadData
from envs.pivot import grammar
from envs.pivot.grammar import Phrase, Scene
from envs.pivot.lexicon import ADJECTIVES, ANIMATE, NOUNS, PLACE, PREPOSITIONS, VERBS

SPLITS = {"train": tuple(range(4, 20)), "validation": (0, 1), "test": (2, 3)}
CORPORA = ("game", "french_english", "english_german", "english")
_KINDS = {
    kind: [i for i, noun in enumerate(NOUNS) if noun.kind == kind] for kind in ("animate", "thing", "place")
}
_VERBS = list(range(len(VERBS)))
_OBJECTS = [
    *_KINDS["thing"],
    *(i for i in _KINDS[ANIMATE] if NOUNS[i].french[0] != "avocat"),
]  # avocat: who or what?


@dataclass(frozen=True)
class Domain:
    """Chances of a domain; ``usual``: that of a word's first synonym; ``turn``: which nouns and verbs are frequent."""

    past: float
    definite: float
    plural: float
    adjective: float
    place: float
    fronted: float
    usual: float
    turn: int


TALKS = Domain(past=0.6, definite=0.7, plural=0.4, adjective=0.3, place=0.4, fronted=0.15, usual=0.6, turn=3)
CAPTIONS = Domain(
    past=0.2, definite=0.4, plural=0.3, adjective=0.5, place=0.7, fronted=0.3, usual=0.8, turn=0
)
DOMAINS = {"game": CAPTIONS, "french_english": TALKS, "english_german": TALKS, "english": CAPTIONS}


def corpus(name: str, split: str, size: int, seed: int = 0) -> list[dict[str, str]]:
    """``size`` rows of a corpus: fr, en, de for the game; fr, en; en, de; or en alone."""
    if name not in CORPORA or split not in SPLITS:
        raise BadData(
            f"corpus {name!r}, split {split!r}: the synthetic corpora are {', '.join(CORPORA)}, each with the splits "
            f"{', '.join(SPLITS)}."
        )
    if size < 1 or seed < 0:
        raise BadData(f"size = {size} must be 1 or more and seed = {seed} 0 or more.")
    kept = {
        "game": ("fr", "en", "de"),
        "french_english": ("fr", "en"),
        "english_german": ("en", "de"),
        "english": ("en",),
    }[name]
    rows = []
    for scene, synonyms in islice(scenes(name, split, seed), size):
        row = {
            "fr": grammar.french(scene),
            "en": grammar.english(scene, synonyms),
            "de": grammar.german(scene),
        }
        rows.append({language: row[language] for language in kept})
    return rows


def scenes(name: str, split: str, seed: int) -> Iterator[tuple[Scene, list[int]]]:
    """Endless (scene, which synonyms) of a corpus."""
    key = (seed, CORPORA.index(name), tuple(SPLITS).index(split))
    rng = np.random.default_rng(np.random.SeedSequence(key))
    domain = DOMAINS[name]
    while True:
        scene = _scene(rng, domain)
        synonyms = [_synonym(rng, count, domain.usual) for count in grammar.choices(scene)]
        if scene.checksum() % 20 in SPLITS[split]:
            yield scene, synonyms


def _scene(rng: np.random.Generator, domain: Domain) -> Scene:
    verb = _pick(rng, _VERBS, domain.turn)
    place = _phrase(rng, domain, _KINDS[PLACE]) if rng.random() < domain.place else None
    return Scene(
        subject=_phrase(rng, domain, _KINDS[ANIMATE]),
        verb=verb,
        past=bool(rng.random() < domain.past),
        object=_phrase(rng, domain, _OBJECTS) if VERBS[verb].transitive else None,
        place=place,
        preposition=int(rng.integers(len(PREPOSITIONS))) if place else 0,
        fronted=bool(place and rng.random() < domain.fronted),
    )


def _phrase(rng: np.random.Generator, domain: Domain, nouns: list[int]) -> Phrase:
    return Phrase(
        noun=_pick(rng, nouns, domain.turn),
        adjective=int(rng.integers(len(ADJECTIVES))) if rng.random() < domain.adjective else None,
        plural=bool(rng.random() < domain.plural),
        definite=bool(rng.random() < domain.definite),
    )


def _pick(rng: np.random.Generator, items: list[int], turn: int) -> int:
    """One of ``items``, the one ``turn`` places on being the commonest: weights 1, 1/2, 1/3, ... from there."""
    return items[bisect(_cumulated(len(items), turn), rng.random())]


@cache
def _cumulated(count: int, turn: int) -> list[float]:
    weights = 1.0 / (1.0 + (np.arange(count) - turn) % count)
    return [float(edge) for edge in (np.cumsum(weights) / weights.sum())[:-1]]


def _synonym(rng: np.random.Generator, count: int, usual: float) -> int:
    """The first with the chance ``usual``, any other else; a word without synonyms draws nothing away from the next."""
    chance, other = rng.random(), rng.random()
    return 0 if count == 1 or chance < usual else 1 + int(other * (count - 1))
