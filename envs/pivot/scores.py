"""BLEU of German and of English, by sacrebleu, on text that is tokenised already.

``tokenize="none"``: what is scored is words separated by blanks, hypothesis and reference split by the same rule, as the
agents see them. Scores are 0 to 100. Source: Papineni et al. 2002; Post 2018 (arXiv 1804.08771).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from envs.errors import BadEnv


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4, one reference a sentence; 0 where no 4-gram matches."""
    if len(hypotheses) != len(references) or not references:
        raise BadEnv(
            f"{len(hypotheses)} hypotheses for {len(references)} references; BLEU needs as many, and some."
        )
    return float(_metric(False).corpus_score(list(hypotheses), [list(references)]).score)


def sentence_bleu(hypothesis: str, reference: str) -> float:
    """BLEU of one sentence, n-grams only as long as the sentence is (``effective_order``)."""
    return float(_metric(True).sentence_score(hypothesis, [reference]).score)


@cache
def _metric(effective_order: bool) -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise BadEnv("BLEU needs the package sacrebleu: pip install 'rllib-ext[llm]'.") from error
    return BLEU(tokenize="none", effective_order=effective_order, force=True)
