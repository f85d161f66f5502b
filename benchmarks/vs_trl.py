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

from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import ray  # noqa: E402

from benchmarks._results import arguments  # noqa: E402
from benchmarks._tasks import worth  # noqa: E402
from benchmarks._throughput import PeerSide, summary  # noqa: E402
from benchmarks._trl import TRLSettings, start_trl  # noqa: E402
from benchmarks._versus import LR, NEW_TOKENS, TEMPERATURE, Contest, Work, headline_of, run  # noqa: E402
from rllib_ext import AsyncOnlineDPOConfig  # noqa: E402
from rllib_ext.runtime.ray_session import available_cores  # noqa: E402

TARGET, BETA = 5.0, 0.1
_TIMEOUT_S = 1800.0


def peer(name: str, work: Work, *, checkpointing: bool) -> PeerSide:
    """TRL's trainer, with its default gradient checkpointing or without."""
    cores = available_cores()
    settings = TRLSettings(
        model=work.model, prompts=work.texts, batch=work.prompts, max_new_tokens=NEW_TOKENS,
        max_length=work.prompt_tokens + NEW_TOKENS + 1, lr=LR, beta=BETA, temperature=TEMPERATURE,
        gradient_checkpointing=checkpointing,
    )  # fmt: skip
    return PeerSide(name, start_trl(settings, worth, cores), work.completions, cores, slow=checkpointing)


def peers(work: Work) -> list[PeerSide]:
    """TRL tuned, and TRL as it comes."""
    return [peer("TRL tuned", work, checkpointing=False), peer("TRL", work, checkpointing=True)]


def profiles(sides: list[PeerSide]) -> dict[str, str]:
    """One round of TRL tuned."""
    tuned = sides[0]
    return {tuned.name: ray.get(tuned.actor.profile.remote(tuned.threads), timeout=_TIMEOUT_S)}


def headline(turns: list[Any]) -> dict[str, Any]:
    """What all contests say, and which share of TRL's round is generation."""
    sides = summary(turns)
    share = {name: side["generate_s"] / side["round_s"] for name, side in sides.items()}
    return headline_of(turns, TARGET) | {
        "generate_share_trl": share["TRL"],
        "generate_share_trl_tuned": share["TRL tuned"],
    }


if __name__ == "__main__":
    contest = Contest(AsyncOnlineDPOConfig, {"beta": BETA}, peers, profiles)
    given = arguments(__doc__, pairs=3, rounds=2, prompt_tokens=64).parse_args()
    run("vs_trl", "Online DPO, completions per second", contest, given, headline)
