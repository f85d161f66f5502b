"""``list``: the algorithms and environments that the table of names holds, and the sweeps.

What an algorithm is comes from the first line of its package, read without importing it: that would bring
in torch and Ray, and a list should come at once.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from argparse import Namespace
from pathlib import Path

from rllib_ext.cli.sweep import sweeps
from rllib_ext.registry import ALGORITHMS, ENVIRONMENTS, environment


def list_names(options: Namespace) -> int:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    tables = {"algorithms": _algorithms(), "environments": _environments(), "sweeps": list(sweeps().items())}
    for title, rows in ((title, rows) for title, rows in tables.items() if rows):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for heading in ("name", "what it is", "arguments (--env-set)")[: len(rows[0])]:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table, "")
    console.print("rllib-ext train ALGORITHM --help shows the knobs of an algorithm.", highlight=False)
    return 0


def _algorithms() -> list[tuple[str, str]]:
    return [(name, _first_line(target.partition(":")[0])) for name, target in ALGORITHMS.items()]


def _environments() -> list[tuple[str, str, str]]:
    rows = []
    for name in ENVIRONMENTS:
        cls = environment(name)
        what = (inspect.getdoc(inspect.getmodule(cls)) or "").partition("\n")[0].removeprefix(f"{name}: ")
        keys = [key for key in inspect.signature(cls).parameters if key not in ("reward", "render_mode")]
        rows.append((name, what, ", ".join(keys)))
    return rows


def _first_line(module: str) -> str:
    """The first line of a module's docstring, from its source."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
