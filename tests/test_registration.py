"""Public names: found without heavy imports, registered without side effects, corrected where misspelt."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import rllib_ext
from rllib_ext import registry
from rllib_ext.errors import BadConfig

ROOT = Path(__file__).resolve().parent.parent


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=True)


def test_import_is_quick_and_light() -> None:
    heavy = ("torch", "ray", "vllm", "transformers", "numpy")
    code = f"import sys, rllib_ext; print([name for name in {heavy} if name in sys.modules])"
    seconds = []
    for _ in range(3):
        done = run_python("-X", "importtime", "-c", code)
        assert done.stdout.strip() == "[]"
        microseconds = re.search(r"\|\s*(\d+) \|\s*rllib_ext$", done.stderr, re.MULTILINE)
        assert microseconds is not None
        seconds.append(int(microseconds[1]) / 1e6)
    assert min(seconds) < 0.3


def test_listing_the_names_imports_none_of_them() -> None:
    code = "import sys, rllib_ext; print(*dir(rllib_ext)); print('ray' in sys.modules, 'envs' in sys.modules)"
    names, loaded = run_python("-c", code).stdout.splitlines()
    assert {"register", *registry.ALGORITHMS, *registry.STAGES, *registry.TRAINABLES} <= set(names.split())
    assert loaded == "False False"


def test_every_name_leads_to_its_class() -> None:
    for name in registry.ALGORITHMS:
        assert registry.algorithm(name).__name__ == name
        config = registry.config_class(name)()
        assert config.algo_class is getattr(rllib_ext, name)
        assert type(config) is getattr(rllib_ext, f"{name}Config")
    for name in registry.STAGES:
        assert registry.stage(name).__name__ == name and getattr(rllib_ext, name) is registry.stage(name)
    for name in registry.TRAINABLES:
        assert registry.trainable(name).__name__ == name and getattr(rllib_ext, name) is registry.trainable(
            name
        )
    for name in registry.ENVIRONMENTS:
        assert registry.environment(name).__name__ == name
    for name in registry.GAMES:
        assert registry.game(name).__name__ == name and registry.game(name).metadata["name"]


@pytest.mark.slow
def test_registering_twice_without_ray_and_then_reading_it_on_the_cluster() -> None:
    """What is registered before ``ray.init()`` reaches a worker process of the session that starts later."""
    code = """
import warnings
import gymnasium, ray, rllib_ext
rllib_ext.register()
first = set(gymnasium.registry)
with warnings.catch_warnings():
    warnings.simplefilter("error", UserWarning)  # gymnasium warns where an id is taken
    rllib_ext.register()
assert set(gymnasium.registry) == first
assert not ray.is_initialized()

@ray.remote
def seen():
    from ray.tune.registry import ENV_CREATOR, _global_registry, get_trainable_cls
    return get_trainable_cls("AsyncOnlineDPO").__name__, _global_registry.contains(ENV_CREATOR, "Docstrings")

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
print(ray.get(seen.remote(), timeout=120))
"""
    assert run_python("-c", code).stdout.strip() == "('AsyncOnlineDPO', True)"


@pytest.mark.parametrize(
    ("lookup", "wrong", "right"),
    [
        (registry.algorithm, "AsyncOnlineDPOO", "AsyncOnlineDPO"),
        (registry.config_class, "asyncrloo", "AsyncRLOO"),
        (registry.environment, "tldr", "TLDR"),
        (registry.stage, "RewardModl", "RewardModel"),
        (registry.trainable, "PivotGam", "PivotGame"),
        (registry.game, "lewisdrift", "LewisDrift"),
        (registry.resolve, "GSM8", "GSM8K"),
    ],
)
def test_an_unknown_name_answers_with_the_nearest(lookup, wrong: str, right: str) -> None:
    with pytest.raises(BadConfig, match=f"{wrong!r}. Did you mean '{right}'"):
        lookup(wrong)


def test_an_unknown_attribute_answers_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'AsyncOnlineDPOConfig'"):
        _ = rllib_ext.AsyncOnlinDPOConfig


class Countdown:
    """Stands in for an environment: takes exactly these arguments."""

    def __init__(self, *, start: int = 3, split: str = "train") -> None:
        self.start, self.split = start, split


def test_env_config_reaches_the_environment_and_unknown_keys_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(registry.ENVIRONMENTS, "Countdown", f"{__name__}:Countdown")
    made = registry.create_environment("Countdown", {"start": 5})
    assert (made.start, made.split) == (5, "train")
    with pytest.raises(BadConfig, match=r"env_config of Countdown 'strat'\. Did you mean 'start'"):
        registry.create_environment("Countdown", {"strat": 5})


def test_a_missing_optional_package_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "needs_more.py").write_text("import a_package_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.ALGORITHMS, "NeedsMore", "needs_more:NeedsMore")
    with pytest.raises(BadConfig, match=r"'a_package_nobody_has'.*rllib-ext\[llm\]"):
        registry.algorithm("NeedsMore")


def test_a_mistake_inside_the_package_is_not_taken_for_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ALGORITHMS, "Nowhere", "rllib_ext.nowhere:Nowhere")
    with pytest.raises(ModuleNotFoundError, match=r"rllib_ext\.nowhere"):
        registry.algorithm("Nowhere")
