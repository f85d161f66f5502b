"""B10: a run whose driver is killed with SIGKILL again and again ends as one that never was.

Whole runs by the command line (``rllib-ext train``, after a kill ``rllib-ext resume``), Hugging Face engine, small model,
a checkpoint every third update. The moments are random: a quarter within the start of a session, the others at once or
up to half a second after a random update, hence also in the midst of a checkpoint, of an update, of a rollout. The run is
compared with one in the same mode that nothing happened to:

* the prompts that it learnt from, with how often (of rounds that were done twice, the later counts: the weights of the
  earlier died with their driver)
* the update counter never skips, and every recorded update, of whatever session, had the learning rate of the calm run
* sync mode: weights and optimizer moments of the last checkpoint are equal bit for bit. In async mode what was being
  generated at a kill is generated again with newer weights, so that the weights differ by right; that is reported.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks._gate_runs import Gate, distance
from benchmarks._killed_runs import ENVIRONMENT, Killed, Moment, moments, run_killed, train_words
from benchmarks._results import note
from benchmarks._session import scratch

UPDATES, KILLS_A_RUN = 40, 5
LR = "learners/default_policy/lr"
MODES = ("sync", "async")
Played = tuple[str, Killed, "Record | None"]  # mode, what happened to the run, what it says of itself


@dataclass
class Record:
    """What a finished run says of itself. written: (update, learning rate) of every result, in order of writing;
    a round whose pairs all tie has no update, hence no learning rate.
    """

    trained: Counter
    written: list[tuple[int, float]]
    kept: list[int]
    tensors: dict[str, dict[str, torch.Tensor]]

    @staticmethod
    def read(folder: Path) -> Record:
        from rllib_ext.analysis.rows import flatten, read_lines
        from rllib_ext.analysis.run_data import load_run
        from rllib_ext.runtime import checkpoint

        data = load_run(folder)
        newest = checkpoint.latest(folder / "checkpoints")
        rows = [flatten(row) for row in read_lines(folder / "result.json", [])]
        return Record(
            Counter(tuple(prompt) for row in data.rounds for prompt in row["trained"]),
            [(int(row["num_updates_lifetime"]), float(row[LR])) for row in rows if row.get(LR) is not None],
            [int(row["num_updates_lifetime"]) for row in data.results],
            checkpoint.load(newest).tensors if newest is not None else {},
        )


def resume_gates(kills: int, seed: int) -> list[Gate]:
    """``kills`` in all, over runs of both modes in turn, two at a time."""
    draw = random.Random(seed)
    note(f"B10: seed {seed}")
    each, runs = (KILLS_A_RUN, kills // KILLS_A_RUN) if kills > KILLS_A_RUN else (1, kills)
    plans = [moments(draw, each, UPDATES) for _ in range(runs)]
    with tempfile.TemporaryDirectory(prefix="rllib-ext-resume-") as home:
        calm = _carry_out([[] for _ in MODES], Path(home) / "calm", 0.0)
        start_s = max(run.start_s for _, run, _ in calm)
        note(f"B10: {start_s:.0f} s from the start of a session to its first round")
        return [_verdict(calm, _carry_out(plans, Path(home) / "killed", start_s), kills, seed)]


def _carry_out(plans: list[list[Moment]], home: Path, start_s: float) -> list[Played]:
    """A run for every plan, in both modes by turns."""
    model = _model()

    def one(number: int) -> Played:
        mode, storage = MODES[number % len(MODES)], home / str(number)
        storage.mkdir(parents=True)
        folder = storage / f"AsyncOnlineDPO-{ENVIRONMENT}-{mode}"
        run = run_killed(train_words(model, storage, mode, UPDATES), folder, plans[number], start_s)
        return mode, run, None if run.failed else Record.read(folder)

    with ThreadPoolExecutor(max_workers=len(MODES)) as threads:
        return list(threads.map(one, range(len(plans))))


def _model() -> str:
    """A random model of the environment's words: what B10 is about does not depend on how good it is."""
    from envs.text import ControlledTLDR
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer

    tokenizer = word_tokenizer(ControlledTLDR.vocabulary())
    config = causal_lm_config(tokenizer, hidden=64, layers=2, heads=2, max_length=64)
    return str(save_model(build_causal_lm(config, 0), tokenizer, scratch("controlled-random-2x64")))


def _faults(calm: Record, mode: str, record: Record) -> list[str]:
    """What a resumed run has that it should not have."""
    rates = dict(calm.written)
    found = []
    if record.trained != calm.trained:
        lost, more = calm.trained - record.trained, record.trained - calm.trained
        found.append(f"{lost.total()} prompts not trained, {more.total()} too often")
    ups = [update for update, _ in record.written]
    if record.kept != calm.kept or any(now > before + 1 for before, now in zip([0, *ups], ups, strict=False)):
        found.append("the update counter skips")
    if wrong := [update for update, rate in record.written if rate != rates.get(update)]:
        found.append(f"another learning rate at updates {wrong}")
    if mode == "sync" and not all(_equal(calm.tensors[g], record.tensors[g]) for g in ("model", "optimizer")):
        found.append("other weights or moments at the end")
    return found


def _equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _verdict(calm: list[Played], killed: list[Played], kills: int, seed: int) -> Gate:
    bases = {mode: record for mode, _, record in calm}
    faults = [f"{mode}, calm: {run.failed}" for mode, run, _ in calm if run.failed]
    drift, again = [], 0
    for mode, run, record in killed:
        base = bases[mode]
        if record is None or base is None:
            faults.append(f"{mode}: {run.failed or 'nothing to compare with'}")
            continue
        faults += [f"{mode}: {fault}" for fault in _faults(base, mode, record)]
        again += len(record.written) - len(record.kept)
        if mode == "async":
            drift.append(distance(base.tensors["model"], record.tensors["model"]))
    done = sum(run.kills for _, run, _ in killed)
    left = Counter(name for _, run, _ in killed for name in run.left)
    details = {
        "kills": done, "seed": seed, "runs": len(killed), "updates_a_run": UPDATES,
        "updates_done_twice": again, "hangs": sum(run.hangs for _, run, _ in killed), "processes_left": left,
        "faults": faults, "async_weight_difference": max(drift, default=None),
    }  # fmt: skip
    claim = f"runs killed {done} times have the prompts, updates and learning rates of calm ones; sync: the weights too"
    return Gate(
        "B10", claim, float(len(faults)), 0.0, "things that differ", not faults and done >= kills, details
    )
