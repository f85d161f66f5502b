"""Our engine against other trainers on the same words: what a round is, our sides, fair threads, turns and headline.

A round is ``Work``: so many prompts of so many tokens, ``SAMPLES`` completions each of ``NEW_TOKENS``, from one Llama
of five million parameters, scored by the same trivial function. ``vs_trl`` and ``ppo_speed`` say who the peers are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._meter import metered_config
from benchmarks._pictures import rate_figure
from benchmarks._results import Results, note
from benchmarks._segments import Side
from benchmarks._session import ray_session
from benchmarks._tasks import WORDS, register_words, word_prompts, words_model
from benchmarks._throughput import OursSide, PeerSide, compare, summary, take_turns
from rllib_ext.runtime.ray_session import available_cores

PROMPTS, QUICK_PROMPTS = 64, 8  # a round
NEW_TOKENS, SAMPLES = 48, 2
VOCABULARY, COUNT = 4096, 4096
SHAPE = {"hidden": 256, "layers": 4, "heads": 4}  # 5.3 million parameters
LR, TEMPERATURE = 1e-5, 1.0
LEAST_VALID = 3


@dataclass(frozen=True)
class Work:
    """What every side does in a round: so many prompts of so many tokens, from these weights, so many updates."""

    model: str
    prompts: int
    prompt_tokens: int
    passes: int = 1

    @property
    def completions(self) -> int:
        return self.prompts * SAMPLES

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts that the peers read; ours reads the same ones from its environment."""
        return tuple(word_prompts(COUNT, tokens=self.prompt_tokens, vocabulary=VOCABULARY))


@dataclass(frozen=True)
class Contest:
    """config_class, settings: of our sides. peers: made for the work; "TRL" is one, as it comes, and not tuned."""

    config_class: Any
    settings: dict[str, Any]
    peers: Callable[[Work], list[PeerSide]]
    profile_of: Callable[[list[PeerSide]], dict[str, str]] = lambda peers: {}


def our_side(contest: Contest, mode: str, work: Work, threads: int) -> OursSide:
    """Ours in ``mode``; "ours" is the asynchronous one."""
    env_config = {"prompt_tokens": work.prompt_tokens, "vocabulary": VOCABULARY, "count": COUNT}
    config = (
        metered_config(contest.config_class)
        .environment(WORDS, env_config=env_config)
        .debugging(seed=0)
        .training(
            model=work.model, mode=mode, engine="vllm", max_prompt_tokens=work.prompt_tokens, max_new_tokens=NEW_TOKENS,
            samples_per_prompt=SAMPLES, prompts_per_minibatch=work.prompts, updates_per_minibatch=work.passes,
            temperature=TEMPERATURE, lr=LR, total_updates=100_000, missing_eos="keep", engine_threads=threads,
            learner_threads=threads, **contest.settings,
        )
        .evaluation(evaluation_interval=None)
    )  # fmt: skip
    name = "ours" if mode == "async" else "ours sync"
    return OursSide(Side(name, config.build_algo(), threads), work.completions)


def tune(overlapped: OursSide, peers: Sequence[PeerSide]) -> None:
    """Give each side the faster of one thread and all cores (ours: in the learner; the engine keeps its one)."""
    seconds: dict[str, dict[int, float]] = {side.name: {} for side in (overlapped, *peers)}
    for count in sorted({1, available_cores()}):
        overlapped.side.learner_threads = count
        seconds[overlapped.name][count] = overlapped.turn(-1, 1).round_s
        for peer in peers:
            peer.threads = count
            seconds[peer.name][count] = peer.turn(-1, 1).round_s
    fastest = {name: min(times, key=times.__getitem__) for name, times in seconds.items()}
    overlapped.side.learner_threads = fastest[overlapped.name]
    for peer in peers:
        peer.threads = fastest[peer.name]
    note(f"seconds a round by threads: {seconds}")


def measure(contest: Contest, options: Any, passes: int) -> tuple[list[Any], dict[str, Any], str]:
    """(turns, configuration, profiles)."""
    register_words()
    quick, cores = options.quick, available_cores()
    model = words_model(vocabulary=VOCABULARY, max_length=options.prompt_tokens + NEW_TOKENS + 8, **SHAPE)
    work = Work(model, QUICK_PROMPTS if quick else PROMPTS, options.prompt_tokens, passes)
    note("starting two engines and the peers")
    overlapped, in_turn = our_side(contest, "async", work, 1), our_side(contest, "sync", work, cores)
    try:
        peers = contest.peers(work)
        for side in (overlapped, in_turn):
            side.side.algorithm.iterate()
        tune(overlapped, [peer for peer in peers if not peer.slow])
        pairs, rounds = (1, 1) if quick else (options.pairs, options.rounds)
        names = ", ".join(peer.name for peer in peers)
        note(f"{pairs} times {rounds} rounds of ours, ours sync, {names}; one at a time of what is slow")
        turns = take_turns([overlapped, in_turn, *peers], pairs, rounds)
        profiles = {
            "ours, driver": overlapped.profile(),
            "ours, engine's thread": in_turn.worker_profile(),
            **contest.profile_of(peers),
        }
    finally:
        for side in (overlapped, in_turn):
            side.side.algorithm.stop()
    threads = {"ours": [1, overlapped.side.learner_threads], "ours sync": [cores] * 2}
    threads |= {peer.name: [peer.threads] * 2 for peer in peers}
    text = "\n".join(f"===== {name}\n{profile}" for name, profile in profiles.items())
    return turns, {"threads_generate_learn": threads, **vars(work), "shape": SHAPE}, text


def headline_of(turns: list[Any], target: float) -> dict[str, Any]:
    """The faster of ours over TRL as it comes and over TRL tuned, and whether the first reaches ``target``."""
    sides = summary(turns)
    rate = {name: side["completions_per_s"] for name, side in sides.items()}
    best = max(("ours", "ours sync"), key=rate.__getitem__)
    ratio, interval, valid = compare(turns, best, "TRL")
    tuned, tuned_interval, _ = compare(turns, best, "TRL tuned")
    return {
        "ratio": ratio, "ratio_interval": interval, "ratio_of": best,
        "ratio_trl_tuned": tuned, "ratio_trl_tuned_interval": tuned_interval,
        "ratio_async_trl_tuned": compare(turns, "ours", "TRL tuned")[0],
        "ratio_sync_trl_tuned": compare(turns, "ours sync", "TRL tuned")[0],
        "completions_per_s": rate[best], "trl_completions_per_s": rate["TRL"],
        "trl_tuned_completions_per_s": rate["TRL tuned"],
        "generate_s": sides["ours"]["generate_s"], "learn_s": sides["ours"]["learn_s"],
        "valid_samples": sum(not turn.invalid for turn in turns),
        "invalid_samples": sum(bool(turn.invalid) for turn in turns),
        "target": target, "reached": None if valid < LEAST_VALID else ratio >= target,
    }  # fmt: skip


def run(
    name: str,
    title: str,
    contest: Contest,
    options: Any,
    headline: Callable[[list[Any]], dict[str, Any]],
    *,
    passes: int = 1,
) -> None:
    """The whole benchmark; ends the process with its status."""
    results = Results(name, options)
    with ray_session():
        turns, configuration, profiles = measure(contest, options, passes)
    found, sides = headline(turns), summary(turns)
    results.table([turn.row() for turn in turns])
    results.text(profiles)
    rates = {name: (side["completions_per_s"], side["interval"]) for name, side in sides.items()}
    results.figure(rate_figure(title, f"{PROMPTS} prompts x {SAMPLES} x {NEW_TOKENS} tokens, float32", rates))
    results.close(found, sides=sides, configuration=configuration)
    sys.exit(int(found["reached"] is False and not options.quick))
