"""Negotiators: distributions, objective against finite differences, what they learn (specification E.3)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from envs.games.negotiation_core import NegotiationCore
from rllib_ext.emergent_comm.bargaining import measures, objective, play
from rllib_ext.emergent_comm.negotiators import Negotiator, Sizes, as_tensors

COEFFICIENTS = {"terminate": 0.05, "proposal": 0.05, "utterance": 1e-3}


def pair(core: NegotiationCore, encoder: str = "mlp", seed: int = 0) -> list[Negotiator]:
    torch.manual_seed(seed)
    return [Negotiator(Sizes.of(core), encoder) for _ in range(2)]


def learnt(batches: int, seed: int = 0, **settings: str) -> dict[str, float]:
    """What two agents do, greedily, after so many batches of 128 games."""
    core, test = NegotiationCore(128, **settings), NegotiationCore(640, **settings)
    agents, generator = pair(core, seed=seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([p for agent in agents for p in agent.parameters()], 1e-3, fused=True)
    baselines = [0.0, 0.0]
    core.deal(seed)
    for _ in range(batches):
        core.deal()
        played = play(core, agents, generator)
        optimizer.zero_grad()
        objective(played, baselines, COEFFICIENTS).backward()
        optimizer.step()
        baselines = [
            0.7 * b + 0.3 * float(m) for b, m in zip(baselines, played.rewards_B2.mean(0), strict=True)
        ]
    test.deal(123)
    with torch.no_grad():
        return measures(play(test, agents, None, greedy=True))


@pytest.mark.parametrize("encoder", ["mlp", "lstm"])
@pytest.mark.parametrize("channels", ["none", "proposal", "linguistic", "both"])
@pytest.mark.parametrize("termination", ["accept", "match"])
def test_decisions_fit_the_game(encoder: str, channels: str, termination: str) -> None:
    core = NegotiationCore(32, channels=channels, termination=termination, randomize_first=True)
    core.deal(0)
    agents = pair(core, encoder)
    decision = agents[0](as_tensors(core.observe(), np.arange(32)), torch.Generator().manual_seed(0))
    assert decision.proposal_BI.shape == (32, 3) and int(decision.proposal_BI.max()) <= 5
    assert decision.utterance_BU.shape == (32, 6) and bool(decision.utterance_BU.any()) == core.speaks
    assert set(decision.entropies) == {"proposal"} | ({"terminate"} if termination == "accept" else set()) | (
        {"utterance"} if core.speaks else set()
    )
    assert bool((decision.logp_B <= 0).all()) and decision.logp_B.shape == (32,)
    assert decision.entropies["proposal"].max().item() <= 3 * math.log(6) + 1e-5
    played = play(core, agents, torch.Generator().manual_seed(0))
    assert core.over_B.all() and played.turns_B.min() >= 1 and played.turns_B.max() <= 10


@pytest.mark.parametrize("encoder", ["mlp", "lstm"])
def test_the_log_probability_is_that_of_all_parts(encoder: str) -> None:
    """Drawn often, a decision's frequency is exp of its log-probability."""
    core = NegotiationCore(
        1, channels="linguistic", items=1, max_quantity=1, vocabulary=2, utterance_length=2
    )
    core.deal(0)
    (agent, _), seen = pair(core, encoder), as_tensors(core.observe(), np.zeros(40_000, np.int64))
    with torch.no_grad():
        found = agent(seen, torch.Generator().manual_seed(0))
    code = (
        found.terminate_B.long() * 8 + found.proposal_BI[:, 0] * 4 + found.utterance_BU @ torch.tensor([2, 1])
    )
    for value in code.unique():
        drawn = code == value
        assert float(drawn.float().mean()) == pytest.approx(float(found.logp_B[drawn][0].exp()), abs=0.012)
    assert len(code.unique()) == 16


def test_the_objective_is_of_disjoint_agents_and_descends_their_own_rewards() -> None:
    core = NegotiationCore(64)
    core.deal(3)
    agents = pair(core)
    played = play(core, agents, torch.Generator().manual_seed(0))
    total = objective(played, [0.1, 0.2], COEFFICIENTS)
    wanted = 0.0
    for agent, rows, decision in played.decisions:
        for place, row in enumerate(rows):
            wanted -= (played.rewards_B2[row, agent] - [0.1, 0.2][agent]) * float(decision.logp_B[place])
            wanted -= sum(COEFFICIENTS[name] * float(of[place]) for name, of in decision.entropies.items())
    assert float(total) == pytest.approx(wanted, rel=1e-4)
    mine = [
        total for agent, _, decision in played.decisions if agent == 0 for total in [decision.logp_B.sum()]
    ]
    gradients = torch.autograd.grad(sum(mine), list(agents[1].parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)


def test_without_a_channel_the_first_mover_takes_all() -> None:
    found = learnt(500, channels="none")
    assert found["own_A"] >= 0.85 and found["own_B"] <= 0.15 and found["agreed"] == 1.0, found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_e3_directions(seed: int) -> None:
    """The assertions of specification E.3, which it read off one seed, on three."""
    match = learnt(2000, seed, channels="proposal", termination="match")
    assert match["agreed"] >= 0.5 and match["own_B"] > match["own_A"], match
    prosocial = learnt(1000, seed, channels="proposal", reward="prosocial")
    assert prosocial["joint_optimality"] >= 0.8, prosocial
