"""Candidate triples out of plain text, by surface patterns: "a knife is used for cutting" → (knife, UsedFor, cutting).

A sentence that matches a pattern gives one candidate, of the first pattern that matches; patterns that say more come
first. There is no parser and no lemmatiser behind this, on purpose: it shows the way from text to a ranked table without
a download, and it is not the extractor of the published candidates (Li et al. 2016 matched patterns over parsed
Wikipedia). Expect noise: ranking is there to sort it out. English only. The ``such as`` pattern is Hearst's (1992).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rllib_ext.commonsense.triples import Text, Vocabulary
from rllib_ext.errors import BadConfig

MOST_WORDS = 4
VERB = r"(?:is|are|was|were)"
LEFT, RIGHT = r"^(?P<head>.+?) ", r" (?P<tail>.+)$"
PATTERNS: tuple[tuple[str, str], ...] = (
    ("HasSubevent", r"^(?:when|while) (?:you |we |people )?(?P<head>.+?), (?:you |we |people )?(?P<tail>.+)$"),
    ("UsedFor", rf"{LEFT}{VERB} used (?:for|to){RIGHT}"),
    ("MadeOf", rf"{LEFT}{VERB} made (?:of|from|out of){RIGHT}"),
    ("PartOf", rf"{LEFT}{VERB} (?:a |an )?parts? of{RIGHT}"),
    ("AtLocation", rf"{LEFT}{VERB} (?:often |usually )?(?:found|located|kept|seen) (?:in|at|on|inside|near){RIGHT}"),
    ("ReceivesAction", rf"{LEFT}(?:can|may|must) be{RIGHT}"),
    ("CapableOf", rf"{LEFT}(?:can|{VERB} able to){RIGHT}"),
    ("Causes", rf"{LEFT}(?:causes?|leads? to|results? in){RIGHT}"),
    ("HasPrerequisite", rf"{LEFT}(?:requires?|needs?){RIGHT}"),
    ("Desires", rf"{LEFT}(?:wants?|desires?|likes?)(?: to)?{RIGHT}"),
    ("IsA", r"^(?P<tail>.+?),? such as (?P<head>.+)$"),
    ("IsA", rf"{LEFT}{VERB} (?:a|an)(?: kind| type| sort)?(?: of)?{RIGHT}"),
    ("HasA", rf"{LEFT}(?:has|have) (?:a |an |the )?(?P<tail>.+)$"),
    ("HasProperty", rf"{LEFT}{VERB} (?:very |quite |always |often |usually )?(?P<tail>[\w'-]+)$"),
)  # fmt: skip
_COMPILED = tuple((relation, re.compile(pattern)) for relation, pattern in PATTERNS)
_SENTENCE = re.compile(r"[.!?;:\n]+(?:\s|$)|\n")
_DETERMINERS = frozenset(
    re.findall(r"\w+", "a an the this that these those some any every each my your his her its our their")
)
_PRONOUNS = frozenset(re.findall(r"\w+", "i you he she it we they there what who which one"))
_STOPS = frozenset(re.findall(r"\w+", "and or but because so if when while although though which who that"))


@dataclass
class Extraction:
    """Candidates of a text, each with its sentence's number from 1; and of every other sentence why it gave none."""

    rows: list[Text] = field(default_factory=list)
    sentence_numbers: list[int] = field(default_factory=list)
    sentences: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def extract(lines: Iterable[str], vocabulary: Vocabulary, *, most_words: int = MOST_WORDS) -> Extraction:
    """Candidates of the vocabulary's relations. ``len(rows) + sum(left_out.values()) == sentences``.

    A word that the vocabulary lacks and whose singular it has becomes the singular: published phrases are lemmatised.
    Other unknown words stay: they count as unknown when the candidate is scored.
    """
    if most_words < 1:
        raise BadConfig(f"most_words is {most_words}; it must be 1 or more")
    known = {name.lower(): name for name in vocabulary.relations}
    found = Extraction()
    for sentence in _sentences(lines):
        found.sentences += 1
        row, reason = _of(sentence, known, vocabulary, most_words)
        if row is None:
            found.left_out[reason] += 1
        else:
            found.rows.append(row)
            found.sentence_numbers.append(found.sentences)
    return found


def _sentences(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        for part in _SENTENCE.split(line):
            words = " ".join(re.findall(r"[\w'-]+|,", part.lower())).replace(" ,", ",")
            if words.strip(" ,"):
                yield words.strip(" ,")


def _of(
    sentence: str, known: dict[str, str], vocabulary: Vocabulary, most_words: int
) -> tuple[Text | None, str]:
    """(the sentence's candidate, ""), or (None, the reason why it has none)."""
    reason = "no pattern matches"
    for relation, pattern in _COMPILED:
        match = pattern.match(sentence)
        if match is None:
            continue
        if relation.lower() not in known:
            reason = f"the vocabulary has no relation {relation}"
            continue
        head = _phrase(match["head"].split(",")[-1], vocabulary, from_end=True)
        tail = _phrase(match["tail"].split(",")[0], vocabulary, from_end=False)
        if not head or not tail:
            return None, "a phrase is empty or a pronoun"
        if max(len(head), len(tail)) > most_words:
            return None, f"a phrase has more than {most_words} words"
        return (" ".join(head), known[relation.lower()], " ".join(tail)), ""
    return None, reason


def _phrase(text: str, vocabulary: Vocabulary, *, from_end: bool) -> list[str]:
    """The words next to the verb up to a conjunction, without determiners at the start; [] for a pronoun."""
    words: list[str] = []
    for word in reversed(text.split()) if from_end else text.split():
        if word in _STOPS:
            break
        words.append(word)
    words = words[::-1] if from_end else words
    while words and words[0] in _DETERMINERS:
        words = words[1:]
    if len(words) == 1 and words[0] in _PRONOUNS:
        return []
    return [known_form(word, vocabulary) for word in words]


def known_form(word: str, vocabulary: Vocabulary) -> str:
    """The word, or its singular where only that is in the vocabulary."""
    if word in vocabulary.word_ids:
        return word
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    singulars = [word[: -len(end)] + other for end, other in endings if word.endswith(end)]
    return next((one for one in singulars if one in vocabulary.word_ids), word)
