"""What a plot of a report is: its recipe (how to draw it from a run), and the files that came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.analysis.figures import save_figure
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """One plot of a report. ``png`` and ``svg`` are None where it could not be drawn, and ``missing`` says
    why.
    """

    name: str
    title: str
    reading: str
    csv: Path
    png: Path | None = None
    svg: Path | None = None
    missing: str = ""


@dataclass(frozen=True)
class Recipe:
    """``draw`` gives None where the run never wrote what it needs; ``needs`` says that in words."""

    name: str
    title: str
    reading: str
    draw: Callable[[RunData], Figure | None]
    table: Callable[[RunData], Table]
    needs: str

    def make(self, run: RunData, folder: Path) -> Plot:
        """Draw it into ``folder``, its CSV beside it; what an earlier drawing left goes where it cannot be drawn now."""
        table = replace(self.table(run), name=self.name)
        plot = Plot(self.name, self.title, self.reading, write_csv(table, folder))
        figure = self.draw(run)
        if figure is None:
            for stale in (folder / f"{self.name}.png", folder / f"{self.name}.svg"):
                stale.unlink(missing_ok=True)
            return replace(plot, missing=self.needs)
        png, svg = save_figure(figure, folder, self.name)
        return replace(plot, png=png, svg=svg)
