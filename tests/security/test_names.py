"""Whatever a name says: the folder of a run, its files and its checkpoints stay inside (G5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos.inject import tries
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rllib_ext.cli.run_paths import new_run
from rllib_ext.errors import BadConfig, RllibExtError
from rllib_ext.llm.safety import check_model_folder
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.sweep import Sweep

parts = st.one_of(
    st.sampled_from(
        ["..", ".", "~", "~root", "", "C:", "c:\\x", "NUL", "a", "out", "x" * 300, "\0", "\ud800", "-rf"]
    ),
    st.text(max_size=6),
)
names = st.one_of(
    st.lists(parts, max_size=4).map("/".join),
    st.lists(parts, max_size=3).map("\\".join),
    st.lists(parts, max_size=3).map(lambda found: "/" + "/".join(found)),
)
hostile = settings(
    max_examples=tries(400, 4000),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("names")
    (base / "runs" / "run").mkdir(parents=True)
    (base / "runs" / "run" / "out").symlink_to(base)
    return base / "runs"


@pytest.mark.fault("G5")
@hostile
@given(name=names)
@example("../../etc")
@example("a/../../b")
def test_a_new_run_lies_directly_in_its_storage(storage: Path, name: str) -> None:
    try:
        folder = new_run(str(storage), "AsyncRLOO", "TLDR", name)
    except RllibExtError as error:
        assert error.exit_code in (2, 3)
    else:
        assert folder.resolve().parent == storage.resolve() and folder.name.startswith("AsyncRLOO-TLDR-")


@pytest.mark.fault("G5")
@hostile
@given(name=names)
@example("out/x.json")
def test_files_of_a_run_lie_in_its_folder(storage: Path, name: str) -> None:
    run = RunFolder(storage / "run")
    try:
        file = run.file(name)
    except RllibExtError as error:
        assert error.exit_code in (2, 3)
    else:
        assert file.resolve().is_relative_to((storage / "run").resolve())


@pytest.mark.fault("G5")
@hostile
@given(name=names)
def test_a_sweep_lies_directly_in_its_storage(storage: Path, name: str) -> None:
    try:
        sweep = Sweep(name, "PPO", {}, storage=str(storage))
    except BadConfig:
        return
    assert Path(sweep.path).parent == storage and "\0" not in sweep.path


@pytest.mark.fault("G5")
@hostile
@given(name=names)
def test_a_shard_named_by_an_index_lies_in_the_models_folder(storage: Path, name: str) -> None:
    import json

    folder = storage / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    index = {"weight_map": {"w": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(RllibExtError):
        check_model_folder(str(folder), None)
