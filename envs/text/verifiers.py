"""Verifiers: rewards that compare an answer with the task's reference and need no model.

The answer is hostile text. It is matched against fixed patterns in linear time and never evaluated.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from envs.errors import BadEnv
from envs.text.rewards import SampleReward
from envs.text.score import Outcome
from envs.text.task import Sample

NUMBER = re.compile(r"-?[$\u00a3\u20ac]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)")
MAX_DIGITS = 64
CACHED_REFERENCES = 100_000
Tokenize = Callable[[str], list[str]]


class NumberMatch(SampleReward):
    """1.0 where the number that the answer gives equals the reference's number, else 0.0 (the GSM8K
    verifier).

    The number is the first one after the *last* marker, so an answer cannot cover several values. Grammar: an
    optional minus, an optional currency sign, digits with commas anywhere among them, an optional fraction.
    Commas are dropped and values compared as decimals: "1,250", "$1250" and "1250.00" are equal, "1e3" is 1
    and "1/2" is 1. Numbers of more than 64 characters are no numbers.

    marker    what introduces the final answer
    fallback  for answers without the marker: "none" gives 0.0, "last" takes the last number of the answer

    A reference may be the bare number or a whole solution; where it has no number the sample is unscored,
    because then the task is broken and not the answer.

    Source: Cobbe et al. 2021 (arXiv 2110.14168) for the marker and the dropping of commas.
    """

    name = "number_match"
    compares_with_reference = True

    def __init__(self, *, marker: str = "####", fallback: Literal["none", "last"] = "none") -> None:
        if not marker:
            raise BadEnv(
                "NumberMatch(marker='') would match everywhere; give the text before the final answer"
            )
        if fallback not in ("none", "last"):
            raise BadEnv(f"NumberMatch(fallback={fallback!r}): choose 'none' or 'last'")
        self.marker, self.fallback = marker, fallback

    def judge(self, sample: Sample) -> Outcome:
        expected = final_number(sample.task.reference or "", self.marker, fallback=True)
        if expected is None:
            return Outcome(None, "the task's reference has no number")
        given = final_number(sample.completion, self.marker, fallback=self.fallback == "last")
        return Outcome(1.0 if given == expected else 0.0)


def final_number(text: str, marker: str, *, fallback: bool) -> Decimal | None:
    """The first number after the last ``marker``; without one the last number, if ``fallback``."""
    _, found, rest = text.rpartition(marker)
    if found:
        match = NUMBER.search(rest)
        number = match.group() if match else None
    else:
        numbers = NUMBER.findall(text) if fallback else []
        number = numbers[-1] if numbers else None
    if number is None or len(number) > MAX_DIGITS:
        return None
    return Decimal(re.sub(r"[^0-9.-]", "", number))


class RougeL(SampleReward):
    """ROUGE-L F1 between answer and reference, in [0, 1]: 2PR / (P + R) of their longest common subsequence
    of words.

    P is its length over the words of the answer, R over those of the reference. Words and formula are those
    of the ``rouge_score`` library; the length is found bit-parallel instead of in the library's table, with
    equal results. What depends on the reference alone is kept, because every reference is scored many times.

    stemmer  True compares word stems (Porter), as some summarisation papers do

    Edges: an answer without a word scores 0.0; without a reference, or with a wordless one, the sample is
    unscored.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"; Hyyro 2004, "Bit-parallel
    LCS-length computation revisited".
    """

    name = "rouge_l"
    compares_with_reference = True

    def __init__(self, *, stemmer: bool = False) -> None:
        self.stemmer = stemmer
        self._load()

    def _load(self) -> None:
        self._tokenize, self._fmeasure = _rouge_score(self.stemmer)
        self._positions = lru_cache(maxsize=CACHED_REFERENCES)(self._positions_of)

    def __getstate__(self) -> dict[str, object]:
        return {"stemmer": self.stemmer, "name": self.name}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._load()

    def judge(self, sample: Sample) -> Outcome:
        if sample.task.reference is None:
            return Outcome(None, "the task has no reference")
        length, positions = self._positions(sample.task.reference)
        if length == 0:
            return Outcome(None, "the task's reference has no word")
        words = self._tokenize(sample.completion)
        if not words:
            return Outcome(0.0)
        common = lcs_length(length, positions, words)
        return Outcome(float(self._fmeasure(common / len(words), common / length)))

    def _positions_of(self, reference: str) -> tuple[int, dict[str, int]]:
        """Number of words, and for each word the set of its positions as the bits of an integer."""
        words = self._tokenize(reference)
        positions: dict[str, int] = {}
        for index, word in enumerate(words):
            positions[word] = positions.get(word, 0) | 1 << index
        return len(words), positions


def lcs_length(length: int, positions: dict[str, int], words: list[str]) -> int:
    """Length of the longest common subsequence of a text of ``length`` words, given by ``positions``, and
    ``words``.

    Bit i of ``column`` is 0 where the table's column grows at row i; one addition carries a whole column
    forward.
    """
    full = (1 << length) - 1
    column = full
    for word in words:
        matches = column & positions.get(word, 0)
        column = (column + matches | column - matches) & full
    return length - column.bit_count()


def _rouge_score(stemmer: bool) -> tuple[Tokenize, Callable[[float, float], float]]:
    try:
        from rouge_score import scoring, tokenize
    except ImportError as error:
        raise BadEnv("RougeL needs the rouge_score library: pip install rouge-score") from error
    porter = None
    if stemmer:
        from nltk.stem.porter import PorterStemmer  # slow to import, and a dependency of rouge_score

        porter = PorterStemmer()
    return lambda text: tokenize.tokenize(text, porter), scoring.fmeasure
