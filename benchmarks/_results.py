"""What a benchmark leaves behind: <name>.json, <name>.csv, <name>.png, and one JSON object as its last line.

A full run writes into benchmarks/results, a ``--quick`` one into the system's temporary folder: its figures only show
that the script works.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks._session import machine


def arguments(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The options that every benchmark has, with the first lines of its docstring as help."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a short run that shows that the script works")
    parser.add_argument("--output", type=Path, default=None, help="folder for the results")
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser


class Results:
    """Writer for one benchmark's files. part: what a run measured that is not the whole; its files
    stand beside the whole's.
    """

    def __init__(self, name: str, options: argparse.Namespace, part: str = "") -> None:
        self.name = f"{name}-{part}" if part else name
        here = Path(__file__).parent / "results"
        quick = Path(tempfile.gettempdir()) / "rllib-ext-benchmarks" / "quick"
        self.folder = options.output or (quick if options.quick else here)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.command = shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.machine = machine()

    def table(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of any keys; the columns are their union, in order of appearance."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (self.folder / f"{self.name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)

    def text(self, content: str, suffix: str = "txt") -> None:
        (self.folder / f"{self.name}.{suffix}").write_text(content, encoding="utf-8")

    def figure(self, figure: Any) -> None:
        figure.savefig(self.folder / f"{self.name}.png", format="png")

    def close(self, headline: Mapping[str, Any], **details: Any) -> None:
        """Write the JSON file and print ``headline`` as the last line."""
        document = {
            "command": self.command,
            "started": self.started,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": self.machine,
            "result": headline,
            **details,
        }
        self.text(json.dumps(plain(document), indent=1) + "\n", "json")
        print(json.dumps(plain(headline)), flush=True)


def plain(value: Any) -> Any:
    """Numbers rounded to what is worth reading; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | str | None):
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def note(text: str) -> None:
    """Progress, on stderr: stdout ends with the result."""
    print(f"  {text}", file=sys.stderr, flush=True)
