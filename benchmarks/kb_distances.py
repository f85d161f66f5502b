"""Claim: the novelty of 2,400 triples against 100,000 training triples takes under 10 CPU-seconds, exactly, and in memory
that does not grow with the number of triples asked for.

The distance is the sum of two Euclidean ones (head and tail, 200 numbers each), so no library searches it as it stands.
Sides, in turn, one thread each:

    ours      `NoveltyIndex`: products of matrices over distinct phrases, candidates measured again in float64
    sklearn   `NearestNeighbors` (brute force, its own blocked product) in the joined space of 400 numbers. Its distance
              is at most the sum and at least the sum / sqrt(2), so its k nearest are candidates: the answer is certain
              once the k-th is farther than the best sum; k grows eightfold for the triples where it is not. For a tenth
              of the triples; its seconds are scaled up
    scipy     `cdist` over all pairs, the direct way, for a fiftieth of the triples; scaled up likewise

Triples are drawn: phrases of one to five words, words by a Zipf law, vectors normal with norm 2; 21,457 words and as many
phrases as ConceptNet's 100,000 triples have, roughly. A tenth of the asked triples are training triples with one phrase
exchanged, as the published negatives are. All sides must give the same distances.

    ours_cpu_s, sklearn_cpu_s, scipy_cpu_s    medians over --pairs turns
    ratio                                     sklearn over ours, median and interval over turns
    peak_mib_<n>                              largest memory during a search for n triples (tracemalloc), less the index

    python -m benchmarks.kb_distances [--quick] [--pairs 3] [--known 100000] [--asked 2400]
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import numpy as np  # noqa: E402
from scipy.spatial.distance import cdist  # noqa: E402

from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import bootstrap_interval, median  # noqa: E402
from rllib_ext.commonsense.novelty import NoveltyIndex, phrase_means  # noqa: E402
from rllib_ext.commonsense.triples import (  # noqa: E402
    PADDING_WORD,
    UNKNOWN_WORD,
    Triples,
    Vocabulary,
)

LIMIT_CPU_S = 10.0
WORDS, DIMENSIONS, FIRST_K = 21_457, 200, 32
SHARES = {"sklearn": 10, "scipy": 50}  # of the triples, one in so many
LONGEST = 5


def drawn(known: int, asked: int, seed: int = 0) -> tuple[Triples, Triples, np.ndarray]:
    """(training triples, triples to ask for, vectors)."""
    draw = np.random.default_rng(seed)
    words = Vocabulary((PADDING_WORD, UNKNOWN_WORD, *(f"w{i}" for i in range(WORDS))), ("RelatedTo",))
    share = 1.0 / np.arange(1, WORDS + 1)
    share /= share.sum()

    def phrases(count: int) -> np.ndarray:
        found = 2 + draw.choice(WORDS, size=(count, LONGEST), p=share)
        length = 1 + draw.choice(LONGEST, size=count, p=[0.45, 0.3, 0.15, 0.07, 0.03])
        return np.where(np.arange(LONGEST) < length[:, None], found, 0)

    train = Triples(phrases(known), np.zeros(known, np.int64), phrases(known), words)
    near = draw.integers(known, size=asked)
    heads, tails = phrases(asked), phrases(asked)
    heads[: asked // 10] = train.heads[near[: asked // 10]]  # the tail is exchanged
    vectors = draw.normal(size=(len(words.words), DIMENSIONS))
    vectors *= 2 / np.linalg.norm(vectors, axis=1, keepdims=True)
    return train, Triples(heads, np.zeros(asked, np.int64), tails, words), vectors.astype(np.float32)


def means(triples: Triples, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of heads and of tails, a row a triple."""
    sides = (phrase_means(part, vectors) for part in (triples.heads, triples.tails))
    heads, tails = (points[rows] for points, rows in sides)
    return heads, tails


def sums(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Distances of rows to rows [n, k]: each of ``one`` to its own k of ``other``."""
    found = 0.0
    for points, candidates in zip(one, other, strict=True):
        found = found + np.linalg.norm(candidates.astype(np.float64) - points[:, None], axis=2)
    return found


def by_sklearn(train: Triples, asked: Triples, vectors: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Distances by a certified search, and how often k had to grow."""
    from sklearn.neighbors import NearestNeighbors

    known, queries = means(train, vectors), means(asked, vectors)
    search = NearestNeighbors(algorithm="brute").fit(np.concatenate(known, axis=1))
    found, open_rows, k, rounds = np.full(len(asked), np.inf), np.arange(len(asked)), FIRST_K, []
    while len(open_rows):
        rounds.append({"k": k, "triples": len(open_rows)})
        k = min(k, len(train))
        still = []
        for start in range(0, len(open_rows), max(1, 200_000 // k)):
            rows = open_rows[start : start + max(1, 200_000 // k)]
            joint = np.concatenate([queries[0][rows], queries[1][rows]], axis=1)
            far, at = search.kneighbors(joint, n_neighbors=k)
            for first in range(0, len(rows), max(1, 10_000 // k)):  # candidates are measured in small pieces
                part = slice(first, first + max(1, 10_000 // k))
                mine = rows[part]
                measured = sums(
                    (queries[0][mine], queries[1][mine]), (known[0][at[part]], known[1][at[part]])
                )
                found[mine] = measured.min(axis=1)
            certain = (found[rows] <= far[:, -1] * (1 - 1e-5)) | (k == len(train))
            still.append(rows[~certain])
        open_rows, k = np.concatenate(still), k * 8
    return found, {"rounds": rounds}


def by_scipy(train: Triples, asked: Triples, vectors: np.ndarray) -> np.ndarray:
    known, queries = means(train, vectors), means(asked, vectors)
    found = np.empty(len(asked))
    for row in range(len(asked)):
        both = (cdist(q[row : row + 1], points)[0] for q, points in zip(queries, known, strict=True))
        found[row] = sum(both).min()
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """(answer, CPU seconds, wall seconds)."""
    cpu, wall = time.process_time(), time.perf_counter()
    answer = work()
    return answer, time.process_time() - cpu, time.perf_counter() - wall


def measure(known: int, asked: int, pairs: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(a row a turn and side, what else is to be told)."""
    train, triples, vectors = drawn(known, asked)
    few = {side: triples.take(slice(0, None, share)) for side, share in SHARES.items()}
    rows: list[dict[str, Any]] = []
    by_sklearn(train.take(slice(0, 100)), few["scipy"], vectors)  # imports and first calls, outside the clock
    for pair in range(pairs):
        index, fit_cpu, _ = timed(lambda: NoveltyIndex.fit(train, vectors))
        ours, cpu, wall = timed(lambda index=index: index.distance(triples))
        rows.append(
            {"side": "ours", "pair": pair, "cpu_s": cpu + fit_cpu, "search_cpu_s": cpu, "wall_s": wall}
        )
        (theirs, details), cpu, wall = timed(lambda: by_sklearn(train, few["sklearn"], vectors))
        found = {
            "sklearn": (theirs, cpu, wall),
            "scipy": timed(lambda: by_scipy(train, few["scipy"], vectors)),
        }
        apart = 0.0
        for side, (distances, cpu, wall) in found.items():
            scale = len(triples) / len(few[side])
            rows.append({"side": side, "pair": pair, "cpu_s": cpu * scale, "wall_s": wall * scale})
            apart = max(apart, float(np.abs(ours[:: SHARES[side]] - distances).max()))
        if apart > 1e-5:  # all of them measure float32 points
            raise RuntimeError(f"the sides' distances differ by up to {apart}: one of them is wrong")
        note(f"pair {pair}: {[{key: row[key] for key in ('side', 'cpu_s')} for row in rows[-3:]]}")
    return rows, {**details, "largest_difference": apart, "zero_distances": int((ours == 0).sum())}


def peaks(known: int, asked: int) -> dict[str, float]:
    """Largest memory of a search beyond the index, for half and for all of the triples."""
    train, triples, vectors = drawn(known, asked)
    index = NoveltyIndex.fit(train, vectors)
    found = {}
    for count in (asked // 2, asked):
        tracemalloc.start()
        index.distance(triples.take(slice(0, count)))
        found[f"peak_mib_{count}"] = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
    return found


def headline_of(rows: list[dict[str, Any]], known: int, asked: int) -> dict[str, Any]:
    cpu = {
        side: [row["cpu_s"] for row in rows if row["side"] == side] for side in ("ours", "sklearn", "scipy")
    }
    ratios = [one / other for one, other in zip(cpu["sklearn"], cpu["ours"], strict=True)]
    found = median(cpu["ours"])
    return {
        **{f"{side}_cpu_s": median(values) for side, values in cpu.items()},
        "ratio": median(ratios), "ratio_interval": bootstrap_interval(ratios),
        "known": known, "asked": asked, "limit_cpu_s": LIMIT_CPU_S,
        "reached": found < LIMIT_CPU_S if (known, asked) == (100_000, 2_400) else None,
    }  # fmt: skip


def main() -> int:
    options = arguments(__doc__, pairs=3, known=100_000, asked=2_400).parse_args()
    results = Results("kb_distances", options)
    pairs, known, asked = (1, 3_000, 200) if options.quick else (options.pairs, options.known, options.asked)
    rows, details = measure(known, asked, pairs)
    headline = headline_of(rows, known, asked) | peaks(known, asked)
    results.table(rows)
    spans = {
        side: (median(of), (min(of), max(of)))
        for side in ("ours", "sklearn", "scipy")
        if (of := [row["cpu_s"] for row in rows if row["side"] == side])
    }
    title = f"Novelty of {asked:,} triples against {known:,}"
    results.figure(
        rate_figure(title, "CPU seconds; lines: least and most of the turns; less is better", spans)
    )
    results.close(headline, **details)
    return int(headline["reached"] is False and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
