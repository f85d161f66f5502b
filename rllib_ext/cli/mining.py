"""``evaluate RUN --candidates FILE``: the candidate triples of a file, ranked by a run of CommonsenseKBC.

FILE is tab-separated (relation, head, tail, and up to two columns more, which are not used) or plain text, of which
candidates are extracted by patterns; a tab in its first line decides. What is written, below the run::

    mining/<file>-<time>/candidates.csv     the best of each bucket of novelty, each beside its nearest training triple
    mining/<file>-<time>/mining.json        counts of what was read and left out, cuts, calibration, warnings
    mining/<file>-<time>/quarantine.jsonl   lines that could not be used, with their reasons (where there are any)
"""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.commonsense.extraction import extract
from rllib_ext.commonsense.judging import TripleJudge
from rllib_ext.commonsense.mining import Candidates, Mined, mine
from rllib_ext.commonsense.novelty import NoveltyIndex
from rllib_ext.commonsense.reading import TripleReport, read_tsv
from rllib_ext.commonsense.relations import RelationNames
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.runtime.json_values import encode

MODEL = "model"
MOST_BAD = 0.5  # candidates are noisy; a file of which less can be used is not what it was taken for
WARNING = (
    "A rank says what this scorer likes. Scorers like near-copies of training triples and some that are far from all of "
    "them; nothing here is new knowledge until somebody has judged it."
)


def mine_candidates(options: Namespace, run: Path) -> int:
    """Write the tables; print where, and the best of each bucket."""
    source = Path(options.candidates).expanduser()
    cuts = _cuts(options.cuts)
    judge = TripleJudge.open(run / MODEL, cuts)
    candidates, about, report = _read(source, judge.index)
    mined = mine(
        candidates,
        judge.score,
        judge.index,
        probability=judge.calibration,
        cuts=cuts,
        keep_known=options.keep_known,
    )
    folder = run / "mining" / f"{source.stem}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    folder.mkdir(parents=True)
    table = mined.table(options.top)
    path = write_csv(table, folder)
    told = {
        "candidates": str(source), "model": str(run / MODEL), **about, "left_out": dict(mined.left_out),
        "ranked": len(mined.score_N), "written": len(table.rows), "buckets": mined.buckets.sizes,
        "bucket_scheme": mined.buckets.scheme, "cuts": list(mined.buckets.cuts),
        "calibration": judge.calibration.as_json(),
        "novelty_of_best": {str(count): value for count, value in mined.novelty_of_best().items()}, "warning": WARNING,
    }  # fmt: skip
    (folder / "mining.json").write_bytes(encode(told, "mining"))
    if report is not None and report.quarantined:
        report.write_quarantine(folder / "quarantine.jsonl")
    _print(options, mined, {**told, "table": str(path)})
    return 0


def _cuts(given: list[float] | None) -> tuple[float, float] | None:
    if given is None:
        return None
    near, far = given
    if not 0 <= near < far:
        raise BadConfig(f"--cuts {near} {far}: they must be two distances, the smaller one first")
    return near, far


def _read(source: Path, index: NoveltyIndex) -> tuple[Candidates, dict[str, Any], TripleReport | None]:
    """(candidates, counts of what was read, what became of each line of a tab-separated file)."""
    try:
        with source.open(encoding="utf-8") as lines:
            first = next((line for line in lines if line.strip()), "")
    except OSError as error:
        raise BadData(
            f"{source} cannot be read ({error}). Check the path of --candidates and its permissions."
        ) from error
    except UnicodeDecodeError:
        first = "\t"  # read_tsv says which lines are not UTF-8
    if "\t" not in first:
        return _from_text(source, index)
    names = RelationNames(index.vocabulary.relations, closed=True)
    read = read_tsv(source, names=names, max_bad_share=MOST_BAD)
    bad = {number for number, _ in read.report.quarantined}
    lines_of = [number for number in range(1, read.report.total + 1) if number not in bad]
    return Candidates.of(read.texts, index, lines_of), {"lines": read.report.counts()}, read.report


def _from_text(source: Path, index: NoveltyIndex) -> tuple[Candidates, dict[str, Any], None]:
    try:
        with source.open(encoding="utf-8") as lines:
            found = extract(lines, index.vocabulary)
    except UnicodeDecodeError as error:
        raise BadData(f"{source} is not UTF-8 ({error}); convert it") from error
    about = {"sentences": found.sentences, "extracted": len(found.rows), "no_candidate": dict(found.left_out)}
    if not found.rows:
        raise BadData(f"no sentence of {source} is a candidate: {about['no_candidate']}")
    return Candidates.of(found.rows, index, found.sentence_numbers), about, None


def _print(options: Namespace, mined: Mined, told: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(told))
        return
    from rich.console import Console
    from rich.table import Table

    from rllib_ext.analysis.plain_text import one_line

    shown = Table(box=None, pad_edge=False)
    for name in ("bucket", "p", "novelty", "candidate", "nearest in training"):
        shown.add_column(name, justify="right" if name in ("p", "novelty") else "left")
    for row in mined.table(3).rows:
        candidate, nearest = (one_line(" | ".join(part)) for part in (row[5:8], row[8:11]))
        shown.add_row(row[0], f"{row[3]:.2f}", f"{row[4]:.2f}", candidate, nearest)
    console = Console(markup=False)
    console.print(shown)
    print(f"{told['written']} of {told['ranked']} candidates: {told['table']}")
    print(WARNING)
