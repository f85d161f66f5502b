"""A knowledge-base scorer as a ``Reward`` for text environments. Read the warning before a policy is trained on it.

**What goes wrong.** Scores are highest for near-copies of training triples, and high for some that are far from all
that the scorer has seen; a policy finds both. People judged the far ones of such a ranking mostly bad (Jastrzębski et al.
2018, arXiv 1804.09259). So a rising reward here says that the policy found what this scorer likes, and no claim of
commonsense gained or of new knowledge follows from it. What must be looked at beside it is in `KBCReward.summary`: the
reward by bucket of novelty, the share of answers that are near-copies, and how often a judge that was trained on other
data agrees. Judge the policy by something else than its reward.

The reward of an answer is

    p (1 + novelty_weight min(1, d / max_novelty))

p the calibrated probability, d the novelty. Beyond ``max_novelty`` there is no score (None, which is no 0: the scorer is
asked about what it was never judged on). An answer that is no triple, or of an unknown relation, has none either.

An answer is the tail phrase where the task's ``info`` has ``head`` and ``relation``; otherwise it is a whole triple,
``head | relation | tail`` or with tabs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from envs.text.rewards import Reward
from envs.text.score import Outcome
from envs.text.task import Sample
from rllib_ext.commonsense.buckets import NAMES
from rllib_ext.commonsense.judging import Judgement, TripleJudge
from rllib_ext.commonsense.triples import Text
from rllib_ext.errors import BadConfig

NEAR_COPY = 1e-6
MOST_CHARACTERS = 200


@dataclass
class Tally:
    """What a reward has seen since it was made."""

    count: Counter[str] = field(default_factory=Counter)  # by bucket
    total: Counter[str] = field(default_factory=Counter)  # of the reward, by bucket
    near_copies: int = 0
    agreed: int = 0
    judged: int = 0

    def as_json(self) -> dict[str, Any]:
        """Shares and means; None where there is nothing to divide by."""
        scored = sum(self.count.values())
        return {
            "scored": scored,
            "reward_by_bucket": {n: self.total[n] / self.count[n] if self.count[n] else None for n in NAMES},
            "share_by_bucket": {n: self.count[n] / scored if scored else None for n in NAMES},
            "near_copies": self.near_copies / scored if scored else None,
            "judge_agreement": self.agreed / self.judged if self.judged else None,
        }


class KBCReward(Reward):
    """See the module.

    judge           scores and measures; its calibration makes the probability
    max_novelty     distance beyond which nothing is scored; by default the judge's upper cut, the start of the most novel
                    third of its evaluation set
    novelty_weight  0: the probability alone; 1: at max_novelty twice as much as a copy of the same probability
    near_copy       an answer at this distance or less counts as a copy of a training triple
    second_judge    a judge trained on a disjoint split, to agree or not (both probabilities on one side of one half);
                    it has no part in the reward
    """

    def __init__(
        self,
        judge: TripleJudge,
        *,
        max_novelty: float | None = None,
        novelty_weight: float = 0.0,
        near_copy: float = NEAR_COPY,
        second_judge: TripleJudge | None = None,
        name: str = "commonsense",
    ) -> None:
        farthest = judge.cuts[1] if max_novelty is None else max_novelty
        if not farthest > 0:
            raise BadConfig(f"max_novelty is {farthest}; it must be a positive distance")
        if not 0 <= novelty_weight <= 10:
            raise BadConfig(f"novelty_weight is {novelty_weight}; it must be in [0, 10]")
        if not 0 <= near_copy <= farthest:
            raise BadConfig(f"near_copy is {near_copy}; it must be in [0, max_novelty = {farthest}]")
        self.judge, self.second_judge, self.name = judge, second_judge, name
        self.max_novelty, self.novelty_weight, self.near_copy = (
            float(farthest),
            float(novelty_weight),
            near_copy,
        )
        self.tally = Tally()
        self.judgements: list[Judgement | None] = []  # of the last batch: bucket, nearest triple, ...

    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        return [outcome.score for outcome in self.outcomes(samples)]

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        triples = [self._triple(sample) for sample in samples]
        asked = [triple for triple in triples if not isinstance(triple, str)]
        judged = iter(self.judge.judge(asked))
        seconds = iter(self.second_judge.judge(asked) if self.second_judge else [None] * len(asked))
        self.judgements, outcomes = [], []
        for triple in triples:
            if isinstance(triple, str):
                self.judgements.append(None)
                outcomes.append(Outcome(None, triple))
                continue
            judgement = next(judged)
            self.judgements.append(judgement)
            outcomes.append(self._outcome(judgement, next(seconds)))
        return self._remember(outcomes)

    def summary(self) -> dict[str, Any]:
        """What has to be reported beside the mean reward."""
        return {**self.tally.as_json(), "unscored": sum(self.failures.values()), "reasons": self.failures}

    def _outcome(self, judgement: Judgement, second: Judgement | None) -> Outcome:
        if judgement.novelty > self.max_novelty:
            return Outcome(None, "farther from training than max_novelty")
        nearness = min(1.0, judgement.novelty / self.max_novelty)
        reward = judgement.probability * (1.0 + self.novelty_weight * nearness)
        tally = self.tally
        tally.count[judgement.bucket] += 1
        tally.total[judgement.bucket] += reward
        tally.near_copies += judgement.novelty <= self.near_copy
        if second is not None:
            tally.judged += 1
            tally.agreed += (judgement.probability > 0.5) == (second.probability > 0.5)
        return Outcome(reward)

    def _triple(self, sample: Sample) -> Text | str:
        """The triple of an answer, or the reason why it is none."""
        info, answer = sample.task.info, sample.completion
        if len(answer) > MOST_CHARACTERS:
            return f"longer than {MOST_CHARACTERS} characters"
        if "head" in info and "relation" in info:
            parts = [str(info["head"]), str(info["relation"]), answer]
        else:
            parts = answer.split("\t" if "\t" in answer else "|")
            if len(parts) != 3:
                return "not a triple: head | relation | tail"
        head, relation, tail = (" ".join(part.split()) for part in parts)
        if not head or not tail:
            return "an empty phrase"
        names = {known.lower(): known for known in self.judge.index.vocabulary.relations}
        if relation.lower() not in names:
            return "a relation that the scorer does not know"
        return head.lower(), names[relation.lower()], tail.lower()
