"""Claim: the orderings of the N+ paper hold, or do not, at small scale: SFT, reward model and PPO at three sizes.

Controlled protocol (spec A.3): built-in posts whose gold reward is a rule; the proxy reward model is trained on
gold-labelled pairs of the SFT policy's own samples, a tenth of the labels turned round; PPO sees the proxy alone; the
gold rule judges 512 held-out prompts. Reported, not gated:

    by size      SFT ROUGE-L, reward-model accuracy, gold win rate of SFT and PPO, KL; 95 % intervals over seeds
    curves       proxy and gold reward against KL over a PPO run with a weak tie to the SFT model (over-optimisation)
    orderings    win rate rises from SFT to PPO; accuracy and win rate rise with size: true, false or undecided

A cell (size and seed) is a folder (``_scaling_cells.py``). The same command goes on where the last one stopped, in the
middle of a cell as well; cells that are finished are only read. No figure is a time, so a busy machine changes nothing.

    python -m benchmarks.rlhf_scaling [--quick] [--seeds 3] [--sizes 32,64,128] [--jobs 2] [--cells FOLDER]
"""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from pathlib import Path

from benchmarks._session import quiet_process, scratch

quiet_process()

from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._scaling_files import cell_folder, finished, read_cells, rows_of  # noqa: E402
from benchmarks._scaling_orderings import by_size, orderings, over_optimised  # noqa: E402
from benchmarks._scaling_pictures import scaling_figure  # noqa: E402

CELL_LIMIT_S = 4 * 3600
ROOT = Path(__file__).resolve().parent.parent


def run_cells(root: Path, wanted: list[tuple[int, int]], jobs: int, quick: bool) -> list[str]:
    """Run what is not finished, ``jobs`` cells side by side, each in a process of its own; what failed, in words."""
    todo = [cell for cell in wanted if finished(root, *cell) is None]
    note(f"{len(wanted) - len(todo)} of {len(wanted)} cells are finished; cells are in {root}")
    with concurrent.futures.ThreadPoolExecutor(max(1, jobs)) as pool:
        outcomes = list(pool.map(lambda cell: _run_cell(root, *cell, quick), todo))
    return [text for text in outcomes if text]


def _run_cell(root: Path, hidden: int, seed: int, quick: bool) -> str:
    """ "" where the cell is finished afterwards, else what to say."""
    folder = cell_folder(root, hidden, seed)
    folder.mkdir(parents=True, exist_ok=True)
    note(f"width {hidden}, seed {seed} ...")
    command = [sys.executable, "-m", "benchmarks._scaling_cells", str(folder), str(hidden), str(seed)]
    log = folder.with_suffix(".log")
    with log.open("a") as stream:
        try:
            code = subprocess.run(
                command + ["--quick"] * quick,
                cwd=ROOT,
                stdout=stream,
                stderr=stream,
                timeout=CELL_LIMIT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = "none in time"
    if finished(root, hidden, seed) is not None:
        note(f"width {hidden}, seed {seed}: finished")
        return ""
    return f"width {hidden}, seed {seed}: exit code {code}, see {log}; the same command goes on"


def main() -> int:
    parser = arguments(__doc__, seeds=3, sizes="32,64,128", jobs=2)
    parser.add_argument(
        "--cells", type=Path, default=None, help="folder of the cells; default: the system's temporary one"
    )
    options = parser.parse_args()
    sizes = [16, 32] if options.quick else [int(size) for size in options.sizes.split(",")]
    seeds = 2 if options.quick else options.seeds
    root = (options.cells or scratch("rlhf_scaling_quick" if options.quick else "rlhf_scaling")).absolute()
    results = Results("rlhf_scaling", options)
    wanted = [(hidden, seed) for seed in range(seeds) for hidden in sorted(sizes, reverse=True)]
    failed = run_cells(root, wanted, options.jobs, options.quick)
    for text in failed:
        note(text)
    cells = read_cells(root, wanted)
    if not cells:
        note("no seed is finished at every size, so there is nothing to report yet")
        return 1
    table = by_size(cells)
    found = orderings(cells)
    results.table(rows_of(cells))
    results.figure(scaling_figure(table, cells))
    headline = {
        "seeds": len({cell["seed"] for cell in cells}),
        "rm_accuracy": {size: row["rm_accuracy"]["mean"] for size, row in table.items()},
        "win_rate_sft": {size: row["gold_win_rate_before"]["mean"] for size, row in table.items()},
        "win_rate_ppo": {size: row["gold_win_rate_after"]["mean"] for size, row in table.items()},
        "orderings": {name: row["holds"] for name, row in found.items()},
    }
    details = {"by_size": table, "orderings": found, "over_optimisation": over_optimised(cells)}
    results.close(headline, **details, cells=cells, unfinished=failed)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
