"""A scene and its sentence in three languages: word order, agreement, case, tense.

    French   noun before adjective; articles and adjectives agree in gender and number; le chien noir a vu un chat
    English  adjective before noun; synonyms are chosen word by word;                   the black dog saw a cat
    German   verb second, participle last; articles and adjectives agree in gender, number and case;
                                                                       der schwarze hund hat eine katze gesehen

A scene may begin with its place in all three (German then inverts: vor dem haus schläft ein kind). Sentences are lower
case, words are separated by one space, there is no punctuation.

Left out: pronouns, negation, subordinate clauses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envs.pivot.lexicon import ADJECTIVES, NOUNS, PREPOSITIONS, VERBS, Adjective, Noun

_FRENCH_ARTICLES = {(True, "m"): "le", (True, "f"): "la", (False, "m"): "un", (False, "f"): "une"}
_GERMAN_DEFINITE = {
    "nominative": {"m": "der", "f": "die", "n": "das", "plural": "die"},
    "accusative": {"m": "den", "f": "die", "n": "das", "plural": "die"},
    "dative": {"m": "dem", "f": "der", "n": "dem", "plural": "den"},
}
_GERMAN_INDEFINITE = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein", "plural": "einige"},
    "accusative": {"m": "einen", "f": "eine", "n": "ein", "plural": "einige"},
    "dative": {"m": "einem", "f": "einer", "n": "einem", "plural": "einigen"},
}


@dataclass(frozen=True)
class Phrase:
    """A noun phrase by numbers of the lexicon; ``adjective`` None: none."""

    noun: int
    adjective: int | None
    plural: bool
    definite: bool


@dataclass(frozen=True)
class Scene:
    """What a sentence says. ``object`` where the verb is transitive; ``preposition`` where there is a place."""

    subject: Phrase
    verb: int
    past: bool
    object: Phrase | None = None
    place: Phrase | None = None
    preposition: int = 0
    fronted: bool = False

    def phrases(self) -> tuple[Phrase, ...]:
        """Subject, object, place, those there are."""
        return tuple(item for item in (self.subject, self.object, self.place) if item is not None)

    def checksum(self) -> int:
        """A sum of everything a scene says, the splits' key: equal scenes have equal sums."""
        total = self.verb * 3 + self.past + 2 * self.fronted + self.preposition
        for place, phrase in enumerate(self.phrases()):
            adjective = 0 if phrase.adjective is None else phrase.adjective + 1
            total += (place + 1) * (7 * phrase.noun + 5 * adjective + 2 * phrase.plural + phrase.definite)
        return total


def french(scene: Scene) -> str:
    """The French sentence."""
    verb = VERBS[scene.verb]
    auxiliary = "ont" if scene.subject.plural else "a"
    said = [auxiliary, verb.french[2]] if scene.past else [verb.french[scene.subject.plural]]
    core = [*_french(scene.subject), *said, *(_french(scene.object) if scene.object else [])]
    place = [PREPOSITIONS[scene.preposition].french, *_french(scene.place)] if scene.place else []
    return " ".join([*place, *core] if scene.fronted else [*core, *place])


def english(scene: Scene, synonyms: Sequence[int] = ()) -> str:
    """The English sentence. ``synonyms``: for each word that has some, in the order of ``choices``, which one."""
    picks = list(synonyms) or [0] * len(choices(scene))
    verb = VERBS[scene.verb].english[picks.pop(0)]
    said = verb[2] if scene.past else verb[scene.subject.plural]
    phrases = [_english(phrase, picks) for phrase in scene.phrases()]
    core = [*phrases[0], said, *(phrases[1] if scene.object else [])]
    place = [PREPOSITIONS[scene.preposition].english[picks.pop(0)], *phrases[-1]] if scene.place else []
    return " ".join([*place, *core] if scene.fronted else [*core, *place])


def choices(scene: Scene) -> list[int]:
    """How many synonyms there are for the verb, each noun and its adjective, and the preposition."""
    counts = [len(VERBS[scene.verb].english)]
    for phrase in scene.phrases():
        counts.append(len(NOUNS[phrase.noun].english))
        if phrase.adjective is not None:
            counts.append(len(ADJECTIVES[phrase.adjective].english))
    return [*counts, len(PREPOSITIONS[scene.preposition].english)] if scene.place else counts


def german(scene: Scene) -> str:
    """The German sentence."""
    verb, plural = VERBS[scene.verb], scene.subject.plural
    finite = verb.auxiliary[plural] if scene.past else verb.german[plural]
    subject = _german(scene.subject, "nominative")
    things = _german(scene.object, "accusative") if scene.object else []
    place = [PREPOSITIONS[scene.preposition].german, *_german(scene.place, "dative")] if scene.place else []
    last = [verb.german[2]] if scene.past else []
    if scene.fronted:
        return " ".join([*place, finite, *subject, *things, *last])
    return " ".join([*subject, finite, *things, *place, *last])


def _parts(phrase: Phrase) -> tuple[Noun, Adjective | None]:
    return NOUNS[phrase.noun], None if phrase.adjective is None else ADJECTIVES[phrase.adjective]


def _french(phrase: Phrase) -> list[str]:
    noun, adjective = _parts(phrase)
    article = _FRENCH_ARTICLES[phrase.definite, noun.french_gender]
    if phrase.plural:
        article = "les" if phrase.definite else "des"
    after = [adjective.french[noun.french_gender == "f"] + "s" * phrase.plural] if adjective else []
    return [article, noun.french[phrase.plural], *after]


def _english(phrase: Phrase, picks: list[int]) -> list[str]:
    noun, adjective = _parts(phrase)
    article = "the" if phrase.definite else ("some" if phrase.plural else "a")
    word = noun.english[picks.pop(0)][phrase.plural]
    before = [adjective.english[picks.pop(0)]] if adjective else []
    if article == "a" and (before or [word])[0][0] in "aeiou":
        article = "an"
    return [article, *before, word]


def _german(phrase: Phrase, case: str) -> list[str]:
    noun, adjective = _parts(phrase)
    form = "plural" if phrase.plural else noun.german_gender
    article = (_GERMAN_DEFINITE if phrase.definite else _GERMAN_INDEFINITE)[case][form]
    word = noun.german[phrase.plural]
    if case == "dative" and phrase.plural and word[-1] not in "ns":
        word += "n"
    middle = [adjective.german + _ending(phrase, case, form)] if adjective else []
    return [article, *middle, word]


def _ending(phrase: Phrase, case: str, form: str) -> str:
    """Weak after the definite article, mixed after ein, strong after einige."""
    if form == "plural":
        return "en" if phrase.definite or case == "dative" else "e"
    if case == "dative" or (case == "accusative" and form == "m"):
        return "en"
    if phrase.definite or form == "f":
        return "e"
    return {"m": "er", "n": "es"}[form]
