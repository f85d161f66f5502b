"""A config.json from elsewhere sets values within their ranges, and imports, opens and runs nothing (G4)."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rllib_ext.cli import main
from rllib_ext.cli.settings import resolve

CANARY = "canary_module_of_the_battery"
GOOD: dict[str, Any] = resolve("AsyncRLOO", "ControlledTLDR", {}, {"model": "m"}).as_json()


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that can be imported, leaves a file, and must never be; an import hook that hears of any attempt."""
    ran = tmp_path / "ran"
    (tmp_path / f"{CANARY}.py").write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    wanted: list[str] = []

    class Hook:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if CANARY in name or name in ("antigravity", "this"):
                wanted.append(name)

    monkeypatch.setattr(sys, "meta_path", [Hook, *sys.meta_path])
    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, _never(name, getattr(builtins, name), wanted))
    yield
    assert wanted == [] and not ran.exists() and CANARY not in sys.modules


def _never(name: str, real: Callable[..., Any], wanted: list[str]) -> Callable[..., Any]:
    """The standard library itself calls eval and exec (dataclasses, namedtuple); with the canary nobody may."""

    def call(source: Any, *scope: Any, **named: Any) -> Any:
        if CANARY in str(source):
            wanted.append(name)
        return real(source, *scope, **named)

    return call


CALL = f"{CANARY}.run"
TAGS = [
    f"!!python/object/apply:{CALL}", f"!!python/name:{CALL}", f"!!python/module:{CANARY}", f"{CANARY}:run",
    f"__import__('{CANARY}')", f"${{{CALL}}}", f"{{{{ {CALL}() }}}}", f"ray.{CALL}", f"\u0000{CALL}",
]  # fmt: skip
FIELDS = ["algorithm", "env", "lr", "engine", "mode", "seed"]
INSIDE: dict[str, dict[str, Any]] = {
    **{f"{field} is {tag!r}": {field: tag} for field in FIELDS for tag in TAGS[:5]},
    **{f"model is {tag!r}": {"model": tag} for tag in TAGS},
    "_target_": {"_target_": CALL},
    "_target_ in env_config": {"env_config": {"_target_": CALL}},
    "__class__": {"__class__": CALL},
    "__class__ in env_config": {"env_config": {"__class__": {"__init__": {"__globals__": CALL}}}},
    "__reduce__": {"__reduce__": [CALL, []]},
    "callbacks_class": {"callbacks_class": CALL},
    "env_runner_cls": {"env_runner_cls": CALL},
    "learner_class": {"learner_class": CALL},
    "algo_class": {"algo_class": CALL},
    "an object for a number": {"lr": {"_target_": CALL}},
    "a list for a number": {"lr": [1e-4]},
    "a number that is none": {"lr": float("nan")},
    "a number without end": {"lr": float("inf")},
    "a key in other letters (Cyrillic е)": {"sееd": 1},
    "a key with a mark that is not seen": {"lr\u200b": 1e-4},
    "a key from right to left": {"\u202elr": 1e-4},
    "a full-width key": {"\uff4c\uff52": 1e-4},
    "run_folder": {"run_folder": "/tmp/elsewhere"},
    "ten thousand keys": {f"k{number}": number for number in range(10_000)},
}
WHOLE: dict[str, bytes] = {
    "YAML with a constructor": f"algorithm: !!python/object/apply:{CALL} []\n".encode(),
    "YAML that grows": b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n",
    "a pickle": b"\x80\x04c" + CANARY.encode() + b"\nrun\n)R.",
    "nesting without end": b"[" * 10**6,
    "objects without end": b'{"a":' * 10**5,
    "digits without end": b'{"lr": ' + b"9" * 10**6 + b"}",
    "a key twice": json.dumps(GOOD).encode()[:-1] + b', "lr": 1e-4, "lr": 1e-5}',
    "not UTF-8": b'{"algorithm": "\xff\xfe"}',
    "empty": b"",
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
}


def refused(folder: Path, config: bytes, capsys: pytest.CaptureFixture) -> str:
    """What ``resume`` says to a run folder with these bytes for its config.json."""
    folder.mkdir()
    (folder / "config.json").write_bytes(config)
    code = main(["resume", str(folder), "--json"])
    said = capsys.readouterr().err
    assert code in (2, 3), (code, said[-2000:])
    assert "Traceback" not in said and 0 < len(said) < 20_000
    assert [path.name for path in folder.iterdir()] == ["config.json"], "a refused run is not begun"
    return said


@pytest.mark.fault("G4", tries=len(INSIDE))
def test_values_and_keys_that_name_code_are_refused(
    canary: None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for number, (what, change) in enumerate(INSIDE.items()):
        try:
            refused(tmp_path / f"run{number}", json.dumps({**GOOD, **change}).encode(), capsys)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error


@pytest.mark.fault("G4", tries=len(WHOLE))
def test_files_that_are_no_configs_are_refused(
    canary: None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for number, (what, data) in enumerate(WHOLE.items()):
        try:
            refused(tmp_path / f"run{number}", data, capsys)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error
