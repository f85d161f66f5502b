"""The negotiation game: facts of the specification (C.5 22, 24 to 30), rules against a scalar transcription, the face."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pettingzoo.test import api_test, seed_test
from scipy import stats

from envs.errors import BadEnv
from envs.games import Negotiation
from envs.games.bargain import draw_horizons, draw_pools, draw_utilities, joint_worth, own_worth, split
from envs.games.negotiation_core import NegotiationCore

GAMES = 512


def random_turn(core: NegotiationCore, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """(terminate, proposal, utterance) of all copies; proposals often repeat the other's, so that some match."""
    proposal_BI = rng.integers(0, core.max_quantity + 1, (core.num_games, core.items))
    proposal_BI[rng.random(core.num_games) < 0.5] %= 2
    top = 2 if core.speech == "masked" else core.vocabulary
    utterance_BU = rng.integers(0, top, (core.num_games, core.utterance_length))
    return rng.random(core.num_games) < 0.25, proposal_BI, utterance_BU


def judged_by_hand(
    core: NegotiationCore, game: int, history: list[tuple[bool, list[int]]]
) -> tuple[bool, list[float]]:
    """(over, own worths) of one game after ``history``, from the rules as they are written, in plain Python."""
    pool, horizon = core.pool_BI[game].tolist(), int(core.horizon_B[game])
    utilities, first = core.utilities_B2I[game].tolist(), int(core.first_B[game])
    for turn, (terminate, proposal) in enumerate(history):
        mover = (first + turn) % 2
        last = history[turn - 1][1] if turn else None
        accepts = terminate if core.termination == "accept" else last is not None and proposal == last
        if accepts:
            if last is None or any(want > there for want, there in zip(last, pool, strict=True)):
                return True, [0.0, 0.0]
            rest = [there - want for want, there in zip(last, pool, strict=True)]
            got = [rest, last] if mover == 0 else [last, rest]
            worth = [sum(u * n for u, n in zip(utilities[i], got[i], strict=True)) for i in (0, 1)]
            whole = [sum(u * n for u, n in zip(utilities[i], pool, strict=True)) for i in (0, 1)]
            return True, [worth[i] / whole[i] for i in (0, 1)]
        if turn + 1 == horizon:
            return True, [0.0, 0.0]
    return False, [0.0, 0.0]


@pytest.mark.parametrize("termination", ["accept", "match"])
@pytest.mark.parametrize("randomize_first", [False, True])
def test_every_game_goes_by_the_rules(termination: str, randomize_first: bool) -> None:
    core = NegotiationCore(GAMES, termination=termination, randomize_first=randomize_first, max_quantity=2)
    core.deal(seed=4)
    rng, histories = np.random.default_rng(5), [[] for _ in range(GAMES)]
    agreed = 0
    for _ in range(10):
        running = ~core.over_B
        terminate_B, proposal_BI, utterance_BU = random_turn(core, rng)
        turn = core.step(terminate_B, proposal_BI, utterance_BU)
        for game in np.flatnonzero(running):
            histories[game].append((bool(terminate_B[game]), proposal_BI[game].tolist()))
            over, own = judged_by_hand(core, game, histories[game])
            assert (turn.over_B[game], turn.own_B2[game].tolist()) == (over, own)
            assert turn.rewards_B2[game].tolist() == own
        assert not turn.over_B[~running].any() and not turn.rewards_B2[~running].any()
        agreed += int(turn.agreed_B.sum())
    assert core.over_B.all() and agreed > GAMES / 20


def test_24_rewards_are_shares_and_what_is_divided_is_the_pool() -> None:
    rng = np.random.default_rng(0)
    pool = draw_pools(rng, 5000, 3, 5)
    utilities = draw_utilities(rng, pool, 10)
    wanted, proposer = rng.integers(0, 6, (5000, 3)), rng.integers(0, 2, 5000)
    shares, possible = split(wanted, proposer, pool)
    assert (shares.sum(1) == np.where(possible[:, None], pool, 0)).all()
    assert (shares[np.arange(5000), proposer][possible] == wanted[possible]).all()
    own, joint = own_worth(shares, utilities, pool), joint_worth(shares, utilities, pool)
    assert own.min() >= 0 and own.max() <= 1 and joint.min() >= 0 and joint.max() <= 1
    assert (wanted[possible] <= pool[possible]).all() and not own[~possible].any()


@pytest.mark.parametrize("reward", ["selfish", "prosocial", "alpha", "zero_sum"])
def test_24_no_deal_pays_nothing(reward: str) -> None:
    core = NegotiationCore(1, reward=reward, horizon=4)
    core.deal(seed=0)
    assert (
        not core.step(np.array([True]), core.pool_BI, core.utterance_BU).rewards_B2.any()
        and core.over_B.all()
    )
    core.begin()
    too_much = core.pool_BI + 1
    core.step(np.array([False]), too_much, core.utterance_BU)
    turn = core.step(np.array([True]), core.pool_BI, core.utterance_BU)
    assert turn.over_B.all() and not turn.agreed_B.any() and not turn.rewards_B2.any()
    core.begin()
    for left in (3, 2, 1, 0):
        turn = core.step(np.array([False]), core.pool_BI, core.utterance_BU)
        assert turn.over_B[0] == (left == 0) and not turn.rewards_B2.any()


def test_25_prosocial_is_one_exactly_where_items_go_to_who_values_them_most() -> None:
    rng = np.random.default_rng(1)
    pool = draw_pools(rng, 4000, 2, 2)
    utilities = draw_utilities(rng, pool, 2)
    shares, possible = split(rng.integers(0, 3, (4000, 2)), np.zeros(4000, np.int64), pool)
    lower = utilities < utilities.max(axis=1, keepdims=True)
    misplaced = ((shares > 0) & lower).any(axis=(1, 2))
    joint = joint_worth(shares, utilities, pool)[possible]
    assert ((joint == 1.0) == ~misplaced[possible]).all() and 0.1 < (joint == 1.0).mean() < 0.9


def test_rewards_by_kind() -> None:
    def of(reward: str, alpha: float = 0.25) -> list[float]:
        core = NegotiationCore(1, reward=reward, alpha=alpha)
        core.deal(seed=0)
        core.pool_BI, core.utilities_B2I = np.array([[2, 1, 0]]), np.array([[[1, 2, 5], [3, 1, 0]]])
        core.step(np.array([False]), np.array([[1, 1, 0]]), core.utterance_BU)
        return core.step(np.array([True]), np.array([[0, 0, 0]]), core.utterance_BU).rewards_B2[0].tolist()

    own, joint = [3 / 4, 3 / 7], (3 + 3) / (6 + 2)
    assert of("selfish") == pytest.approx(own)
    assert of("prosocial") == pytest.approx([joint, joint])
    assert of("alpha") == pytest.approx([0.75 * mine + 0.25 * joint for mine in own])
    assert of("zero_sum") == pytest.approx([own[0] - own[1], own[1] - own[0]])


@pytest.mark.parametrize("channels", ["none", "proposal", "linguistic", "both"])
def test_26_closed_channels_show_nothing_and_open_ones_everything(channels: str) -> None:
    def seen(proposal: int, utterance: int) -> Any:
        core = NegotiationCore(1, channels=channels)
        core.deal(seed=7)
        core.step(np.array([False]), np.full((1, 3), proposal), np.full((1, 6), utterance))
        return core.observe()

    one, other = seen(1, 2), seen(3, 9)
    assert (one.proposal_BI == other.proposal_BI).all() == (channels in ("none", "linguistic"))
    assert (one.utterance_BU == other.utterance_BU).all() == (channels in ("none", "proposal"))
    assert (one.pool_BI == other.pool_BI).all() and (one.utility_BI == other.utility_BI).all()
    if channels == "both":
        assert one.proposal_BI.tolist() == [[1, 1, 1]] and one.utterance_BU.tolist() == [[2] * 6]


def test_26_utilities_are_private_and_each_mover_sees_its_own() -> None:
    core = NegotiationCore(64, randomize_first=True)
    core.deal(seed=1)
    for _ in range(3):
        mine = core.utilities_B2I[np.arange(64), core.mover_B]
        assert (core.observe().utility_BI == mine).all()
        core.step(np.zeros(64, bool), core.pool_BI, core.utterance_BU)


@pytest.mark.parametrize("channels", ["linguistic", "both"])
def test_27_a_mask_reveals_the_truth_or_nothing(channels: str) -> None:
    core = NegotiationCore(GAMES, channels=channels, speech="masked")
    core.deal(seed=2)
    rng = np.random.default_rng(3)
    for _ in range(3):
        mover = core.mover_B
        _, proposal, mask = random_turn(core, rng)
        truth = np.concatenate([core.utilities_B2I[np.arange(GAMES), mover], proposal], axis=1)
        core.step(np.zeros(GAMES, bool), proposal, mask)
        heard = core.observe().utterance_BU
        told = mask.astype(bool)
        if channels == "both":  # the proposal is seen as such
            truth[:, 3:] = 0
        assert (heard[told] == truth[told]).all() and not heard[~told].any()


def test_28_a_match_needs_the_true_previous_proposal() -> None:
    for channels in ("none", "proposal"):
        core = NegotiationCore(1, channels=channels, termination="match", horizon=6)
        core.deal(seed=0)
        nothing = np.zeros((1, 3), np.int64)
        assert not core.step(np.array([True]), nothing, core.utterance_BU).over_B[
            0
        ]  # nothing to match on turn 0
        assert not core.step(np.array([True]), core.pool_BI, core.utterance_BU).over_B[0]
        turn = core.step(np.array([False]), core.pool_BI, core.utterance_BU)
        assert turn.over_B[0] and turn.agreed_B[0] and turn.own_B2[0].tolist() == [0.0, 1.0]
    assert "terminate" not in Negotiation(termination="match").action_space("A").spaces


def test_28_the_authors_slip_matches_zeros() -> None:
    core = NegotiationCore(1, channels="none", termination="match", quirks=True, horizon=6)
    core.deal(seed=0)
    core.step(np.array([False]), core.pool_BI, core.utterance_BU)
    assert core.step(np.array([False]), np.zeros((1, 3), np.int64), core.utterance_BU).agreed_B[0]
    slipped = draw_pools(np.random.default_rng(0), 4000, 3, 5, first_never_zero=True)
    assert slipped[:, 0].min() == 1 and slipped[:, 1].min() == 0


def test_29_the_number_of_turns_is_poisson_clipped() -> None:
    drawn = draw_horizons(np.random.default_rng(0), 100_000)
    assert drawn.min() == 4 and drawn.max() == 10
    assert (
        (drawn == 4).mean()
        == pytest.approx(stats.poisson.cdf(4, 7), abs=0.005)
        == pytest.approx(0.173, abs=0.005)
    )
    assert (
        (drawn == 10).mean()
        == pytest.approx(stats.poisson.sf(9, 7), abs=0.005)
        == pytest.approx(0.170, abs=0.005)
    )


def test_30_an_ultimatum_that_is_always_accepted() -> None:
    core = NegotiationCore(GAMES, channels="none")
    core.deal(seed=6)
    core.step(np.zeros(GAMES, bool), core.pool_BI, core.utterance_BU)
    turn = core.step(np.ones(GAMES, bool), np.zeros_like(core.pool_BI), core.utterance_BU)
    assert turn.over_B.all() and (turn.rewards_B2 == [1.0, 0.0]).all()


def test_30_the_best_division_pays_prosocial_agents_one() -> None:
    core = NegotiationCore(GAMES, reward="prosocial")
    core.deal(seed=6)
    best = np.where(core.utilities_B2I[:, 0] >= core.utilities_B2I[:, 1], core.pool_BI, 0)
    core.step(np.zeros(GAMES, bool), best, core.utterance_BU)
    assert (core.step(np.ones(GAMES, bool), best, core.utterance_BU).rewards_B2 == 1.0).all()


def test_pools_and_utilities_are_what_they_are_drawn_for() -> None:
    rng = np.random.default_rng(0)
    pool = draw_pools(rng, 50_000, 3, 5)
    utilities = draw_utilities(rng, pool, 10)
    assert pool.any(1).all() and (utilities * pool[:, None]).sum(-1).min() > 0
    assert np.bincount(pool[:, 0], minlength=6) / 50_000 == pytest.approx(1 / 6, abs=0.01)
    assert np.bincount(utilities[pool.all(1)][:, 1, 2], minlength=11) / pool.all(1).sum() == pytest.approx(
        1 / 11, abs=0.01
    )


@pytest.mark.parametrize("speech", ["cheap_talk", "masked"])
@pytest.mark.parametrize("termination", ["accept", "match"])
def test_22_pettingzoo_s_own_tests(speech: str, termination: str) -> None:
    api_test(Negotiation(speech=speech, termination=termination), num_cycles=30)
    seed_test(
        lambda: Negotiation(speech=speech, termination=termination, randomize_first=True), num_cycles=10
    )


def test_infos_say_at_the_end_what_came_of_it() -> None:
    env = Negotiation("none")
    env.reset(seed=0)
    pool, words = env.observe("A")["pool"], np.zeros(6, np.int64)
    env.step({"terminate": 0, "proposal": pool, "utterance": words})
    env.step({"terminate": 1, "proposal": pool, "utterance": words})
    assert env.terminations == {"A": True, "B": True} and env.rewards == {"A": 1.0, "B": 0.0}
    assert env.infos["A"] == {"agreed": True, "turns": 2, "own": 1.0, "joint": env.infos["B"]["joint"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": "smoke"}, "channels = 'smoke' must be one of"),
        ({"vocabulary": -11}, "vocabulary = -11 must be a whole number, 2 or more"),
        ({"alpha": 1.5}, "alpha = 1.5 must be a finite number from 0.0 to 1.0"),
        ({"horizon": "long"}, "horizon = 'long' must be a whole number"),
        ({"termination": "shout"}, "termination = 'shout'"),
    ],
)
def test_illegal_arguments_are_refused_by_name_and_range(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(BadEnv, match=words):
        Negotiation(**arguments)


@pytest.mark.parametrize(
    "change",
    [
        {"terminate": 2},
        {"proposal": [9, 0, 0]},
        {"proposal": [1, 1]},
        {"utterance": [11] * 6},
        {"shout": 1},
        {"proposal": 1.5},
    ],
)
def test_actions_outside_their_space_are_refused(change: dict[str, Any]) -> None:
    env = Negotiation()
    env.reset(seed=0)
    with pytest.raises(BadEnv, match="of A is"):
        env.step({"terminate": 0, "proposal": [0, 0, 0], "utterance": [0] * 6} | change)
