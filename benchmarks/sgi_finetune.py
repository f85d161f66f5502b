"""Question: what does a pretrained encoder buy in the first 10,000 steps of two games? (spec F.7; no claim is made)

SGIRainbow with one update a step and SPR on, otherwise its defaults; arms differ in where the encoder comes from:

    scratch         drawn at random, one learning rate
    pretrained      from the folder of --pretrained, at the three rates of SGI
    frozen          the same, left as it is
    random frozen   drawn at random and left so: what the head alone can do

Reported for each game and arm, with Student intervals over seeds: the mean score of the games at the end (unclipped,
every copy one game), the human-normalised score, and for each arm its difference to scratch, seed by seed: above 0 or
undecided. 10,000 steps are a tenth of the benchmark; Freeway needs exploration, Boxing answers fast.

Without --pretrained the two arms that need it are left out. A folder is made by `rllib-ext train SGIPretrain`, one a
game; ``{game}`` in the option is replaced by the game's name. Cells are appended to sgi_finetune.jsonl as they finish
and never run twice; --minutes ends a piece.

    python -m benchmarks.sgi_finetune [--quick] [--pretrained 'runs/sgi/{game}'] [--minutes 60] [--jobs 2]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._sgi_finetune_picture import finetune_figure  # noqa: E402
from benchmarks._sgi_finetune_runs import ARMS, Cell  # noqa: E402
from benchmarks._statistics import student_interval, verdict  # noqa: E402
from envs.atari_games import find_game  # noqa: E402

GAMES, SEEDS, STEPS, EVALUATED = ("Freeway", "Boxing"), range(5), 10_000, 20
NEEDS_FOLDER = ("pretrained", "frozen")

Row = dict[str, Any]


def study(folder: str) -> Iterator[Cell]:
    """Seed by seed, so that a piece leaves whole comparisons."""
    for seed in SEEDS:
        for game in GAMES:
            for arm in ARMS:
                if arm in NEEDS_FOLDER and not folder:
                    continue
                given = folder.replace("{game}", game) if arm in NEEDS_FOLDER else ""
                yield Cell(game, arm, seed, STEPS, EVALUATED, given)


def quick_study(folder: str) -> list[Cell]:
    arms = [arm for arm in ARMS if folder or arm not in NEEDS_FOLDER]
    given = {arm: folder.replace("{game}", "Boxing") if arm in NEEDS_FOLDER else "" for arm in arms}
    return [Cell("Boxing", arm, seed, 120, 1, given[arm]) for arm in arms for seed in range(2)]


def scores(rows: list[Row], game: str, arm: str) -> dict[int, float]:
    return {row["seed"]: row["score"] for row in rows if (row["game"], row["arm"]) == (game, arm)}


def normalised(game: str, score: float) -> float:
    """0 for the random agent of the benchmark's table, 1 for its human."""
    known = find_game(game)
    return (score - known.random) / (known.human - known.random)


def table(rows: list[Row]) -> dict[str, Any]:
    """Game -> arm -> score, human-normalised score, and the difference to scratch over the seeds that both have."""
    found: dict[str, Any] = {}
    for game in sorted({row["game"] for row in rows}):
        scratch = scores(rows, game, "scratch")
        found[game] = {}
        for arm in (arm for arm in ARMS if scores(rows, game, arm)):
            mine = scores(rows, game, arm)
            shared = sorted(mine.keys() & scratch.keys())
            gain = student_interval([mine[seed] - scratch[seed] for seed in shared])
            found[game][arm] = {
                "score": student_interval(list(mine.values())),
                "normalised": student_interval([normalised(game, score) for score in mine.values()]),
                "above_scratch": {**gain, "holds": verdict(gain)} if arm != "scratch" else None,
            }
    return found


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2, pretrained="").parse_args()
    results = Results("sgi_finetune", options)
    store = Store(results.folder / "sgi_finetune.jsonl")
    piece = Piece(store, "benchmarks._sgi_finetune_runs", options.jobs, options.minutes)
    make = quick_study if options.quick else study
    complete = piece.run(list(make(options.pretrained)))
    rows = store.rows
    results.table([{name: value for name, value in row.items() if name != "curve"} for row in rows])
    found = table(rows)
    results.figure(finetune_figure(rows))
    headline = {
        "complete": complete, "runs": len(rows),
        "normalised": {game: {arm: one["normalised"]["mean"] for arm, one in of.items()} for game, of in found.items()},
        "above_scratch": {game: {arm: one["above_scratch"]["holds"] for arm, one in of.items() if one["above_scratch"]}
                          for game, of in found.items()},
    }  # fmt: skip
    results.close(headline, table=found)
    for line in piece.failed:
        note(f"failed: {line}")
    return 1 if piece.failed else 0


if __name__ == "__main__":
    sys.exit(main())
