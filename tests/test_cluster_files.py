"""The cluster files: closed by default, spot-friendly, read by Ray itself; and what `doctor --cluster` says of nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rllib_ext import doctor_cluster
from rllib_ext.doctor_cluster import facts_of_node, verdicts

FOLDER = Path(__file__).resolve().parent.parent / "tuned_configs" / "cluster"


def test_ray_accepts_the_cloud_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    config = yaml.safe_load((FOLDER / "aws.yaml").read_text())
    validate_config(fillout_defaults(config))
    head, worker = " ".join(config["head_start_ray_commands"]), " ".join(config["worker_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head and config["provider"]["use_internal_ips"]
    assert all("RAY_AUTH_MODE=token" in commands for commands in (head, worker))
    gpu = config["available_node_types"]["gpu"]
    assert gpu["min_workers"] == 0 and gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_the_kubernetes_file_scales_one_image_behind_a_token() -> None:
    spec = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"} and cluster["enableInTreeAutoscaling"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert len({group["template"]["spec"]["containers"][0]["image"] for group in groups}) == 1
    assert cluster["workerGroupSpecs"][0]["minReplicas"] == 0
    words = spec["entrypoint"].split()
    assert words[:2] == ["rllib-ext", "sweep"]
    from rllib_ext.cli.sweep import sweeps
    from tuned_configs import offpolicyness

    assert words[2] in sweeps()
    assert offpolicyness.arguments(words[3:]).address == "auto"


def test_nodes_that_differ_are_named() -> None:
    same = facts_of_node(None, "")
    assert same["import"] == ""
    answers = {
        "a": {**same, "storage": True},
        "b": {**same, "storage": False, "torch": "1.0"},
        "c": {**same, "storage": True, "import": "ModuleNotFoundError: envs"},
        "d": {"error": "GetTimeoutError: too late"},
    }
    said = [(finding.level, finding.what) for finding in verdicts(answers, storage=True)]
    errors = [what for level, what in said if level == "error"]
    assert len(errors) == 4 and not any("node a" in what for what in errors)
    assert any("node b has torch 1.0" in what for what in errors)
    assert any("node b does not see the storage" in what for what in errors)
    assert any("node c cannot import" in what for what in errors)
    assert any("node d did not answer" in what for what in errors)


@pytest.mark.parametrize(
    ("dashboard", "token", "level"),
    [
        ("127.0.0.1:8265", "", "ok"),
        ("10.0.0.7:8265", "", "ok"),
        ("0.0.0.0:8265", "", "error"),
        ("0.0.0.0:8265", "token", "ok"),
        ("8.8.8.8:8265", "", "error"),
    ],
)
def test_an_open_dashboard_needs_a_token(monkeypatch, dashboard: str, token: str, level: str) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", token)
    assert [finding.level for finding in doctor_cluster._exposure(dashboard)] == [level]


def test_a_running_cluster_is_examined_and_left_as_it_was(ray_session, tmp_path: Path) -> None:
    address = ray_session.get_runtime_context().gcs_address
    seen = list(doctor_cluster.check_cluster(address, str(tmp_path)))
    assert [finding.what for finding in seen if finding.level == "error"] == []
    assert any("1 node(s) joined" in finding.what for finding in seen)
    assert any("sees the storage" in finding.what for finding in seen)
    assert list(tmp_path.iterdir()) == []
