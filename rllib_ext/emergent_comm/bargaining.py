"""Games of negotiation played out by two negotiators, and what each descends (REINFORCE; specification B.7).

    agent i     sum over its turns of  -(r_i - b_i) log p(decision) - sum_d c_d H_d(decision),   summed over the games

r_i is the reward at the end of the game, b_i an average of its rewards with decay 0.7. Left out: the paper's refusal of
training games that are among the test games, which are a handful in 10^8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from envs.games.negotiation_core import NegotiationCore, Turn
from rllib_ext.emergent_comm.negotiators import Decision, Negotiator, as_tensors

BASELINE_DECAY = 0.7
TEST_GAMES, TEST_SEED = 640, 123


@dataclass
class Played:
    """B games from first turn to last. decisions: (agent, rows, Decision) of every turn; rewards_B2, own_B2, joint_B:
    of the end; agreed_B; turns_B: how many turns a game had.
    """

    rewards_B2: np.ndarray
    own_B2: np.ndarray
    joint_B: np.ndarray
    agreed_B: np.ndarray
    turns_B: np.ndarray
    decisions: list[tuple[int, np.ndarray, Decision]] = field(default_factory=list)

    def note(self, turn: Turn, number: int) -> None:
        over = turn.over_B
        self.rewards_B2[over], self.own_B2[over] = turn.rewards_B2[over], turn.own_B2[over]
        self.joint_B[over], self.agreed_B[over], self.turns_B[over] = (
            turn.joint_B[over],
            turn.agreed_B[over],
            number,
        )


def play(
    core: NegotiationCore,
    agents: Sequence[Negotiator],
    generator: torch.Generator | None,
    greedy: bool = False,
) -> Played:
    """Play the games that ``core`` holds, from their first turn to their last."""
    count = core.num_games
    core.begin()
    played = Played(
        np.zeros((count, 2)),
        np.zeros((count, 2)),
        np.zeros(count),
        np.zeros(count, bool),
        np.zeros(count, int),
    )
    while not core.over_B.all():
        seen, mover_B = core.observe(), core.mover_B
        terminate_B = np.zeros(count, bool)
        proposal_BI, utterance_BU = np.zeros_like(core.proposal_BI), np.zeros_like(core.utterance_BU)
        for agent in (0, 1):
            rows = np.flatnonzero((mover_B == agent) & ~core.over_B)
            if len(rows):
                decision = agents[agent](as_tensors(seen, rows), generator, greedy)
                terminate_B[rows] = decision.terminate_B.numpy()
                proposal_BI[rows], utterance_BU[rows] = (
                    decision.proposal_BI.numpy(),
                    decision.utterance_BU.numpy(),
                )
                played.decisions.append((agent, rows, decision))
        played.note(core.step(terminate_B, proposal_BI, utterance_BU), core.turn)
    return played


def objective(played: Played, baselines: Sequence[float], coefficients: Mapping[str, float]) -> Tensor:
    """Both agents' objectives added, of disjoint parameters. coefficients: of entropies, by decision."""
    rewards_B2 = torch.from_numpy(played.rewards_B2).float()
    total = torch.zeros(())
    for agent, rows, decision in played.decisions:
        gain_B = rewards_B2[torch.from_numpy(rows), agent] - baselines[agent]
        total = total - (gain_B * decision.logp_B).sum()
        for name, entropy_B in decision.entropies.items():
            total = total - coefficients[name] * entropy_B.sum()
    return total


def measures(played: Played) -> dict[str, float]:
    """Means over the games: own worth of A and B, joint optimality, share agreed, turns."""
    return {
        "own_A": float(played.own_B2[:, 0].mean()), "own_B": float(played.own_B2[:, 1].mean()),
        "joint_optimality": float(played.joint_B.mean()), "agreed": float(played.agreed_B.mean()),
        "turns": float(played.turns_B.mean()),
    }  # fmt: skip
