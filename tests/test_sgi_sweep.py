"""The sweep over SGI pretraining: its trials, their length, what it refuses, one run through Tune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sgi_pretraining_fixture import data

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.sgi.pretrained import load_pretrained
from tuned_configs import sgi_pretrain as sweep


def test_every_combination_is_a_trial_with_every_seed(tmp_path: Path) -> None:
    folder = str(data(tmp_path / "d"))
    args = sweep.arguments(["--data", folder, "--encoder", "S", "M", "--losses", "SGI", "SI", "--seeds", "3"])
    points = sweep.trials(args)
    assert len(points) == 12 and len({json.dumps(point) for point in points}) == 12
    assert sweep.fixed(args)["data"] == folder


@pytest.mark.parametrize(
    ("kind", "encoder", "epochs"),
    [("R", "M", 20), ("W", "M", 20), ("E", "M", 10), ("M", "M", 20), ("ML", "L", 10)],
)
def test_kinds_of_data_have_the_lengths_of_the_paper(
    tmp_path: Path, kind: str, encoder: str, epochs: int
) -> None:
    small = ["--set", '{"train_batch_size_per_learner": 5, "updates_per_iteration": 2}']
    args = sweep.arguments(["--data", str(data(tmp_path / "d")), "--kind", kind, "--seeds", "1", *small])
    assert sweep.trials(args)[0] == {"encoder": encoder, "losses": "SGI", "seed": 1}
    assert sweep.updates(args) == epochs * 65 // 5


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="--data is not given"):
        sweep.arguments([])
    with pytest.raises(BadConfig, match="--epochs is 0"):
        sweep.arguments(["--data", "x", "--epochs", "0"])
    with pytest.raises(BadConfig, match="Did you mean 'tau'"):
        sweep.trials(sweep.arguments(["--data", str(tmp_path), "--set", '{"tua": 1}']))
    with pytest.raises(BadData, match="is no folder of frames"):
        sweep.updates(sweep.arguments(["--data", str(tmp_path)]))


def test_a_trial_goes_through_tune_and_leaves_a_pretrained_folder(ray_session: Any, tmp_path: Path) -> None:
    small = json.dumps(
        {"train_batch_size_per_learner": 4, "updates_per_iteration": 1, "hidden": 8, "probe_every": None}
    )
    args = sweep.arguments(["--smoke", "--losses", "SGI", "--data", str(data(tmp_path / "d")), "--set", small,
                            "--storage-path", str(tmp_path)])  # fmt: skip
    results = sweep.build(args).fit()
    assert not results.errors and len(results) == 1
    with results[0].checkpoint.as_directory() as folder:
        assert load_pretrained(Path(folder) / "pretrained").card.updates == sweep.SMOKE_UPDATES
