"""The rows of the fault battery: what is done to the package, what it must do, and what no test here shows of that.

The tests name a row by its id (``@pytest.mark.fault("B4", tries=1000)``); `battery.py` counts them. ``rest`` is part
of the table: what of a row's criterion is not shown, and why, or what happens instead.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """fault: what is done. expected: what has to come of it. rest: what of that the tests do not show."""

    fault: str
    expected: str
    rest: str = ""


ROWS: dict[str, Row] = {
    # ----- processes and nodes
    "A1": Row(
        "kill -9 of one rollout worker in the midst of a round",
        "every prompt is learnt from once, the weights are those of a calm run",
        "RLlib's own env runners (ElasticResetPPO on CartPole) are restarted by RLlib, which counts iterations "
        "without data; sweeps therefore stop on updates or steps only",
    ),
    "A2": Row("kill -9 of all rollout workers at once", "the run recovers, or Stalled names the actors"),
    "A3": Row(
        "the engine dies, its actor lives",
        "the worker is replaced, its prompts are asked again once",
        "vLLM runs inside the worker's process here (VLLM_ENABLE_V1_MULTIPROCESSING=0), so there is no child to kill",
    ),
    "A4": Row("a worker dies again and again", "given up after its hourly budget, Stalled with nobody left"),
    "A5": Row(
        "a worker is frozen (SIGSTOP)",
        "found by the deadline of real work, ended and replaced, its prompts are asked again, nothing lost",
        "one that froze before its first answer ever: its process is not known and ray.kill alone does not end it",
    ),
    "A6": Row(
        "kill -9 at each phase of a weight publication",
        "no completion of other weights than announced; the run goes on",
    ),
    "A7": Row(
        "kill -9 of the learner",
        "the run ends as Stalled; from its checkpoint it goes on to the same weights",
        "a learner that hangs in RLlib's update, instead of dying, has no deadline",
    ),
    "A8": Row(
        "kill -9 of a sweep's driver at a random moment", "no reported step is lost, the same final table"
    ),
    "A10": Row(
        "nodes come and go under a sweep and under one run",
        "trials pause and resume, pre-emptions are no failures",
        "a drain with a period of grace, and a sweep's node that is killed",
    ),
    "A11": Row(
        "Ctrl-C or SIGTERM, once and twice", "once: checkpoint and exit 5; twice: left at once, storage whole"
    ),
    # ----- storage
    "B1": Row("kill -9 in the midst of a save", "the newest checkpoint verifies, leftovers are removed"),
    "B2": Row(
        "the disk is full", "the save is translated, training goes on, the third failure in a row exits 4"
    ),
    "B3": Row(
        "a file truncated, zeroed, deleted, extended, swapped",
        "CheckpointCorrupt names it; the one before is used",
    ),
    "B4": Row("one bit flipped", "found, and the file named"),
    "B5": Row(
        "another format version, architecture or number of tensors",
        "refused with both named; never loaded in part",
        "there is one format version so far, hence nothing to migrate from",
    ),
    "B7": Row("two drivers on one run folder", "the second is refused; a dead owner's lock is taken over"),
    "B8": Row("save, load, go on", "bit for bit what never stopping gives"),
    # ----- data
    "C1": Row(
        "rows of every wrong kind", "accepted, repaired or quarantined with index and reason; counts add up"
    ),
    "C2": Row("hostile strings and bytes", "no crash; the names of control tokens are text"),
    "C3": Row("more bad rows than tolerated", "stopped before training, with the five commonest reasons"),
    "C4": Row(
        "equal sides, duplicates, empty completions", "no pair, counted; the loss of the rest unchanged"
    ),
    "C5": Row(
        "torn parquet, wrong schema, no rows",
        "an error that names the file",
        "no file of 10^7 rows is read here; reading stops at max_rows without reading on",
    ),
    "C6": Row("the cursor of the data across a stop", "every row once an epoch"),
    # ----- numerics
    "D1": Row(
        "NaN, infinite and enormous rewards",
        "unscored and counted, never trained on as 0; too many end the run",
    ),
    "D2": Row(
        "a loss or gradient that is no number", "the update is skipped to the bit; five in a row end the run"
    ),
    "D3": Row(
        "zero weights, equal scores, empty masks, groups of one",
        "finite loss and gradient, documented values",
    ),
    "D4": Row("samples older than the bound", "dropped before the loss and counted; ratios stay bounded"),
    # ----- rewards and environments of users
    "E1": Row("a reward raises", "that completion is unscored, one traceback an error; too many end the run"),
    "E2": Row(
        "a reward hangs", "killed within a second of its deadline, the next call succeeds, no zombie is left"
    ),
    "E3": Row("a reward takes memory, processes, disk, network", "a limit is hit; only that call fails"),
    "E4": Row("a reward returns anything", "a score exactly where it is a finite real number, else a reason"),
    "E5": Row(
        "an environment breaks its contract",
        "BadEnv names it",
    ),
    "E6": Row(
        "an environment raises now and then, stalls, leaks",
        "restarted within its budget",
        "environments that hang or leak: they share a process and a thread with their rollout worker, which cannot end "
        "them; after three times sample_timeout_s without an answer the run ends as Stalled",
    ),
    "E7": Row("messages of the wrong width, NaN, after death", "BadEnv"),
    # ----- tokens and generation
    "F1": Row(
        "prompts around and beyond the context", "dropped and counted, or cut at a message; never sent on"
    ),
    "F2": Row("completions without an end", "marked unfinished and scored by the policy that was asked for"),
    "F3": Row("log-probabilities of engine and learner", "equal on the same ids within rounding"),
    "F4": Row("ids from the engine to the learner", "the same bits; nothing is decoded on the way"),
    "F5": Row("another tokenizer or vocabulary", "refused at the start"),
    # ----- security
    "G1": Row("pickles in every file of a checkpoint", "never run; refused"),
    "G2": Row(
        "RLlib's pickled folders",
        "refused unread",
        "there is no --trust-pickle: RLlib's own from_checkpoint reads its folders, this package never does",
    ),
    "G3": Row("hostile safetensors headers", "a clean error within 200 MB"),
    "G4": Row("hostile configs", "BadConfig; nothing is imported"),
    "G5": Row("names that lead out of their folder", "the path is inside, or refused"),
    "G6": Row("model folders with code or pickles", "refused before anything is opened"),
    "G7": Row("secrets in the environment", "in no file, no output and no argument list"),
    "G8": Row(
        "sockets while a run is up",
        "nothing of this package listens; nobody joins Ray without the run's token",
        "Ray's own processes listen on every interface, which no setting of a local session changes; what closes "
        "their ports is the token that ray.init() makes for a new cluster",
    ),
}

# Rows that no test shows at all -> why.
NOT_COVERED: dict[str, str] = {}
