"""ControlledTLDR: synthetic summaries whose true quality is known exactly; one turn.

| | |
|---|---|
| agents | one: the language model |
| action | a text, the summary: whitespace-separated words |
| observation | 22 to 32 words, the last of them "TL;DR:"; four are keys, each after a marker |
| reward | of ``reward``; ``GoldReward`` (5.0 at most) unless a proxy is given |
| episode end | after the one summary |
| splits | "train", "validation", "test": no prompt and no set of four keys is in two of them |

The task: write the four marked keys, in order, and stop. ``note falcon`` in the prompt asks for ``falcon``.
Gold reward of a summary: +1 for each distinct key of the prompt, +0.25 more for a key that stands later in
the prompt than all keys written before it, -0.5 for each other word and for each repeat of a key
(``controlled_gold.py``).

What it is for. Win rates, KL and the effect of stale data on a machine without accelerators, with no learned
judge in the measurement. Demonstrations are noisy, so that a supervised policy has much to gain; references
are noisy, so that a win rate has room (a perfect policy beats 0.92 of them, ``win_ceiling()``); a proxy
reward model is trained on ``preference_pairs`` and the gold reward tells how far it can be trusted. With
``missing_eos="replace"`` and a penalty of 1 the rollout worker gives -1 to a summary that does not stop.

Arguments
    split               one of the above
    size                number of tasks, 1 or more; None: 16,384 for train, 512 for the others
    seed                of prompts and references, 0 or more; task i of (seed, split) is the same at any size
    reward              a ``Reward``; None: ``GoldReward()``
    drop, insert        noise of the references: chance that a key is missing, and of a wrong word in a gap
    render_mode         None or "ansi"

``info`` of a task: keys, the four keys in order.

Beside the environment: ``vocabulary()`` for a word tokenizer; ``demonstrations(n, seed)`` for a supervised
stage; ``preference_pairs(n, seed, flip=...)`` and ``label_pairs(samples)`` for a reward model;
``controlled_rows(n, seed)`` for the same posts in the form of the TLDR data set.

Source: this package's own task, after the gold-reward protocol of Gao et al. 2022 (arXiv 2210.10760) that
"Asynchronous RLHF" (arXiv 2410.18252) follows. Left out: unmarked keys, natural language.

Version 0: as above.
"""

from __future__ import annotations

from itertools import islice

from envs.errors import BadEnv
from envs.text.base import TextEnv
from envs.text.controlled_data import REFERENCE_NOISE, with_summaries
from envs.text.controlled_gold import GoldReward, best_reward, gold_reward
from envs.text.controlled_pairs import controlled_rows, demonstrations, label_pairs, preference_pairs
from envs.text.controlled_words import KEYS, vocabulary
from envs.text.rewards import Reward
from envs.text.task import Task

__all__ = [
    "ControlledTLDR",
    "GoldReward",
    "best_reward",
    "controlled_rows",
    "demonstrations",
    "gold_reward",
    "label_pairs",
    "preference_pairs",
    "vocabulary",
]

SIZES = {"train": 16384, "validation": 512, "test": 512}


class ControlledTLDR(TextEnv):
    """Marked keys to summaries; the module is the documentation page."""

    vocabulary = staticmethod(vocabulary)
    demonstrations = staticmethod(demonstrations)
    preference_pairs = staticmethod(preference_pairs)
    controlled_rows = staticmethod(controlled_rows)

    def __init__(
        self,
        split: str = "train",
        *,
        size: int | None = None,
        seed: int = 0,
        reward: Reward | None = None,
        drop: float = REFERENCE_NOISE[0],
        insert: float = REFERENCE_NOISE[1],
        render_mode: str | None = None,
    ) -> None:
        if split not in SIZES:
            raise BadEnv(f"split is {split!r}; ControlledTLDR has {', '.join(SIZES)}.")
        if size is not None and size < 1:
            raise BadEnv(f"size is {size}; ControlledTLDR needs 1 task or more.")
        stream = with_summaries(split, seed, "reference", (drop, insert))
        tasks = [
            Task(
                id=f"controlled/{split}/{seed}/{index}",
                prompt=prompt,
                reference=reference,
                info={"keys": [KEYS[number] for number in numbers]},
            )
            for index, (prompt, (reference,), numbers) in enumerate(islice(stream, size or SIZES[split]))
        ]
        super().__init__(tasks, GoldReward() if reward is None else reward, render_mode=render_mode)

    def win_ceiling(self) -> float:
        """The share of references below the maximum: the win rate of a policy that is always perfect.

        A win is strict (gold above the reference's), so a perfect reference cannot be beaten.
        """
        tasks = [self.task(index) for index in range(self.num_tasks)]
        pairs = [(str(task.prompt), task.reference or "") for task in tasks]
        return sum(gold_reward(*pair) < best_reward(pair[0]) for pair in pairs) / len(pairs)
