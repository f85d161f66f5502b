"""Runs through the command line: one that is interrupted, resumed, evaluated, exported, and the loop's faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rllib_ext.analysis.run_data import load_run
from rllib_ext.cli import main
from rllib_ext.cli.interrupts import Interrupts, RoundAbandoned
from rllib_ext.cli.result_log import ResultLog
from rllib_ext.cli.saving import Saver
from rllib_ext.cli.settings import RunSettings
from rllib_ext.cli.training import MAX_EMPTY_ROUNDS, Training
from rllib_ext.errors import Stalled
from rllib_ext.llm import persistence
from rllib_ext.runtime import checkpoint as checkpoints
from rllib_ext.runtime.run_folder import RunFolder

CANARY = "canary-7be1c04d55"
UPDATES, PROMPTS, STOP_AT = 8, 8, 3
SETTINGS = {
    "engine": "hf",
    "total_updates": UPDATES,
    "prompts_per_minibatch": PROMPTS,
    "max_prompt_tokens": 16,
    "prompt_overflow": "truncate",
    "max_new_tokens": 12,
    "temperature": 1.0,
    "missing_eos": "keep",
    "lr": 1e-3,
    "evaluation_prompts": 6,
    "engine_threads": 1,
    "learner_threads": 1,
}


def train_words(model: str, *more: str, total: int = UPDATES) -> list[str]:
    sets = [
        word
        for name, value in {**SETTINGS, "model": model, "total_updates": total}.items()
        for word in ("--set", f"{name}={value}")
    ]
    return ["train", "AsyncOnlineDPO", "--env", "ControlledTLDR", "--env-set", "size=256", *sets, *more]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small random model with a tokenizer of the environment's words."""
    from envs.text import ControlledTLDR
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer

    env = ControlledTLDR(size=64)
    tokenizer = train_tokenizer([str(env.task(index).prompt) for index in range(64)], 400)
    config = causal_lm_config(tokenizer, hidden=64, layers=2, heads=2, max_length=64)
    return str(save_model(build_causal_lm(config, 0), tokenizer, tmp_path_factory.mktemp("model") / "start"))


@pytest.fixture(scope="module")
def story(ray_session: Any, model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One run, interrupted after three rounds, resumed to its end, evaluated and exported; what was said on the way."""
    folder = tmp_path_factory.mktemp("runs")
    run = folder / "AsyncOnlineDPO-ControlledTLDR-story"
    patch = pytest.MonkeyPatch()
    patch.setenv("WANDB_API_KEY", CANARY)
    patch.setenv("HF_TOKEN", CANARY + "-2")
    write = ResultLog.write

    def write_and_interrupt(log: ResultLog, result: Any) -> None:
        write(log, result)
        if result["training_iteration"] == STOP_AT - 1:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    words = train_words(
        model, "--storage-path", str(folder), "--name", "story", "--checkpoint-every", "2", "--json"
    )
    with patch.context() as interrupted:
        interrupted.setattr(ResultLog, "write", write_and_interrupt)
        codes = {"train": main(words)}
    stopped_at = checkpoints.latest(run / "checkpoints")
    codes["resume"] = main(["resume", str(run), "--json"])
    yield {
        "run": run,
        "codes": codes,
        "stopped_at": stopped_at.name if stopped_at else None,
        "handler_is_back": signal.getsignal(signal.SIGINT) is handler,
    }
    patch.undo()


@pytest.mark.fault("A11")
@pytest.mark.fault("C6")
def test_an_interrupt_is_resumable_and_the_totals_are_whole(story: dict[str, Any]) -> None:
    assert story["codes"] == {"train": 5, "resume": 0}
    assert story["stopped_at"] == f"step_{STOP_AT - 1:06d}" and story["handler_is_back"]
    data = load_run(story["run"])
    assert [row["training_iteration"] for row in data.results] == list(range(1, len(data.results) + 1))
    assert data.last("num_updates_lifetime") == UPDATES
    assert data.last("num_prompts_trained_lifetime") == len(data.results) * PROMPTS
    trained = [tuple(prompt) for row in data.rounds for prompt in row["trained"]]
    assert len(trained) == len(set(trained)) == len(data.results) * PROMPTS
    assert [row["event"] for row in data.events].count("run_resumed") == 1
    assert (data.evaluations[0]["updates"], data.evaluations[-1]["updates"]) == (0, UPDATES)


def test_a_run_folder_is_complete(story: dict[str, Any]) -> None:
    run = story["run"]
    assert {"run.json", "config.json", "result.json", "progress.csv"} <= {path.name for path in run.iterdir()}
    assert len(list(run.glob("events.out.tfevents.*"))) >= 2  # one a session, in the run's own folder
    assert (run / "report" / "report.html").is_file()
    assert [path.name for path in sorted((run / "checkpoints").glob("step_*"))][-1] == f"step_{UPDATES:06d}"
    facts = json.loads((run / "run.json").read_text())
    assert facts["command"].startswith("rllib-ext train AsyncOnlineDPO") and "ray" in facts["versions"]


def test_resuming_a_finished_run_changes_nothing(
    story: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    before = (story["run"] / "result.json").read_bytes()
    assert main(["resume", str(story["run"]), "--json"]) == 0
    answer = capsys.readouterr()
    assert "finished: 8 of 8 updates" in answer.err
    assert json.loads(answer.out)["updates"] == UPDATES
    assert (story["run"] / "result.json").read_bytes() == before


def test_evaluate_scores_the_checkpoint(story: dict[str, Any], capsys: pytest.CaptureFixture) -> None:
    words = ["evaluate", str(story["run"]), "--split", "validation", "--json"]
    assert main(words) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    last = load_run(story["run"]).evaluations[-1]
    assert record["updates"] == UPDATES and record["n"] == SETTINGS["evaluation_prompts"]
    for name in ("reward_mean", "kl_ref", "win_rate"):  # the same weights on the same prompts, near greedy
        assert record[name] == pytest.approx(last[name], abs=1e-4)


def test_export_is_the_learners_policy(
    story: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rllib_ext.llm.rl_module import CausalLMModule

    run, to = story["run"], tmp_path / "exported"
    assert main(["export", str(run), "--to", str(to)]) == 0
    assert capsys.readouterr().out.strip() == str(to)
    assert (
        main(["export", str(run / "checkpoints" / f"step_{UPDATES:06d}"), "--to", str(to)]) == 0
    )  # again, over it
    names = {path.name for path in to.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "generation_config.json",
        "README.md",
    } <= names
    config = json.loads((run / "config.json").read_text())
    learner = CausalLMModule(
        model_config={
            n: config[n]
            for n in ("model", "revision", "dtype", "lora_rank", "temperature", "seed", "share_prompts")
        }
    )
    learner.set_state(checkpoints.load(run / "checkpoints" / f"step_{UPDATES:06d}").tensors["model"])
    exported, tokenizer = AutoModelForCausalLM.from_pretrained(to), AutoTokenizer.from_pretrained(to)
    start = AutoModelForCausalLM.from_pretrained(config["model"])
    prompt = tokenizer("mark anchor with main mark copper TL;DR:", return_tensors="pt")
    greedy = [
        tokenizer.decode(each.generate(**prompt, do_sample=False, max_new_tokens=24)[0])
        for each in (exported, learner.model)
    ]
    assert greedy[0] == greedy[1]
    assert not torch.equal(exported.get_output_embeddings().weight, start.get_output_embeddings().weight)
    card = (to / "README.md").read_text()
    assert "asynchronous online DPO" in card and "update 8" in card and "## Licence" in card


@pytest.mark.fault("G7")
def test_secrets_are_in_no_file_and_no_output(
    story: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["plot", str(story["run"])]) == 0
    assert main(["export", str(story["run"]), "--to", str(tmp_path / "exported")]) == 0
    answer = capsys.readouterr()
    assert CANARY not in answer.out + answer.err
    files = [path for root in (story["run"], tmp_path) for path in root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [str(path) for path in files if CANARY.encode() in path.read_bytes()] == []


@pytest.mark.fault("B7")
def test_two_drivers_do_not_share_a_run(story: dict[str, Any], capsys: pytest.CaptureFixture) -> None:
    config = story["run"] / "config.json"
    text = config.read_text()
    config.write_text(text.replace(f'"total_updates": {UPDATES}', '"total_updates": 99'))
    try:
        with RunFolder(story["run"]):
            assert main(["resume", str(story["run"])]) == 2
    finally:
        config.write_text(text)
    assert "is in use by process" in capsys.readouterr().err


# ----- the loop by itself


class Journal:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def event(self, kind: str, detail: str) -> None:
        self.events.append((kind, detail))


class Algorithm:
    """One update a round, as far as the loop can tell; ``on_round`` happens in the midst of each."""

    def __init__(self, total: int, on_round: Any = lambda algorithm: None, updates_a_round: int = 1) -> None:
        self.counters, self.journal = {"updates": 0}, Journal()
        self.evaluated: list[int] = []
        self.rounds = 0
        self._total, self._on_round, self._step = total, on_round, updates_a_round

    def train(self) -> dict[str, Any]:
        self._on_round(self)
        self.rounds += 1
        self.counters["updates"] += self._step
        return {"training_iteration": self.rounds, "done": self.counters["updates"] >= self._total}

    def evaluate(self) -> None:
        self.evaluated.append(self.counters["updates"])


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The updates at which a checkpoint was written."""
    steps: list[int] = []
    monkeypatch.setattr(
        persistence, "save", lambda algorithm, folder: steps.append(algorithm.counters["updates"])
    )
    return steps


def loop(algorithm: Algorithm, tmp_path: Path, interrupts: Interrupts, total: int, every: int) -> Training:
    values = {"total_updates": total, "checkpoint_every": every, "evaluation_interval": 4}
    interrupts.started()
    return Training(
        algorithm, RunFolder(tmp_path / "run"), RunSettings("A", "E", {}, values), interrupts, view=None
    )


def test_a_run_saves_and_evaluates_when_it_should(saved: list[int], tmp_path: Path) -> None:
    algorithm = Algorithm(8)
    with Interrupts() as interrupts:
        assert loop(algorithm, tmp_path, interrupts, 8, 3).run()
    assert saved == [3, 6, 8] and algorithm.evaluated == [0, 8]


@pytest.mark.fault("A11")
def test_a_signal_lets_the_round_end_and_saves(saved: list[int], tmp_path: Path) -> None:
    algorithm = Algorithm(8, lambda a: os.kill(os.getpid(), signal.SIGTERM) if a.rounds == 2 else None)
    with Interrupts() as interrupts:
        assert not loop(algorithm, tmp_path, interrupts, 8, 100).run()
    assert algorithm.counters["updates"] == 3 and saved == [3]


@pytest.mark.fault("A11")
def test_a_round_that_does_not_end_is_abandoned(saved: list[int], tmp_path: Path) -> None:
    def hang(algorithm: Algorithm) -> None:
        if algorithm.rounds == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)

    algorithm, began = Algorithm(8, hang), time.monotonic()
    with Interrupts(grace_s=0.2) as interrupts:
        assert not loop(algorithm, tmp_path, interrupts, 8, 2).run()
    assert time.monotonic() - began < 10
    assert saved == [2]  # the half-done round is in no checkpoint


@pytest.mark.fault("A11")
def test_a_signal_before_the_first_round_ends_the_start() -> None:
    with Interrupts() as interrupts:
        with pytest.raises(RoundAbandoned):
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.requested


def test_rounds_that_teach_nothing_end_the_run(saved: list[int], tmp_path: Path) -> None:
    algorithm = Algorithm(8, updates_a_round=0)
    with Interrupts() as interrupts, pytest.raises(Stalled, match="no update"):
        loop(algorithm, tmp_path, interrupts, 8, 2).run()
    assert algorithm.rounds == MAX_EMPTY_ROUNDS


def test_a_checkpoint_is_not_written_twice(saved: list[int], tmp_path: Path) -> None:
    saver = Saver(Algorithm(8), RunFolder(tmp_path / "run"), 4)
    assert saver.save() and saver.save()
    assert saved == [0]


# ----- whole processes


@pytest.mark.fault("A11")
@pytest.mark.slow
def test_a_second_signal_leaves_at_once_and_the_run_goes_on(model: str, tmp_path: Path) -> None:
    words = train_words(model, "--checkpoint-every", "2", "--name", "x", total=20)
    program = [sys.executable, "-m", "rllib_ext.cli"]
    run = tmp_path / "runs" / "AsyncOnlineDPO-ControlledTLDR-x"
    with subprocess.Popen([*program, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not any((run / "checkpoints").glob("step_*")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.wait(60) == 5 and time.monotonic() - began < 5
    again = subprocess.run(
        [*program, "resume", str(run), "--json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["updates"] == 20


@pytest.mark.slow
def test_smoke_is_the_whole_path(ray_session: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = [
        "train",
        "AsyncOnlineDPO",
        "--smoke",
        "--set",
        "engine=hf",
        "--storage-path",
        str(tmp_path),
        "--json",
    ]
    assert main(words) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["updates"] == 6 and Path(summary["report"]).is_file() and summary["env"] == "Docstrings"


@pytest.mark.slow
def test_vllm_opens_an_export_and_writes_the_same(story: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    to = tmp_path / "exported"
    assert main(["export", str(story["run"]), "--to", str(to)]) == 0
    prompt = "mark anchor with main mark copper TL;DR:"
    code = (
        "import vllm\n"
        f"llm = vllm.LLM({str(to)!r}, dtype='float32', enforce_eager=True, max_model_len=64)\n"
        "greedy = vllm.SamplingParams(temperature=0, max_tokens=24, skip_special_tokens=False)\n"
        f"print('ids', list(llm.generate([{prompt!r}], greedy)[0].outputs[0].token_ids))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    tokenizer = AutoTokenizer.from_pretrained(to)
    inputs = tokenizer(prompt, return_tensors="pt")
    ids = AutoModelForCausalLM.from_pretrained(to).generate(**inputs, do_sample=False, max_new_tokens=24)[0]
    assert f"ids {ids[inputs['input_ids'].shape[1] :].tolist()}" in done.stdout
