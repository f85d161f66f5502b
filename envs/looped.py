"""Any PettingZoo environment as a batch: B of them, stepped one after another, seen through `BatchedEnv`'s arrays.

What is done to fit an environment in:

- observations are flattened (Box, Discrete, MultiDiscrete, MultiBinary, Dict, Tuple, as `gymnasium.spaces.flatten` does)
  and padded with zeros to the longest; of a Dict with "action_mask", the mask becomes ``masks_BAN``, the rest the
  observation
- actions must be Discrete; a start other than 0 is added back
- agents keep their places. One that dies, comes late, or whose info says ``"active": False`` is not active; nobody may
  come back. An episode is done when nobody is left, however each of them ended, and the next begins in the same step
- each episode has a seed of its own, drawn from the copy's, so that an error can name one that repeats it

What an environment must not do (`envs.contract`) raises BadEnv. One that raises by itself is closed and made anew within
a budget; its episode is cut off where it was: truncated, no reward for that step, and the observation before it as the
last one. Such episodes are counted (``restarts``, and the measure ``cut_by_error``), and when the budget is used up
BadEnv tells what was raised. Left out: environments that hang (a thread cannot be ended), continuous actions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.batched import BatchedEnv, Ints, Moment, Step
from envs.contract import Contract, Returned, as_parallel
from envs.errors import BadEnv
from envs.flattening import flat_agent

log = logging.getLogger(__name__)


class LoopedEnv(BatchedEnv):
    """B PettingZoo environments, one after another; see the module.

    make       gives a new environment, parallel or AEC (which must be parallelizable), at each call
    measures   names of entries of ``infos`` that are read when an episode ends (mean over the agents that ended then)
    max_restarts   how many times, over all copies, an environment that raised is made anew
    """

    def __init__(
        self,
        make: Callable[[], Any],
        num_envs: int,
        *,
        measures: Sequence[str] = (),
        max_restarts: int = 3,
    ) -> None:
        if num_envs < 1 or max_restarts < 0:
            raise BadEnv(
                f"num_envs = {num_envs} must be 1 or more, and max_restarts = {max_restarts} 0 or more."
            )
        self._make, self.num_envs, self.max_restarts, self.restarts = make, num_envs, max_restarts, 0
        self._measures = tuple(measures)
        self._contracts = [self._made() for _ in range(num_envs)]
        self.possible_agents = self._contracts[0].possible_agents
        self._place = {agent: place for place, agent in enumerate(self.possible_agents)}
        self._read_spaces()
        self._generators = [
            np.random.default_rng(child) for child in np.random.SeedSequence().spawn(num_envs)
        ]
        self._moment: Moment | None = None

    def _made(self) -> Contract:
        contract = Contract(as_parallel(self._make()), bounds=False)
        known = getattr(self, "possible_agents", contract.possible_agents)
        if contract.possible_agents != known:
            raise BadEnv(
                f"{contract.name}: possible_agents must be the same in every copy; they are {known} and "
                f"{contract.possible_agents}."
            )
        return contract

    def _read_spaces(self) -> None:
        contract = self._contracts[0]
        self._flat = {agent: flat_agent(contract, agent) for agent in self.possible_agents}
        flats = list(self._flat.values())
        self.observation_sizes = tuple(flat.size for flat in flats)
        self.action_counts = tuple(flat.actions for flat in flats)
        counts_A1 = np.array(self.action_counts)[:, None]
        self._legal_AN = np.arange(counts_A1.max()) < counts_A1
        self._has_masks = any(flat.masked for flat in flats) or not self._legal_AN.all()

    def reset(self, seed: int | None = None) -> Moment:
        if seed is not None:
            children = np.random.SeedSequence(seed).spawn(self.num_envs)
            self._generators = [np.random.default_rng(child) for child in children]
        self._moment = moment = self._blank()
        for copy in range(self.num_envs):
            self._begin(copy, moment)
        return moment

    def _blank(self) -> Moment:
        shape = (self.num_envs, len(self.possible_agents))
        masks = np.broadcast_to(self._legal_AN, (self.num_envs, *self._legal_AN.shape)).copy()
        return Moment(
            observations_BAO=np.zeros((*shape, max(self.observation_sizes)), np.float32),
            active_BA=np.zeros(shape, bool),
            first_BA=np.zeros(shape, bool),
            masks_BAN=masks if self._has_masks else None,
        )

    def _begin(self, copy: int, moment: Moment) -> None:
        """A new episode in this copy, written into the moment."""
        while True:
            contract, seed = self._contracts[copy], int(self._generators[copy].integers(2**31))
            try:
                returned = contract.env.reset(seed=seed)
            except BadEnv:
                raise
            except Exception as error:  # whatever a user's environment may raise
                contract.seed, contract.step = seed, 0
                self._restart(copy, error)
                continue
            break
        observations, infos = contract.after_reset(returned, seed)
        for agent in contract.agents:
            self._write(moment, copy, agent, observations[agent], infos[agent], first=True)

    def _restart(self, copy: int, error: Exception) -> None:
        """A new environment in the place of one that raised. Raises BadEnv when the budget is used up."""
        contract = self._contracts[copy]
        what = (
            f"{contract.name}: copy {copy} raised {type(error).__name__}: {error} after step {contract.step} "
            f"(seed {contract.seed})"
        )
        if self.restarts >= self.max_restarts:
            raise BadEnv(
                f"{what}, and all {self.max_restarts} restarts are used up; mend the environment, or raise max_restarts."
            ) from error
        self.restarts += 1
        log.warning("%s; made anew (%d of %d restarts)", what, self.restarts, self.max_restarts)
        try:
            contract.env.close()
        except Exception as closing:  # it is broken already; that it cannot close either is worth a line
            log.warning("%s: close raised %s: %s", contract.name, type(closing).__name__, closing)
        self._contracts[copy] = self._made()

    def step(self, actions_BA: Ints) -> Step:
        before = self._moment
        if before is None:
            raise BadEnv("LoopedEnv.step was called before reset; call reset first.")
        self._check_actions(actions_BA, before)
        now, last, shape = self._blank(), self._blank(), before.active_BA.shape
        rewards_BA, done_B = np.zeros(shape, np.float32), np.zeros(self.num_envs, bool)
        terminated_BA, truncated_BA = np.zeros(shape, bool), np.zeros(shape, bool)
        measures = {name: np.full(self.num_envs, np.nan) for name in (*self._measures, "cut_by_error")}
        for copy in range(self.num_envs):
            returned = self._advance(copy, actions_BA[copy])
            if returned is None:  # it raised: cut off where it was
                self._keep(last, before, copy)
                truncated_BA[copy] = before.active_BA[copy]
                done_B[copy], measures["cut_by_error"][copy] = True, 1.0
                self._begin(copy, now)
                continue
            active_A = before.active_BA[copy]
            rewards_BA[copy] = self._row(returned.rewards) * active_A
            terminated_BA[copy] = self._row(returned.terminated).astype(bool) & active_A
            truncated_BA[copy] = self._row(returned.truncated).astype(bool) & active_A
            for agent, over in returned.terminated.items():
                if over or returned.truncated[agent]:
                    self._write(last, copy, agent, returned.observations[agent], {}, first=False)
            if returned.agents:
                self._go_on(now, before, copy, returned)
                continue
            done_B[copy], measures["cut_by_error"][copy] = True, 0.0
            self._measure(measures, copy, returned.infos)
            self._begin(copy, now)
        self._moment = now
        ended = bool((terminated_BA | truncated_BA).any())
        return Step(now, rewards_BA, terminated_BA, truncated_BA, done_B, last if ended else None, measures)

    def _advance(self, copy: int, actions_A: Ints) -> Returned | None:
        """One step of one environment; None where it raised and was made anew."""
        contract = self._contracts[copy]
        chosen = {}
        for agent in contract.agents:
            place = self._place[agent]
            chosen[agent] = int(actions_A[place]) * self._active(copy, place) + self._flat[agent].start
        try:
            returned = contract.env.step(chosen)
        except BadEnv:
            raise
        except Exception as error:  # whatever a user's environment may raise
            self._restart(copy, error)
            return None
        return contract.after_step(returned)

    def _active(self, copy: int, place: int) -> bool:
        return self._moment is not None and bool(self._moment.active_BA[copy, place])

    def _go_on(self, now: Moment, before: Moment, copy: int, returned: Returned) -> None:
        """What is seen next in an episode that goes on; whoever was not active before is there for the first time."""
        for agent in returned.agents:
            came = not before.active_BA[copy, self._place[agent]]
            self._write(now, copy, agent, returned.observations[agent], returned.infos[agent], first=came)

    def _write(
        self, moment: Moment, copy: int, agent: str, seen: Any, info: Mapping[str, Any], *, first: bool
    ) -> None:
        """One agent's observation, flat, with its mask; nothing where its place is empty for the moment."""
        if not info.get("active", True):
            return
        place, contract = self._place[agent], self._contracts[copy]
        seen_O, legal_N = self._flat[agent].split(contract, agent, seen)
        if moment.masks_BAN is not None and legal_N is not None:
            moment.masks_BAN[copy, place, : len(legal_N)] = legal_N
        moment.observations_BAO[copy, place, : len(seen_O)] = seen_O
        moment.active_BA[copy, place] = True
        moment.first_BA[copy, place] = first

    def _keep(self, last: Moment, before: Moment, copy: int) -> None:
        """The moment before as the last one of an episode whose environment raised."""
        last.observations_BAO[copy] = before.observations_BAO[copy]
        last.active_BA[copy] = before.active_BA[copy]
        if last.masks_BAN is not None and before.masks_BAN is not None:
            last.masks_BAN[copy] = before.masks_BAN[copy]

    def _row(self, values: Mapping[str, float]) -> NDArray[np.float32]:
        row_A = np.zeros(len(self.possible_agents), np.float32)
        for agent, value in values.items():
            row_A[self._place[agent]] = value
        return row_A

    def _measure(
        self, measures: Mapping[str, NDArray[np.float64]], copy: int, infos: Mapping[str, Mapping[str, Any]]
    ) -> None:
        for name in self._measures:
            told = [float(info[name]) for info in infos.values() if name in info]
            if told:
                measures[name][copy] = np.mean(told)

    def _check_actions(self, actions_BA: Ints, before: Moment) -> None:
        """Raises BadEnv where an active agent's action is none of its own, or masked."""
        actions_BA = np.asarray(actions_BA)
        if actions_BA.shape != before.active_BA.shape or actions_BA.dtype.kind not in "iu":
            raise BadEnv(
                f"actions are {actions_BA.dtype} of shape {actions_BA.shape}; they must be integers of shape "
                f"{before.active_BA.shape}."
            )
        legal_BAN = self._legal_AN[None] if before.masks_BAN is None else before.masks_BAN
        width = self._legal_AN.shape[1]
        inside_BA = (actions_BA >= 0) & (actions_BA < width)
        index_BA1 = np.where(inside_BA, actions_BA, 0)[..., None]
        legal_BAN = np.broadcast_to(legal_BAN, (*actions_BA.shape, width))
        wrong_BA = before.active_BA & ~(inside_BA & np.take_along_axis(legal_BAN, index_BA1, -1)[..., 0])
        if wrong_BA.any():
            copy, place = np.argwhere(wrong_BA)[0]
            legal = np.flatnonzero(legal_BAN[copy, place]).tolist()
            raise self._contracts[copy].wrong(
                self.possible_agents[place], "action", f"one of {legal}", int(actions_BA[copy, place])
            )

    def close(self) -> None:
        """Close every environment, once."""
        contracts, self._contracts = self._contracts, []
        for contract in contracts:
            contract.env.close()

    def render(self, copy: int = 0) -> NDArray[np.uint8]:
        picture = self._contracts[copy].env.render()
        if not isinstance(picture, np.ndarray):
            raise NotImplementedError(
                f'{self._contracts[copy].name} gave no picture; make it with render_mode="rgb_array".'
            )
        return picture
