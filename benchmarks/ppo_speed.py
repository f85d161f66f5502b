"""Claim: PPO's completions and updates per second against TRL's RLOOTrainer and against a plain loop.

All sides start from the same weights (a Llama of five million parameters, float32), read the same prompts (64 a round),
sample 2 x 48 new tokens a prompt, score them with the same trivial function and make ``passes`` optimizer steps a round,
on all completions. They take turns in one process tree; each gets both cores, in its best configuration as found
beforehand:

    ours       mode="async": the engine has a thread of its own; the learner has one or two (the faster)
    ours sync  mode="sync": both phases one after the other with both cores, so that overlap has no part in it
    TRL        RLOOTrainer with the settings that the comparison fixes and otherwise its own defaults; both cores. Its
               default gradient_checkpointing=True also switches the key-value cache of generation off
    TRL tuned  the same with gradient_checkpointing=False, which gives it the cache back; one or two threads (the faster).
               RLOO has no critic: it trains half of the parameters that the other sides train
    plain      the straightforward PPO loop of ``_plain_ppo.py``; one or two threads (the faster)

    ratio                completions per second, the faster of ours over TRL: the median over pairs, with a bootstrap 95 %
                         interval; ratio_of says which
    ratio_trl_tuned      the same over TRL tuned; ratio_async_trl_tuned, ratio_sync_trl_tuned: each of ours over it
    ratio_plain          the faster of ours over the plain loop, with its interval
    updates_per_s        of the faster of ours; plain_updates_per_s, trl_updates_per_s, trl_tuned_updates_per_s

Validity. As in vs_trl: a sample is one turn, invalid ones are counted and left out unless fewer than 3 pairs are valid.
Profiles of the driver and of the engine's thread (cProfile) go into the .txt file.

    python -m benchmarks.ppo_speed [--quick] [--pairs 4] [--rounds 2] [--prompt-tokens 64] [--passes 1]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._meter import metered_config  # noqa: E402
from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._plain_ppo import PlainSettings, start_plain  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._segments import Side  # noqa: E402
from benchmarks._session import ray_session  # noqa: E402
from benchmarks._tasks import WORDS, register_words, word_prompts, words_model, worth  # noqa: E402
from benchmarks._throughput import OursSide, PeerSide, compare, summary, take_turns  # noqa: E402
from benchmarks._trl_rloo import RLOOSettings, start_rloo  # noqa: E402
from rllib_ext import AsyncPPOConfig  # noqa: E402
from rllib_ext.runtime.ray_session import available_cores  # noqa: E402

TARGET = 3.0
PROMPTS, QUICK_PROMPTS = 64, 8  # a round
NEW_TOKENS, SAMPLES = 48, 2
VOCABULARY, COUNT = 4096, 4096
SHAPE = {"hidden": 256, "layers": 4, "heads": 4}  # 5.3 million parameters
LR, KL, TEMPERATURE = 1e-5, 0.05, 1.0
LEAST_VALID = 3


@dataclass(frozen=True)
class Work:
    """What every side does in a round: so many prompts of so many tokens, from these weights, so many updates."""

    model: str
    prompts: int
    prompt_tokens: int
    passes: int

    @property
    def completions(self) -> int:
        return self.prompts * SAMPLES


def ours(name: str, mode: str, work: Work, threads: int) -> OursSide:
    env_config = {"prompt_tokens": work.prompt_tokens, "vocabulary": VOCABULARY, "count": COUNT}
    config = (
        metered_config(AsyncPPOConfig)
        .environment(WORDS, env_config=env_config)
        .debugging(seed=0)
        .training(
            model=work.model, mode=mode, engine="vllm", max_prompt_tokens=work.prompt_tokens, max_new_tokens=NEW_TOKENS,
            samples_per_prompt=SAMPLES, prompts_per_minibatch=work.prompts, updates_per_minibatch=work.passes,
            temperature=TEMPERATURE, kl_coef=KL, lr=LR, total_updates=100_000, missing_eos="keep",
            engine_threads=threads, learner_threads=threads,
        )
        .evaluation(evaluation_interval=None)
    )  # fmt: skip
    return OursSide(Side(name, config.build_algo(), threads), work.completions)


def peers(work: Work) -> tuple[PeerSide, PeerSide, PeerSide]:
    """TRL as it comes, TRL tuned and the plain loop."""
    prompts = tuple(word_prompts(COUNT, tokens=work.prompt_tokens, vocabulary=VOCABULARY))
    cores = available_cores()
    tuned = RLOOSettings(
        model=work.model, prompts=prompts, batch=work.completions, max_new_tokens=NEW_TOKENS,
        max_length=work.prompt_tokens + NEW_TOKENS, lr=LR, beta=KL, temperature=TEMPERATURE,
        gradient_checkpointing=False, samples=SAMPLES, passes=work.passes,
    )  # fmt: skip
    plain = PlainSettings(
        model=work.model, prompts=prompts, batch=work.completions, samples=SAMPLES,
        max_prompt_tokens=work.prompt_tokens, max_new_tokens=NEW_TOKENS, passes=work.passes, lr=LR,
        temperature=TEMPERATURE,
    )  # fmt: skip
    default = replace(tuned, gradient_checkpointing=True)
    return (
        PeerSide("TRL", start_rloo(default, worth, cores), work.completions, cores, slow=True),
        PeerSide("TRL tuned", start_rloo(tuned, worth, cores), work.completions, cores),
        PeerSide("plain", start_plain(plain, worth, cores), work.completions, cores),
    )


def tune(overlapped: OursSide, others: list[PeerSide]) -> None:
    """Give each side the faster of one thread and all cores (ours: in the learner; the engine keeps its one)."""
    seconds: dict[str, dict[int, float]] = {side.name: {} for side in (overlapped, *others)}
    for count in sorted({1, available_cores()}):
        overlapped.side.learner_threads = count
        seconds[overlapped.name][count] = overlapped.turn(-1, 1).round_s
        for peer in others:
            peer.threads = count
            seconds[peer.name][count] = peer.turn(-1, 1).round_s
    fastest = {name: min(times, key=times.__getitem__) for name, times in seconds.items()}
    overlapped.side.learner_threads = fastest[overlapped.name]
    for peer in others:
        peer.threads = fastest[peer.name]
    note(f"seconds a round by threads: {seconds}")


def measure(options: Any) -> tuple[list[Any], dict[str, Any], str]:
    """(turns, configuration, profiles)."""
    register_words()
    quick, cores = options.quick, available_cores()
    model = words_model(vocabulary=VOCABULARY, max_length=options.prompt_tokens + NEW_TOKENS + 8, **SHAPE)
    work = Work(model, QUICK_PROMPTS if quick else PROMPTS, options.prompt_tokens, options.passes)
    note("starting two engines and three peers")
    overlapped, plain_sync = ours("ours", "async", work, 1), ours("ours sync", "sync", work, cores)
    try:
        default, *others = peers(work)
        for side in (overlapped, plain_sync):
            side.side.algorithm.iterate()
        tune(overlapped, others)
        pairs, rounds = (1, 1) if quick else (options.pairs, options.rounds)
        note(
            f"{pairs} times {rounds} rounds of ours, ours sync, TRL tuned and the plain loop, and one of TRL as it comes"
        )
        turns = take_turns([overlapped, plain_sync, default, *others], pairs, rounds)
        profiles = {
            "ours, driver": overlapped.profile(),
            "ours, engine's thread": plain_sync.worker_profile(),
        }
    finally:
        for side in (overlapped, plain_sync):
            side.side.algorithm.stop()
    threads = {"ours": [1, overlapped.side.learner_threads], "ours sync": [cores] * 2}
    threads |= {peer.name: [peer.threads] * 2 for peer in (default, *others)}
    text = "\n".join(f"===== {name}\n{profile}" for name, profile in profiles.items())
    return turns, {"threads_generate_learn": threads, **vars(work), "shape": SHAPE}, text


def headline_of(turns: list[Any], passes: int) -> dict[str, Any]:
    sides = summary(turns)
    rate = {name: side["completions_per_s"] for name, side in sides.items()}
    best = max(("ours", "ours sync"), key=rate.__getitem__)
    ratio, interval, valid = compare(turns, best, "TRL")
    tuned, tuned_interval, _ = compare(turns, best, "TRL tuned")
    plain_ratio, plain_interval, _ = compare(turns, best, "plain")
    named = {"": best, "trl_": "TRL", "trl_tuned_": "TRL tuned", "plain_": "plain"}
    updates = {name: passes / side["round_s"] for name, side in sides.items()}
    return {
        "ratio": ratio, "ratio_interval": interval, "ratio_of": best,
        "ratio_trl_tuned": tuned, "ratio_trl_tuned_interval": tuned_interval,
        "ratio_async_trl_tuned": compare(turns, "ours", "TRL tuned")[0],
        "ratio_sync_trl_tuned": compare(turns, "ours sync", "TRL tuned")[0],
        "ratio_plain": plain_ratio, "ratio_plain_interval": plain_interval,
        **{f"{name}updates_per_s": updates[side] for name, side in named.items()},
        **{f"{name}completions_per_s": rate[side] for name, side in named.items()},
        "generate_s": sides["ours"]["generate_s"], "learn_s": sides["ours"]["learn_s"], "passes": passes,
        "valid_samples": sum(not turn.invalid for turn in turns),
        "invalid_samples": sum(bool(turn.invalid) for turn in turns),
        "target": TARGET, "reached": None if valid < LEAST_VALID else ratio >= TARGET,
    }  # fmt: skip


def main() -> int:
    options = arguments(__doc__, pairs=4, rounds=2, prompt_tokens=64, passes=1).parse_args()
    results = Results("ppo_speed", options)
    with ray_session():
        turns, configuration, profiles = measure(options)
    headline, sides = headline_of(turns, options.passes), summary(turns)
    results.table([turn.row() for turn in turns])
    results.text(profiles)
    rates = {name: (side["completions_per_s"], side["interval"]) for name, side in sides.items()}
    results.figure(rate_figure("PPO, completions per second", "64 prompts x 2 x 48 tokens, float32", rates))
    results.close(headline, sides=sides, configuration=configuration)
    return int(headline["reached"] is False and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
