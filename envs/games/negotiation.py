"""Negotiation: two agents divide a pool of items that each values in its own way, in turns, knowing little of each other.

| | |
|---|---|
| agents | "A" and "B", in turns; A begins unless ``randomize_first`` |
| observation | Dict: "pool" MultiDiscrete([max_quantity + 1] * items), public; "utility", the agent's own, |
| | MultiDiscrete([max_utility + 1] * items); "opp_proposal", the other's last proposal, zeros where it is hidden or |
| | there was none; "opp_utterance" MultiDiscrete([vocabulary] * utterance_length), likewise; |
| | "first_turn" Discrete(2), 1 where nothing was said yet |
| action | Dict: "terminate" Discrete(2), 1 accepts the other's last proposal (absent for ``termination="match"``); |
| | "proposal" MultiDiscrete([max_quantity + 1] * items), what the agent wants for itself; "utterance" |
| | MultiDiscrete([vocabulary] * utterance_length), or MultiBinary(2 * items) for ``speech="masked"`` |
| reward | of ``reward``, at the end, to both; 0 before, and 0 where there is no deal |
| episode end | a deal, or no deal: both terminated in the same turn. Running out of turns is a rule of the game, hence |
| | termination; never truncated |

The rules (`envs.games.bargain`): each kind of item has a quantity uniform on 0..max_quantity (never an empty pool) and
for each agent a private utility uniform on 0..max_utility (never a pool that is worth nothing to it). The number of
turns is Poisson(7) clipped to 4..10, and nobody is told it, or which turn it is.

``termination="accept"``: whoever moves may accept the other's last proposal; the proposer gets it, the accepter the rest
of the pool. Nothing for both if it is accepted before there was one, if it exceeds the pool in any kind, or if the turns
run out. Proposals can be accepted unseen where the channel is closed. ``termination="match"``: a deal is made only when
an agent names exactly the other's previous proposal; it is then divided as if that had been accepted.

Arguments
    channels          "none", "proposal", "linguistic" or "both": what the other sees
    speech            "cheap_talk": any symbols; "masked": the agent chooses which of its utilities and, where proposals
                      are hidden, of its proposal to reveal; what is revealed is true, the rest 0
    termination       "accept" or "match"
    reward            "selfish", own worth over that of the whole pool; "prosocial", joint worth over the best there is;
                      "alpha", (1 - alpha) of the first and alpha of the second; "zero_sum", the difference of the first
    alpha             see ``reward``, 0 to 1
    items             kinds, 1 or more
    max_quantity, max_utility   1 or more
    horizon           "poisson", or a number of turns
    vocabulary, utterance_length   of cheap talk
    randomize_first   either agent may begin
    quirks            two slips of the authors' code: the first kind is never missing from the pool, and a match without
                      the proposal channel is one with (0, 0, ...)
    render_mode       None or "ansi"

``infos`` at the end, for measures: "agreed", "turns", "own" (worth to the agent, 0 to 1), "joint" (0 to 1).

Source: Cao et al. 2018 (arXiv 1804.03980) as implemented by Noukhovitch et al. 2021 (arXiv 2101.10276), who added "match"
and "masked". Left out: more than two agents, simultaneous proposals.

Version 0: as above.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, Space
from numpy.typing import NDArray
from pettingzoo import AECEnv

from envs.errors import BadEnv
from envs.games.negotiation_core import NegotiationCore, Turn
from envs.grid.arguments import choice

AGENTS = ("A", "B")
Seen = dict[str, Any]


class Negotiation(AECEnv[str, Seen, dict[str, Any]]):  # type: ignore[misc]
    """One game of `NegotiationCore`; the module is the documentation page."""

    metadata = {"name": "negotiation_v0", "render_modes": ["ansi"], "is_parallelizable": False}

    def __init__(
        self,
        channels: str = "both",
        *,
        speech: str = "cheap_talk",
        termination: str = "accept",
        reward: str = "selfish",
        alpha: float = 0.5,
        items: int = 3,
        max_quantity: int = 5,
        max_utility: int = 10,
        horizon: int | str = "poisson",
        vocabulary: int = 11,
        utterance_length: int = 6,
        randomize_first: bool = False,
        quirks: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = choice("render_mode", render_mode, (None, "ansi"))
        self.core = NegotiationCore(
            1, channels=channels, speech=speech, termination=termination, reward=reward, alpha=alpha, items=items,
            max_quantity=max_quantity, max_utility=max_utility, horizon=horizon, vocabulary=vocabulary,
            utterance_length=utterance_length, randomize_first=randomize_first, quirks=quirks,
        )  # fmt: skip
        self.possible_agents = list(AGENTS)
        self.agents: list[str] = []
        self._observation_space, self._action_space = _spaces(self.core)

    def observation_space(self, agent: str) -> Dict:
        return self._observation_space

    def action_space(self, agent: str) -> Dict:
        return self._action_space

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Deal a game. ``options`` are taken and not used."""
        self.core.deal(seed)
        self.agents = list(AGENTS)
        self.rewards = dict.fromkeys(AGENTS, 0.0)
        self._cumulative_rewards = dict.fromkeys(AGENTS, 0.0)
        self.terminations = dict.fromkeys(AGENTS, False)
        self.truncations = dict.fromkeys(AGENTS, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in AGENTS}
        self.agent_selection = AGENTS[int(self.core.mover_B[0])]

    def observe(self, agent: str) -> Seen:
        """What the agent sees where it is its turn; while the other moves, what it would see now of its own."""
        core = self.core
        theirs = AGENTS[int(core.mover_B[0])] == agent
        seen = core.observe()
        blank = np.zeros_like
        return {
            "pool": seen.pool_BI[0].copy(),
            "utility": core.utilities_B2I[0, AGENTS.index(agent)].copy(),
            "opp_proposal": seen.proposal_BI[0].copy() if theirs else blank(seen.proposal_BI[0]),
            "opp_utterance": seen.utterance_BU[0].copy() if theirs else blank(seen.utterance_BU[0]),
            "first_turn": np.int64(seen.first_B[0]),
        }

    def step(self, action: dict[str, Any] | None) -> None:
        """One turn of whoever moves; after the end None from each, as PettingZoo asks."""
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        terminate, proposal, utterance = self._checked(agent, action)
        self._cumulative_rewards[agent] = 0.0
        turn = self.core.step(np.array([terminate]), proposal[None], utterance[None])
        self.rewards = dict(zip(AGENTS, turn.rewards_B2[0].tolist(), strict=True))
        if turn.over_B[0]:
            self._end(turn)
        self._accumulate_rewards()
        self.agent_selection = AGENTS[int(self.core.mover_B[0])]

    def render(self) -> str | None:
        """Pool, utilities and the last proposal as text."""
        if self.render_mode is None:
            return None
        core = self.core
        lines = [f"pool {core.pool_BI[0].tolist()}, turn {core.turn}"]
        lines += [f"{name} values {core.utilities_B2I[0, i].tolist()}" for i, name in enumerate(AGENTS)]
        if core.turn:
            lines.append(f"{AGENTS[1 - int(core.mover_B[0])]} wants {core.proposal_BI[0].tolist()}")
        return "\n".join(lines)

    def close(self) -> None:
        """Nothing to close."""

    def _end(self, turn: Turn) -> None:
        self.terminations = dict.fromkeys(AGENTS, True)
        for place, agent in enumerate(AGENTS):
            self.infos[agent] = {
                "agreed": bool(turn.agreed_B[0]), "turns": self.core.turn, "own": float(turn.own_B2[0, place]),
                "joint": float(turn.joint_B[0]),
            }  # fmt: skip

    def _checked(self, agent: str, action: Any) -> tuple[bool, NDArray[np.int64], NDArray[np.int64]]:
        spaces = self._action_space.spaces
        if not isinstance(action, dict) or set(action) != set(spaces):
            raise BadEnv(
                f"the action of {agent} is {action!r}; it must be a dict of {', '.join(sorted(spaces))}."
            )
        for name, space in spaces.items():
            given = np.asarray(action[name])
            shape = space.shape or ()
            if (
                given.shape != shape
                or given.dtype.kind not in "iub"
                or not space.contains(_typed(space, given))
            ):
                raise BadEnv(f"the {name} of {agent} is {action[name]!r}; it must be in {space}.")
        terminate = bool(action.get("terminate", False))
        return terminate, np.asarray(action["proposal"], np.int64), np.asarray(action["utterance"], np.int64)


def _typed(space: Space[Any], given: NDArray[Any]) -> Any:
    return np.int64(given) if isinstance(space, Discrete) else given.astype(space.dtype)


def _spaces(core: NegotiationCore) -> tuple[Dict, Dict]:
    quantities = MultiDiscrete([core.max_quantity + 1] * core.items)
    heard = MultiDiscrete([core.vocabulary] * core.utterance_length)
    observation = Dict({
        "pool": quantities, "utility": MultiDiscrete([core.max_utility + 1] * core.items),
        "opp_proposal": quantities, "opp_utterance": heard, "first_turn": Discrete(2),
    })  # fmt: skip
    spoken: Space[Any] = MultiBinary(core.utterance_length) if core.speech == "masked" else heard
    action = {"proposal": quantities, "utterance": spoken}
    if core.termination == "accept":
        action["terminate"] = Discrete(2)
    return observation, Dict(action)
