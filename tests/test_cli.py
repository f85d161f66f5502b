"""The command line without a run: what it understands, what it answers to what it does not, what it refuses."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from rllib_ext import registry
from rllib_ext.cli import main
from rllib_ext.cli.assignments import refuse_secrets
from rllib_ext.cli.run_knobs import RUN_KNOBS
from rllib_ext.cli.run_paths import find_checkpoint, find_run, new_run
from rllib_ext.cli.settings import knobs_of, read_settings, resolve
from rllib_ext.errors import BadConfig, BadData, RllibExtError, Untrusted
from rllib_ext.llm.knobs import LLM_KNOBS
from rllib_ext.runtime.run_folder import RunFolder

CANARY = "canary-0d5c7f2e91"
TRAIN = ["train", "AsyncOnlineDPO", "--env", "ControlledTLDR", "--set", "model=some/model"]


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command is given in a folder of its own, with secrets in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    monkeypatch.setenv("HF_TOKEN", CANARY + "-2")


def dry_run(capsys: pytest.CaptureFixture, *words: str) -> dict:
    assert main([*TRAIN, *words, "--dry-run"]) == 0
    answer = capsys.readouterr()
    assert CANARY not in answer.out + answer.err
    return json.loads(answer.out)


def isolated(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


# ----- help and lists


def test_help_and_lists_come_without_torch_and_ray() -> None:
    done = isolated(
        "import sys\n"
        "from rllib_ext.cli import main\n"
        "codes = [main(words) for words in (['list'], ['--help'], [], ['train', '--help'], ['export', '--help'])]\n"
        "print(codes, {'torch', 'ray', 'vllm', 'transformers'} & set(sys.modules))\n",
        COLUMNS="300",
    )
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0] set()", done.stderr
    for name in (
        *registry.ALGORITHMS,
        *registry.STAGES,
        *registry.ENVIRONMENTS,
        *registry.TRAINABLES,
        *registry.GAMES,
        *LLM_KNOBS.keys() - {"run_folder"},
        *RUN_KNOBS,
    ):
        assert name in done.stdout
    assert "preference pairs made of" in done.stdout  # what an algorithm is, from its package's first line


def test_help_of_an_algorithm_has_its_own_knobs(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "AsyncRLOO", "--help"]) == 0
    text = capsys.readouterr().out
    assert "AsyncRLOO's own" in text and "kl_coefficient = 0.05" in text and "label_smoothing" not in text


# ----- what it does not understand


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["tarin"], "'train'"),
        (["sweep", "offpolicynes"], "'offpolicyness'"),
        (["sweep", "offpolicyness", "--updats", "3"], "'--updates'"),
        (["sweep", "offpolicyness", "--updates", "3"], "--model"),
        (["sweep", "offpolicyness", "--smoke", "--algorithm", "AsyncDPO"], "'AsyncPPO'"),
        (["train", "AsyncOnlineDPO", "--sed", "3"], "'--seed'"),
        (["train", "AsyncOnlinDPO", "--env", "TLDR"], "'AsyncOnlineDPO'"),
        (["train", "AsyncOnlineDPO", "--env", "TLRD", "--set", "model=m"], "'TLDR'"),
        ([*TRAIN, "--set", "warmup_update=1"], "'warmup_updates'"),
        ([*TRAIN, "--set", "max_stalenes=1"], "'max_staleness'"),
        ([*TRAIN, "--env-set", "siz=3"], "'size'"),
        ([*TRAIN, "--set", "mode=asink"], "'async'"),
        ([*TRAIN, "--set", "lr=fast"], "a number in [0, 1]"),
        ([*TRAIN, "--set", "num_env_runners=0"], "[1, 4096]"),
        ([*TRAIN, "--set", "samples_per_prompt=1"], "at least 2"),
        ([*TRAIN, "--set", "max_staleness=0", "--set", "minibatches_per_generation=4"], ">= 3"),
        ([*TRAIN, "--set", "lr"], "KEY=VALUE"),
        ([*TRAIN, "--set", "lr=1e-4", "--set", "lr=1e-5"], "twice"),
        ([*TRAIN, "--set", "seed=1", "--seed", "2"], "twice"),
        ([*TRAIN, "--evaluate-every", "-1"], "0 (never)"),
        ([*TRAIN, "--set", "run_folder=/tmp/x"], "unknown setting"),
        (["train", "AsyncOnlineDPO", "--set", "model=m"], "--env"),
        (["train", "AsyncOnlineDPO", "--env", "TLDR"], "--set model="),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(
    words: list[str], nearest: str, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert main([*words, "--dry-run"] if words[0] == "train" else words) == 2
    assert nearest in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_is_named(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "runs" / "AsyncRLOO-TLDR-one").mkdir(parents=True)
    assert main(["resume", "AsyncRLOO-TLDR-on"]) == 3
    assert "Did you mean runs/AsyncRLOO-TLDR-one?" in capsys.readouterr().err
    assert main(["plot", "runs/AsyncRLOO-TLDR-one"]) == 3
    assert "is not a run folder" in capsys.readouterr().err


# ----- what a command line means


def test_dry_run_resolves_every_setting_and_starts_nothing(
    capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    words = ["--set", "lr=1e-4", "--set", "max_grad_norm=none", "--set", "minibatches_per_generation=4"]
    config = dry_run(
        capsys, *words, "--env-set", "size=64", "--env-set", "drop=0.5", "--seed", "7", "--name", "x"
    )
    assert config.keys() == {"algorithm", "env", "env_config", "plan", *knobs_of("AsyncOnlineDPO")}
    assert config["env_config"] == {"size": 64, "drop": 0.5}
    assert (config["lr"], config["max_grad_norm"], config["seed"]) == (1e-4, None, 7)
    assert config["checkpoint_every"] == 25  # a tenth of 256 updates
    assert config["evaluation_interval"] == 6  # the same in rounds of four updates
    plan = config["plan"]
    assert (plan["rounds"], plan["prompts"], plan["staleness_bound"]) == (64, 64 * 4 * 32, 7)
    assert plan["folder"] == "runs/AsyncOnlineDPO-ControlledTLDR-x" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "rounds"),
    [
        (["--evaluate-every", "0"], None),
        (["--evaluate-every", "12"], 12),
        (["--set", "evaluation_interval=none"], None),
    ],
)
def test_evaluations_are_asked_for_in_updates(
    words: list[str], rounds: int | None, capsys: pytest.CaptureFixture
) -> None:
    assert dry_run(capsys, *words)["evaluation_interval"] == rounds


def test_smoke_gives_way_to_what_is_set(capsys: pytest.CaptureFixture) -> None:
    config = dry_run(capsys, "--smoke", "--set", "total_updates=9")
    assert (config["total_updates"], config["prompts_per_minibatch"], config["missing_eos"]) == (9, 8, "keep")


def test_environment_values_are_json_or_text(capsys: pytest.CaptureFixture) -> None:
    words = [
        "--env-set",
        "split=train",
        "--env-set",
        'data=["a.jsonl", "b.jsonl"]',
        "--env-set",
        "max_rows=null",
    ]
    config = dry_run(capsys, "--env", "TLDR", *words)
    assert config["env_config"] == {"split": "train", "data": ["a.jsonl", "b.jsonl"], "max_rows": None}


def test_a_sweep_gets_its_own_words(capsys: pytest.CaptureFixture) -> None:
    assert main(["sweep"]) == 0
    assert "offpolicyness  Off-policyness:" in capsys.readouterr().out
    assert main(["sweep", "offpolicyness", "--dry-run", "--model", "some/model", "--updates", "4"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["fixed"]["total_updates"] == 4
    assert [trial["minibatches_per_generation"] for trial in plan["trials"]] == [
        n for n in (1, 2, 4) for _ in range(5)
    ]
    assert plan["left_out"] == []


# ----- config.json


def test_settings_come_back_from_their_file() -> None:
    settings = resolve("AsyncRLOO", "ControlledTLDR", {"size": 3}, {"model": "m", "lr": 1e-4, "clip": 0.3})
    assert read_settings(Path("run"), json.loads(json.dumps(settings.as_json()))) == settings


@pytest.mark.fault("G4")
@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "os.system"},
        {"algorithm": ["AsyncRLOO"]},
        {"env": "builtins:exec"},
        {"env_config": "x"},
        {"env_config": {"__class__": "x"}},
        {"__class__": "os.system"},
        {"_target_": "os.system"},
        {"lr": "!!python/object/apply:os.system"},
        {"lr": True},
        {"model": ["m"]},
        {"engine": "custom"},
    ],
)
def test_a_hostile_config_sets_nothing(change: dict) -> None:
    settings = resolve("AsyncRLOO", "ControlledTLDR", {}, {"model": "m"})
    with pytest.raises(RllibExtError) as caught:
        read_settings(Path("run"), {**settings.as_json(), **change})
    assert caught.value.exit_code in (2, 3)


# ----- secrets


@pytest.mark.fault("G7")
@pytest.mark.parametrize(
    "word",
    [
        "token=abc",
        "hf_token=abc",
        "api_key=abc",
        "password=hunter2",
        f"data={CANARY}",
        "data=https://me:pw@host/x",
    ],
)
def test_secrets_are_no_flags(word: str, capsys: pytest.CaptureFixture) -> None:
    assert main([*TRAIN, "--env-set", word]) == 2
    error = capsys.readouterr().err
    assert "never given" in error and word.partition("=")[2] not in error


def test_ordinary_words_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "1")  # a switch, not a secret
    refuse_secrets(
        [*TRAIN, "--env-set", "key_words=1", "--set", "max_new_tokens=11", "--env-set", "data=https://host/x"]
    )


# ----- folders


@pytest.mark.fault("G5")
@pytest.mark.parametrize("name", ["../x", "/abs", "a/b", "~", "a\0b", ".hidden", "x" * 200])
def test_a_run_stays_inside_its_storage(name: str) -> None:
    with pytest.raises(Untrusted):
        new_run("runs", "AsyncRLOO", "TLDR", name)


def test_an_existing_run_is_not_written_over(tmp_path: Path) -> None:
    new_run(str(tmp_path), "AsyncRLOO", "TLDR", "one").mkdir()
    with pytest.raises(BadConfig, match="rllib-ext resume"):
        new_run(str(tmp_path), "AsyncRLOO", "TLDR", "one")


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


@pytest.mark.fault("G2")
@pytest.mark.parametrize("verb", [["resume"], ["evaluate"], ["export", "--to", "out"]])
def test_pickled_folders_are_refused_unread(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("algorithm_state.pkl", "class_and_ctor_args.pkl", "rllib_checkpoint.json"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    assert main([verb[0], str(folder), *verb[1:]]) == 3
    assert "unpickling" in capsys.readouterr().err
    assert not Path("exploded").exists()


def test_a_run_without_a_checkpoint_is_told_how_to_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    RunFolder(run).write_json("config.json", {})
    assert find_run("run") == Path("run")
    with pytest.raises(BadData, match="no checkpoint yet; go on with it"):
        find_checkpoint(str(run))


# ----- a foreign `envs`


def test_a_foreign_envs_stops_everything_but_the_doctor(tmp_path: Path) -> None:
    (tmp_path / "envs.py").write_text("")
    code = (
        "import sys; sys.path.insert(0, {folder!r})\n"
        "import rllib_ext.doctor as doctor; doctor.CHECKS = (doctor.check_envs_module,)\n"
        "from rllib_ext.cli import main; sys.exit(main([{verb!r}]))"
    )
    listed = isolated(code.format(folder=str(tmp_path), verb="list"))
    assert listed.returncode == 2 and "rllib-ext doctor" in listed.stderr and "Traceback" not in listed.stderr
    examined = isolated(code.format(folder=str(tmp_path), verb="doctor"), COLUMNS="200")
    assert examined.returncode == 2 and "a foreign `envs`" in examined.stdout, examined.stderr
