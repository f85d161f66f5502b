"""The pivot-translation game: French to English to German by two agents."""

from envs.pivot.corpora import read_parallel
from envs.pivot.game import PivotTranslation
from envs.pivot.scores import corpus_bleu, sentence_bleu

__all__ = ["PivotTranslation", "corpus_bleu", "read_parallel", "sentence_bleu"]
