"""``rllib-ext train SGIRainbow`` from a pretrained folder, stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sgi_fixture import pretrained_folder

from rllib_ext.cli import main
from rllib_ext.runtime import checkpoint
from rllib_ext.sgi.pretrained import load_pretrained


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]


def test_a_run_begins_with_a_folder_and_goes_on_where_it_was(
    ray_session: Any, tmp_path: Path, capsys: Any
) -> None:
    words = [
        "train", "SGIRainbow", "--smoke", "--env", "Atari100k/Boxing", "--json", "--storage-path", str(tmp_path),
        "--name", "run", "--env-set", "max_frames=240",
    ]  # fmt: skip
    folder, _ = pretrained_folder(tmp_path / "p", actions=18)
    chosen = {"pretrained": folder, "total_iterations": 1, "steps_per_iteration": 40, "learning_starts": 20,
              "evaluation_interval": 2, "n_step": 3, "spr_steps": 2}  # fmt: skip
    for name, value in chosen.items():
        words += ["--set", f"{name}={value}"]
    assert main(words) == 0
    run = tmp_path / "SGIRainbow-Atari100k-Boxing-run"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["updates"] == 20
    first = checkpoint.load(checkpoint.latest(run / "checkpoints"))
    assert first.tensors["replay"]["0.frames"].shape == (40, 1, 84, 84)

    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "total_iterations": 2}))
    assert main(["resume", str(run), "--json"]) == 0
    last = rows(run)[-1]
    assert (last["training_iteration"], last["num_updates_lifetime"]) == (2, 60)
    assert last["evaluation"]["env_runners"]["num_episodes"] == 2
    assert last["env_runners"]["num_env_steps_sampled_lifetime"] == 80
    second = checkpoint.load(checkpoint.latest(run / "checkpoints"))
    frames = second.tensors["replay"]["0.frames"]
    assert len(frames) == 80 and bool((frames[:40] == first.tensors["replay"]["0.frames"]).all())

    encoder = load_pretrained(folder).group("encoder")["layers.0.weight"]
    moved = (second.tensors["module.default_policy"]["encoder.layers.0.weight"] - encoder).abs().max()
    assert 0 < float(moved) < 60 * 1.1e-6  # its own low rate, from the folder's weights
