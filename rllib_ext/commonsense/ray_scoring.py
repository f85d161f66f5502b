"""Candidates at scale: Ray Data through a trained scorer, with novelty and the nearest training triple beside each row.

    dataset = ray.data.read_csv("candidates.csv")                       # columns head, relation, tail
    scored = score_dataset(dataset, "runs/.../model", concurrency=2)    # lazy: nothing runs yet
    scored.write_parquet("scored")

Each of ``concurrency`` actors opens the exported folder once; memory is that of the folder and of one batch. Ranking
needs an order over all rows: ``scored.sort("score", descending=True)``, or `mining.mine` where they fit in memory. The
warnings of `mining` hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rllib_ext.commonsense.judging import Judgement, TripleJudge
from rllib_ext.commonsense.reading import read_rows
from rllib_ext.commonsense.relations import RelationNames
from rllib_ext.errors import BadConfig, BadData

if TYPE_CHECKING:
    from ray.data import Dataset

NEEDED = ("head", "relation", "tail")
BATCH = 4096


class BatchScorer:
    """A batch of columns in, the same with more columns out; what `Dataset.map_batches` calls in each actor.

    Added: score, probability, novelty (NaN for what is no triple), bucket, nearest_head, nearest_relation, nearest_tail,
    unknown_words, and ``problem``, "" or the reason why a row has no score. No row is dropped.
    """

    def __init__(self, folder: str, cuts: tuple[float, float] | None = None) -> None:
        self.judge = TripleJudge.open(folder, cuts)
        self._names = RelationNames(self.judge.index.vocabulary.relations, closed=True)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        missing = [name for name in NEEDED if name not in batch]
        if missing:
            raise BadData(f"the rows lack {', '.join(missing)}; they have {', '.join(batch)}")
        count = len(batch["head"])
        rows = [{name: batch[name][at] for name in NEEDED} for at in range(count)]
        judgements, problems = self._judged(rows)
        return {**batch, **_columns(judgements, problems)}

    def _judged(self, rows: list[dict[str, Any]]) -> tuple[list[Judgement | None], list[str]]:
        problems = [""] * len(rows)
        try:
            read = read_rows(rows, "the batch", names=self._names, max_bad_share=1.0)
        except BadData:  # not one of them is a triple: ask for each by itself
            for at, row in enumerate(rows):
                problems[at] = _problem(row, self._names)
            return [None] * len(rows), problems
        for at, reason in read.report.quarantined:
            problems[at] = reason
        judged = iter(self.judge.judge(read.texts))
        return [None if problem else next(judged) for problem in problems], problems


def score_dataset(
    dataset: Dataset,
    folder: str | Path,
    *,
    cuts: tuple[float, float] | None = None,
    batch_size: int = BATCH,
    concurrency: int = 1,
) -> Dataset:
    """``dataset`` with the columns of `BatchScorer`, lazily; rows stay in their blocks."""
    if batch_size < 1 or concurrency < 1:
        raise BadConfig(f"batch_size is {batch_size} and concurrency {concurrency}; both must be 1 or more")
    return dataset.map_batches(
        BatchScorer,
        fn_constructor_args=(str(Path(folder).absolute()), cuts),
        batch_size=batch_size,
        batch_format="numpy",
        concurrency=concurrency,
    )


def _problem(row: dict[str, Any], names: RelationNames) -> str:
    try:
        read_rows([row], "the row", names=names, max_bad_share=1.0)
    except BadData as error:
        return str(error)
    return ""


def _columns(judgements: list[Judgement | None], problems: list[str]) -> dict[str, np.ndarray]:
    def column(name: str, absent: Any) -> np.ndarray:
        return np.array([absent if one is None else getattr(one, name) for one in judgements])

    nearest = [("", "", "") if one is None else one.nearest for one in judgements]
    return {
        **{name: column(name, np.nan) for name in ("score", "probability", "novelty")},
        "bucket": column("bucket", ""),
        **{f"nearest_{slot}": np.array([text[at] for text in nearest]) for at, slot in enumerate(NEEDED)},
        "unknown_words": column("unknown_words", 0),
        "problem": np.array(problems),
    }
