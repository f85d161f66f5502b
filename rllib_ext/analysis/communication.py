"""Everything that is drawn of how agents communicate: from records and recordings to a folder of pictures and tables.

A folder of results is searched for ``communication.json`` (`comm_records`) in itself and two levels below; a
``communication.npz`` beside one is a recording whose filmed episode is drawn, and a ``result.json`` gives learning
curves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rllib_ext.analysis import comm_plots, comm_tables, figures
from rllib_ext.analysis.comm_records import FILE, Record, read_records
from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.analysis.episode_strip import animate, draw_strip
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.recordings import Recording, load_recording
from rllib_ext.analysis.run_data import load_run
from rllib_ext.analysis.tables import Table
from rllib_ext.errors import BadData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDING = "communication.npz"
STEPS = ("num_env_steps_sampled_lifetime", "env_runners/num_env_steps_sampled_lifetime")
CURVES = {"episode_return_mean": "return", "episode_len_mean": "length", "success_mean": "success"}
MOST_STRIPS = 12

Draw = Callable[[Sequence[Record]], "Figure | None"]
_FIGURES: tuple[tuple[str, Draw], ...] = (
    ("learning_curves", comm_plots.learning_curves),
    ("probes_linear", lambda records: comm_plots.probe_bars(records, "linear")),
    ("probes_mlp", lambda records: comm_plots.probe_bars(records, "mlp")),
    ("transfer", comm_plots.transfer_bars),
    ("symmetry", comm_plots.symmetry_bars),
    ("ablations", comm_plots.ablation_bars),
    ("cross_play", comm_plots.cross_play_matrix),
)
_TABLES: tuple[Callable[[Sequence[Record]], Table], ...] = (
    comm_tables.communication_table,
    comm_tables.ablation_table,
    comm_tables.cross_play_table,
    comm_tables.curve_table,
)


@dataclass(frozen=True)
class Communication:
    """What a folder holds; ``recordings`` by a name that is good for a file."""

    records: list[Record] = field(default_factory=list)
    recordings: dict[str, Recording] = field(default_factory=dict)


def communication_files(folder: Path) -> list[Path]:
    """The ``communication.json`` files of a folder and two levels below it, in order of name."""
    return sorted(path for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}{FILE}"))


def read_communication(folder: Path) -> Communication:
    """Records, recordings and learning curves of all runs in a folder. Raises BadData where it holds none."""
    files = communication_files(folder)
    if not files:
        raise BadData(f"{folder} has no {FILE}; record one with rllib_ext.contrastive_comm.examine")
    found = Communication()
    for path in files:
        records = read_records(path)
        found.records.extend([*records, *_training_curves(path.parent, records)])
        if (path.parent / RECORDING).is_file() and len(found.recordings) < MOST_STRIPS:
            recording = load_recording(path.parent / RECORDING)
            name = f"episode_{recording.about['method']}_{recording.about['seed']}"
            found.recordings[_file_name(name, found.recordings)] = recording
    return found


def plot_communication(source: Path | Iterable[Record], to: Path) -> list[Path]:
    """Draw a folder of results, or records, into ``to`` (made if missing); the paths of what was written.

    Tables hold all environments; each has figures of its own, with its name in theirs where there are several.
    """
    if isinstance(source, str | Path):
        found = read_communication(Path(source))
    else:
        found = Communication(list(source))
    figures.require_matplotlib()
    to.mkdir(parents=True, exist_ok=True)
    written = [write_csv(table, to) for make in _TABLES if (table := make(found.records)).rows]
    environments = sorted({record.env for record in found.records})
    for env in environments:
        of_env = [record for record in found.records if record.env == env]
        for name, draw in _FIGURES:
            figure = draw(of_env)
            if figure is not None:
                title = name if len(environments) == 1 else _file_name(f"{name}_{env}", ())
                written += figures.save_figure(figure, to, title)
    for name, recording in found.recordings.items():
        if len(recording.frames):
            written += [draw_strip(recording, to / f"{name}.png"), animate(recording, to / f"{name}.gif")]
    return written


def _training_curves(run: Path, records: Sequence[Record]) -> list[Record]:
    """Curves of the run's ``result.json``, named as its records are; none where those are of several runs."""
    if len({(r.run, r.env) for r in records}) != 1 or not (run / "result.json").is_file():
        return []
    data, about = load_run(run), replace(records[0], detail="")
    curves = []
    for key, name in CURVES.items():
        found = (data.series(f"env_runners/{key}", x) for x in STEPS)
        for at, value in next((series for series in found if series), []):
            curves.append(replace(about, measure=f"curve/{name}", value=value, step=at))
    return curves


def _file_name(text: str, taken: Iterable[str]) -> str:
    """Letters, digits and a few signs; a number at the end where the name is taken."""
    plain = "".join(c if c.isalnum() or c in "-_+" else "-" for c in one_line(text, 80))
    taken, name, number = set(taken), plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name
