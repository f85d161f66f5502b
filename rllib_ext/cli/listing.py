"""``list``: the algorithms, stages, games and environments that the table of names holds, and the sweeps.

What an algorithm is comes from the first line of its package, read without importing it: that would bring
in torch and Ray, and a list should come at once.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from rllib_ext.cli.sweep import sweeps
from rllib_ext.registry import (
    ALGORITHMS,
    ATARI,
    ENVIRONMENTS,
    GAMES,
    GYMNASIUM,
    STAGES,
    TRAINABLES,
    gymnasium_environment,
    resolve,
)


def list_names(options: Namespace) -> int:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    tables = {
        "algorithms": _first_lines(ALGORITHMS),
        "supervised stages (--set data=...)": _first_lines(STAGES),
        "language games": _first_lines(TRAINABLES),
        "environments": _environments(ENVIRONMENTS),
        "environments (Gymnasium)": _environments(GYMNASIUM),
        "environments for several agents (PettingZoo)": _environments(GAMES),
        "Atari 100k": [_atari()],
        "sweeps": list(sweeps().items()),
    }
    for title, rows in ((title, rows) for title, rows in tables.items() if rows):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for heading in ("name", "what it is", "arguments (--env-set)")[: len(rows[0])]:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table, "")
    console.print("rllib-ext train ALGORITHM --help shows the knobs of an algorithm.", highlight=False)
    return 0


def _first_lines(table: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name and what it is; a stage's own name at the head of its line is not said twice."""
    rows = ((name, _first_line(target.partition(":")[0])) for name, target in table.items())
    return [
        (name, what.removeprefix(f"The stage ``{name}``: ").removeprefix(f"{name}: ")) for name, what in rows
    ]


def _environments(table: Mapping[str, str]) -> list[tuple[str, str, str]]:
    rows = []
    for name in table:
        cls = gymnasium_environment(name) if table is GYMNASIUM else resolve(name)
        what = (inspect.getdoc(inspect.getmodule(cls)) or "").partition("\n")[0].removeprefix(f"{name}: ")
        own = (
            ("reward", "render_mode") if table is ENVIRONMENTS else ("generator", "render_mode")
        )  # a text task's reward is an object
        keys = [key for key in inspect.signature(cls).parameters if key not in own]
        rows.append((name, what, ", ".join(keys)))
    return rows


def _atari() -> tuple[str, str, str]:
    """One row for the 26 games."""
    from envs.atari import AtariCopies
    from envs.atari_games import NAMES

    keys = [key for key in inspect.signature(AtariCopies).parameters if key not in ("game", "num_envs")]
    return f"{ATARI}<Game>", f"games on ALE's vector environment: {', '.join(NAMES)}", ", ".join(keys)


def _first_line(module: str) -> str:
    """The first line of a module's docstring, from its source."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
