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

from dataclasses import replace
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._plain_ppo import PlainSettings, start_plain  # noqa: E402
from benchmarks._results import arguments  # noqa: E402
from benchmarks._tasks import worth  # noqa: E402
from benchmarks._throughput import PeerSide, compare, summary  # noqa: E402
from benchmarks._trl_rloo import RLOOSettings, start_rloo  # noqa: E402
from benchmarks._versus import LR, NEW_TOKENS, SAMPLES, TEMPERATURE, Contest, Work, headline_of, run  # noqa: E402
from rllib_ext import AsyncPPOConfig  # noqa: E402
from rllib_ext.runtime.ray_session import available_cores  # noqa: E402

TARGET, KL = 3.0, 0.05


def peers(work: Work) -> list[PeerSide]:
    """TRL as it comes, TRL tuned and the plain loop."""
    cores = available_cores()
    tuned = RLOOSettings(
        model=work.model, prompts=work.texts, batch=work.completions, max_new_tokens=NEW_TOKENS,
        max_length=work.prompt_tokens + NEW_TOKENS, lr=LR, beta=KL, temperature=TEMPERATURE,
        gradient_checkpointing=False, samples=SAMPLES, passes=work.passes,
    )  # fmt: skip
    plain = PlainSettings(
        model=work.model, prompts=work.texts, batch=work.completions, samples=SAMPLES,
        max_prompt_tokens=work.prompt_tokens, max_new_tokens=NEW_TOKENS, passes=work.passes, lr=LR,
        temperature=TEMPERATURE,
    )  # fmt: skip
    default = replace(tuned, gradient_checkpointing=True)
    return [
        PeerSide("TRL", start_rloo(default, worth, cores), work.completions, cores, slow=True),
        PeerSide("TRL tuned", start_rloo(tuned, worth, cores), work.completions, cores),
        PeerSide("plain", start_plain(plain, worth, cores), work.completions, cores),
    ]


def headline(turns: list[Any], passes: int) -> dict[str, Any]:
    """What all contests say, and this one's plain loop and updates per second."""
    found, sides = headline_of(turns, TARGET), summary(turns)
    plain_ratio, plain_interval, _ = compare(turns, found["ratio_of"], "plain")
    named = {"": found["ratio_of"], "trl_": "TRL", "trl_tuned_": "TRL tuned", "plain_": "plain"}
    return found | {
        "ratio_plain": plain_ratio, "ratio_plain_interval": plain_interval, "passes": passes,
        "plain_completions_per_s": sides["plain"]["completions_per_s"],
        **{f"{name}updates_per_s": passes / sides[side]["round_s"] for name, side in named.items()},
    }  # fmt: skip


if __name__ == "__main__":
    given = arguments(__doc__, pairs=4, rounds=2, prompt_tokens=64, passes=1).parse_args()
    contest = Contest(AsyncPPOConfig, {"kl_coef": KL}, peers)
    run(
        "ppo_speed",
        "PPO, completions per second",
        contest,
        given,
        lambda turns: headline(turns, given.passes),
        passes=given.passes,
    )
