"""``rllib-ext frames``: record, check, import, and what goes wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_dqn_replay import save, shard

from rllib_ext.cli import main
from rllib_ext.frames import collect as collect_module


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_record_and_check(tmp_path: Path, capsys) -> None:
    folder = str(tmp_path / "pong")
    words = ["frames", "collect", "--game", "Pong", "--to", folder, "--num-envs", "2", "--quiet"]
    assert main([*words, "--steps", "64"]) == 0
    assert told(capsys)["rows"] == 64
    assert main([*words, "--steps", "100", "--resume"]) == 0
    assert told(capsys)["rows"] == 36
    assert main(["frames", "check", folder]) == 0
    found = told(capsys)
    assert (found["rows"], found["game"], found["complete"], found["ram"]) == (100, "Pong", True, False)
    assert found["behaviour"] == {"kind": "random", "repeat": pytest.approx(2 / 3)}
    file = tmp_path / "pong" / "frames-00000.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    assert main(["frames", "check", folder]) == 3
    assert "frames-00000.parquet" in capsys.readouterr().err


def test_import(tmp_path: Path, capsys) -> None:
    source, folder = str(save(tmp_path / "logs", 25, shard([9, 5]))), str(tmp_path / "data")
    words = ["frames", "import", "--game", "Pong", "--from", source, "--to", folder, "--quiet"]
    assert main([*words, "--checkpoints", "25", "--run", "1"]) == 0
    assert told(capsys) == {"rows": 14, "games": 2, "padding": 6, "nan_rewards": 0, "folder": folder}
    assert main(["frames", "check", folder]) == 0
    assert told(capsys)["games_ended"] == 1
    assert main([*words, "--checkpoints", "one"]) == 2
    assert main(words) == 2  # the folder is there already


def test_wrong_words_are_answered(tmp_path: Path, capsys) -> None:
    assert main(["frames", "check", str(tmp_path)]) == 3
    assert "frames collect" in capsys.readouterr().err
    assert main(["frames", "collect", "--game", "Pung", "--to", str(tmp_path / "x"), "--steps", "5"]) == 3
    assert "Pong" in capsys.readouterr().err
    assert main(["frames", "colect"]) == 2
    assert main(["frames"]) == 2


def test_an_interrupted_recording_says_how_to_go_on(tmp_path: Path, capsys, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(collect_module, "collect", interrupted)
    words = ["frames", "collect", "--game", "Pong", "--to", str(tmp_path / "x"), "--steps", "5"]
    assert main(words) == 5
    assert f"rllib-ext {' '.join(words)} --resume" in capsys.readouterr().err


def test_help_needs_neither_torch_nor_ray(capsys) -> None:
    before = {"torch", "ray"} & set(sys.modules)
    assert main(["frames", "collect", "--help"]) == 0
    assert "--steps" in capsys.readouterr().out and {"torch", "ray"} & set(sys.modules) == before
