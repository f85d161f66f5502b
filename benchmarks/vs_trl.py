"""Claim: completions per second against TRL's synchronous OnlineDPOTrainer, trained on, not only sampled.

Both sides start from the same weights (a Llama of five million parameters, float32), read the same prompts (64 a round),
sample 2 x 48 new tokens a prompt, score them with the same trivial function and make one optimizer step of online DPO a
round. They take turns in one process tree; each gets both cores, in its best configuration as found beforehand:

    ours       mode="async": the engine has a thread of its own; the learner has one or two (the faster)
    ours sync  mode="sync": both phases one after the other with both cores, so that overlap has no part in it
    TRL        OnlineDPOTrainer with the settings that the comparison fixes and otherwise its own defaults; both cores.
               Its default gradient_checkpointing=True also switches the key-value cache of generation off
    TRL tuned  the same with gradient_checkpointing=False, which gives it the cache back; one or two threads (the faster)

    ratio               completions per second, the faster of ours over TRL: the median over pairs, with a bootstrap 95 %
                        interval; ratio_of says which
    ratio_trl_tuned     the same over TRL tuned, with its interval; ratio_async_trl_tuned, ratio_sync_trl_tuned: each of
                        ours; sync is what engine and learner give without overlap
    generate_share_*    share of a side's round that is generation; the rest is learning

TRL tuned generates with a cache and learns from the same tokens, so that what separates it from ours is arithmetic that
both must do: the profiles in the .txt file (cProfile, all sides) say how much of a round that is.

Validity. A sample is one turn; the rule is that of async_vs_sync (``_load.py``). Invalid samples are counted and left
out, unless fewer than 3 pairs are valid. Profiles of all sides (cProfile) go into the .txt file.

    python -m benchmarks.vs_trl [--quick] [--pairs 3] [--rounds 2] [--prompt-tokens 64]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import ray  # noqa: E402

from benchmarks._meter import metered_config  # noqa: E402
from benchmarks._pictures import rate_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._segments import Side  # noqa: E402
from benchmarks._session import ray_session  # noqa: E402
from benchmarks._tasks import WORDS, register_words, word_prompts, words_model, worth  # noqa: E402
from benchmarks._throughput import OursSide, PeerSide, compare, summary, take_turns, turns_of  # noqa: E402
from benchmarks._trl import TRLSettings, start_trl  # noqa: E402
from rllib_ext import AsyncOnlineDPOConfig  # noqa: E402
from rllib_ext.runtime.ray_session import available_cores  # noqa: E402

TARGET = 5.0
PROMPTS, QUICK_PROMPTS = 64, 8  # a round
NEW_TOKENS, SAMPLES = 48, 2
VOCABULARY, COUNT = 4096, 4096
SHAPE = {"hidden": 256, "layers": 4, "heads": 4}  # 5.3 million parameters
LR, BETA, TEMPERATURE = 1e-5, 0.1, 1.0
LEAST_VALID = 3
_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Work:
    """What every side does in a round: so many prompts of so many tokens, from these weights."""

    model: str
    prompts: int
    prompt_tokens: int

    @property
    def completions(self) -> int:
        return self.prompts * SAMPLES


def ours(name: str, mode: str, work: Work, threads: int) -> OursSide:
    env_config = {"prompt_tokens": work.prompt_tokens, "vocabulary": VOCABULARY, "count": COUNT}
    config = (
        metered_config(AsyncOnlineDPOConfig)
        .environment(WORDS, env_config=env_config)
        .debugging(seed=0)
        .training(
            model=work.model, mode=mode, engine="vllm", max_prompt_tokens=work.prompt_tokens, max_new_tokens=NEW_TOKENS,
            samples_per_prompt=SAMPLES, prompts_per_minibatch=work.prompts, temperature=TEMPERATURE, beta=BETA, lr=LR,
            total_updates=100_000, missing_eos="keep", engine_threads=threads, learner_threads=threads,
        )
        .evaluation(evaluation_interval=None)
    )  # fmt: skip
    return OursSide(Side(name, config.build_algo(), threads), work.completions)


def theirs(name: str, work: Work, *, checkpointing: bool) -> PeerSide:
    prompts = word_prompts(COUNT, tokens=work.prompt_tokens, vocabulary=VOCABULARY)
    settings = TRLSettings(
        model=work.model, prompts=tuple(prompts), batch=work.prompts, max_new_tokens=NEW_TOKENS,
        max_length=work.prompt_tokens + NEW_TOKENS + 1, lr=LR, beta=BETA, temperature=TEMPERATURE,
        gradient_checkpointing=checkpointing,
    )  # fmt: skip
    cores = available_cores()
    return PeerSide(name, start_trl(settings, worth, cores), work.completions, cores, slow=checkpointing)


def tune(side: OursSide, peer: PeerSide) -> None:
    """Give each side the faster of one thread and all cores (ours: in the learner; the engine keeps its one)."""
    mine, other = {}, {}
    for count in sorted({1, available_cores()}):
        side.side.learner_threads = peer.threads = count
        mine[count], other[count] = side.turn(-1, 1).round_s, peer.turn(-1, 1).round_s
    side.side.learner_threads, peer.threads = min(mine, key=mine.get), min(other, key=other.get)
    note(f"seconds a round by threads: ours {mine}, TRL {other}")


def measure(options: Any) -> tuple[list[Any], dict[str, Any], str]:
    """(turns, threads of each side, profiles)."""
    register_words()
    quick, cores = options.quick, available_cores()
    model = words_model(vocabulary=VOCABULARY, max_length=options.prompt_tokens + NEW_TOKENS + 8, **SHAPE)
    work = Work(model, QUICK_PROMPTS if quick else PROMPTS, options.prompt_tokens)
    note("starting two engines and two trainers")
    overlapped, plain = ours("ours", "async", work, 1), ours("ours sync", "sync", work, cores)
    peer, default = theirs("TRL tuned", work, checkpointing=False), theirs("TRL", work, checkpointing=True)
    try:
        for side in (overlapped, plain):
            side.side.algorithm.iterate()
        tune(overlapped, peer)
        pairs, rounds = (1, 1) if quick else (options.pairs, options.rounds)
        note(f"{pairs} times {rounds} rounds of ours, ours sync and TRL tuned, and one of TRL as it comes")
        turns = take_turns([overlapped, plain, peer, default], pairs, rounds)
        profiles = {
            "ours, driver": overlapped.profile(), "ours, engine's thread": plain.worker_profile(),
            "TRL tuned": ray.get(peer.actor.profile.remote(peer.threads), timeout=_TIMEOUT_S),
        }  # fmt: skip
    finally:
        for side in (overlapped, plain):
            side.side.algorithm.stop()
    threads = {
        "ours": [1, overlapped.side.learner_threads],
        "ours sync": [cores] * 2,
        "TRL tuned": [peer.threads] * 2,
        "TRL": [cores] * 2,
    }
    text = "\n".join(f"===== {name}\n{profile}" for name, profile in profiles.items())
    return turns, {"threads_generate_learn": threads, **vars(work), "model": SHAPE}, text


def headline_of(turns: list[Any]) -> dict[str, Any]:
    sides = summary(turns)
    rate = {name: side["completions_per_s"] for name, side in sides.items()}
    best = max(("ours", "ours sync"), key=rate.__getitem__)
    ratio, interval, valid = compare(turns, best, "TRL")
    tuned, tuned_interval, _ = compare(turns, best, "TRL tuned")
    share = {name: side["generate_s"] / side["round_s"] for name, side in sides.items()}
    return {
        "ratio": ratio, "ratio_interval": interval, "ratio_of": best,
        "ratio_trl_tuned": tuned, "ratio_trl_tuned_interval": tuned_interval,
        "ratio_async_trl_tuned": compare(turns, "ours", "TRL tuned")[0],
        "ratio_sync_trl_tuned": compare(turns, "ours sync", "TRL tuned")[0],
        "completions_per_s": rate[best], "trl_completions_per_s": rate["TRL"],
        "trl_tuned_completions_per_s": rate["TRL tuned"],
        "generate_share_trl": share["TRL"], "generate_share_trl_tuned": share["TRL tuned"],
        "generate_s": sides["ours"]["generate_s"], "learn_s": sides["ours"]["learn_s"],
        "valid_samples": sum(not turn.invalid for turn in turns),
        "invalid_samples": sum(bool(turn.invalid) for turn in turns),
        "target": TARGET, "reached": None if valid < LEAST_VALID else ratio >= TARGET,
    }  # fmt: skip


def main() -> int:
    options = arguments(__doc__, pairs=3, rounds=2, prompt_tokens=64).parse_args()
    results = Results("vs_trl", options)
    with ray_session():
        turns, configuration, profiles = measure(options)
    headline = headline_of(turns)
    sides = summary(turns)
    results.table([turn.row() for turn in turns])
    results.text(profiles)
    rates = {name: (side["completions_per_s"], side["interval"]) for name, side in sides.items()}
    results.figure(
        rate_figure("Online DPO, completions per second", "64 prompts x 2 x 48 tokens, float32", rates)
    )
    results.close(headline, sides=sides, configuration=configuration, turns=len(turns_of(turns, "TRL")))
    return int(headline["reached"] is False and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
