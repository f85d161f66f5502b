"""Record evaluation episodes of a team as plain arrays, with its channel as it is or with the inbox ablated.

``record(source, ...)`` plays on a rollout worker, or on one worker of an algorithm. Ablations say what the channel is
worth at the moment of acting (positive listening in the sense of Lowe et al. 2019): ``zero`` empties every inbox,
``shuffle`` gives each listener the inbox that it has in another of the environments that run side by side, so that
messages look as they always do and say nothing of this episode. Inboxes in which nothing arrived stay empty, so that
nobody hears anything at the first step of an episode.

Recordings with the same seed and number of environments begin with the same episodes, whatever is done to the inboxes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.batched import BatchedEnv, Ints, Moment, Step
from rllib_ext.analysis.protocol_symmetry import elsewhere
from rllib_ext.analysis.recordings import Recording
from rllib_ext.contrastive_comm.runner import CommEnvRunner
from rllib_ext.errors import BadConfig, BadEnv, Stalled, unknown_name

INBOXES = ("none", "zero", "shuffle")
#: Observations that are put to every agent, for the symmetry of the protocol.
MOST_SPOKEN = 2000
RESULTS = {"episode_return_mean": "return", "episode_len_mean": "length"}
Floats = NDArray[np.float32]
Hear = Callable[[Floats], Floats]


def record(
    source: Any,
    episodes: int = 30,
    *,
    inbox: str = "none",
    seed: int = 0,
    explore: bool = False,
    pictures: bool | None = False,
    timeout_s: float | None = None,
) -> Recording:
    """Record ``episodes`` episodes. source: a CommEnvRunner, or an algorithm, whose first worker that answers plays them.

    inbox: "none", "zero" or "shuffle"; explore: draw actions instead of taking the likeliest; pictures: keep frames of
    the first episode, None: where the environment draws any; timeout_s: how long an algorithm's worker may take, its
    ``sample_timeout_s`` by default.

    Raises:
        BadConfig: an inbox of another name, or a shuffle with a single environment.
        Stalled: no worker of the algorithm answered in time.
    """
    asked: dict[str, Any] = {"inbox": inbox, "seed": seed, "explore": explore, "pictures": pictures}
    if isinstance(source, CommEnvRunner):
        return play_and_note(source, episodes, **asked)
    return on_one_worker(source, lambda runner: play_and_note(runner, episodes, **asked), timeout_s)


def on_one_worker(algorithm: Any, function: Callable[[Any], Any], timeout_s: float | None = None) -> Any:
    """``function(worker)`` of the algorithm's first healthy rollout worker, or of the local one where it has no other.

    Raises Stalled where it did not answer within ``timeout_s`` (the config's ``sample_timeout_s`` by default).
    """
    group = algorithm.env_runner_group
    timeout_s = algorithm.config.sample_timeout_s if timeout_s is None else timeout_s
    remote = group.healthy_worker_ids()[:1] if group.num_remote_workers() else []
    answers = group.foreach_env_runner(
        function, local_env_runner=not remote, remote_worker_ids=remote, timeout_seconds=timeout_s
    )
    if not answers:
        raise Stalled(
            f"the rollout worker that was asked did not answer within {timeout_s:g} s; ask for fewer episodes, or raise "
            "timeout_s"
        )
    return answers[0]


def play_and_note(
    runner: CommEnvRunner, episodes: int, *, inbox: str, seed: int, explore: bool, pictures: bool | None
) -> Recording:
    """`record` on the worker itself."""
    if episodes < 1:
        raise BadConfig(f"episodes is {episodes}; record 1 or more")
    hear = inbox_changer(inbox, runner.num_envs, seed)
    env, noted = runner.env, _Noted(runner.env, seed, pictures)
    notes = _Notes(noted)
    runner.env = noted
    try:
        played, _, _ = runner.play_episodes(episodes, explore=explore, hear=hear, watch=notes)
    finally:
        runner.env = env
    columns = notes.columns()
    asked_KO = _some(columns["observations"], columns["active"], seed)
    about = {
        "method": runner.config.comm, "env": _name(runner.config.env), "seed": runner.config.seed, "inbox": inbox,
        "agents": list(env.possible_agents), "filmed": notes.number_of(0) if noted.frames else -1,
    }  # fmt: skip
    frames = {"frames": np.stack(noted.frames)} if noted.frames else {}
    return Recording(
        **columns,
        spoken=said_by_all(runner.policy, asked_KO),
        facts=notes.facts(),
        results=_results(played),
        **frames,
        about=about,
    )


def inbox_changer(inbox: str, num_envs: int, seed: int) -> Hear | None:
    """(B, A, W) inboxes -> what is heard instead; None where nothing is changed."""
    if inbox not in INBOXES:
        raise unknown_name("ablation of the inbox", inbox, INBOXES)
    if inbox == "shuffle":
        if num_envs < 2:
            raise BadConfig(
                "inbox='shuffle' with one environment: there is no other inbox; set num_envs_per_env_runner to 2 or more"
            )
        draw = np.random.default_rng((seed, 1))
        return lambda inbox_BAW: shuffled(inbox_BAW, draw)
    return np.zeros_like if inbox == "zero" else None


def shuffled(inbox_BAW: Floats, draw: np.random.Generator) -> Floats:
    """Each agent's inboxes permuted over the environments in which it heard anything; none keeps its own, if two did."""
    mixed = inbox_BAW.copy()
    for agent in range(inbox_BAW.shape[1]):
        rows = np.flatnonzero(inbox_BAW[:, agent].any(-1))
        if len(rows) > 1:
            mixed[rows, agent] = inbox_BAW[rows[elsewhere(len(rows), draw)], agent]
    return mixed


@torch.no_grad()
def said_by_all(policy: Any, observations_KO: Floats) -> Floats:
    """(K, A, D): what every agent's own encoder and message head say to each of K observations."""
    observations_AKO = torch.from_numpy(observations_KO).expand(policy.agents, -1, -1)
    return policy.speak(policy.encode(observations_AKO)).transpose(0, 1).contiguous().numpy()


def _some(observations_SAO: Floats, active_SA: NDArray[np.bool_], seed: int) -> Floats:
    """Up to MOST_SPOKEN of the observations of active agents, drawn without replacement."""
    seen = np.argwhere(active_SA)
    chosen = np.sort(np.random.default_rng((seed, 2)).permutation(len(seen))[:MOST_SPOKEN])
    return observations_SAO[tuple(seen[chosen].T)]


def _results(played: list[dict[str, float]]) -> dict[str, NDArray[np.float64]]:
    """One array a measure; RLlib's name of an episode's figure becomes the short one, agents' returns are left out."""
    names = dict.fromkeys(name for episode in played for name in episode if "/" not in name)
    return {
        RESULTS.get(name, name): np.array([episode.get(name, np.nan) for episode in played]) for name in names
    }


def _name(env: Any) -> str:
    return env if isinstance(env, str) else getattr(env, "__name__", type(env).__name__)


class _Noted(BatchedEnv):
    """The environment of a rollout worker, with what was true before each step beside it.

    Begins by ``seed`` whatever the worker draws. frames: of the first episode of copy 0, one a decision.
    """

    def __init__(self, env: BatchedEnv, seed: int, pictures: bool | None) -> None:
        self._env, self._seed = env, seed
        self._filming, self._must_draw = pictures is not False, bool(pictures)
        self.num_envs, self.possible_agents = env.num_envs, env.possible_agents
        self.observation_sizes, self.action_counts = env.observation_sizes, env.action_counts
        self.before: dict[str, NDArray[Any]] = {}
        self.frames: list[NDArray[np.uint8]] = []

    def reset(self, seed: int | None = None) -> Moment:
        return self._env.reset(self._seed)

    def step(self, actions_BA: Ints) -> Step:
        facts = getattr(self._env, "facts", dict)()  # only environments written on arrays have them
        self.before = {name: np.array(of_BA) for name, of_BA in facts.items()}
        if self._filming:
            self._film()
        step = self._env.step(actions_BA)
        self._filming = self._filming and not step.done_B[0]
        return step

    def _film(self) -> None:
        try:
            self.frames.append(self._env.render(0))
        except (NotImplementedError, BadEnv):
            if self._must_draw:
                raise
            self._filming = False


class _Notes:
    """What `CommEnvRunner.play_episodes` lets one watch, as columns. Episodes are numbered in the order of their ends."""

    def __init__(self, noted: _Noted) -> None:
        self._noted = noted
        rows = noted.num_envs
        self._episode_B, self._time_B = np.arange(rows), np.zeros(rows, np.int64)
        self._begun, self._ended = rows, []
        self._columns: dict[str, list[NDArray[Any]]] = {}
        self._facts: dict[str, list[NDArray[Any]]] = {}

    def __call__(self, wanted_B: NDArray[np.bool_], now: Moment, decision: Any, step: Step) -> None:
        said_BAD = decision.said_BAD * now.active_BA[..., None]
        columns = {
            "observations": now.observations_BAO, "messages": said_BAD, "actions": decision.actions_BA,
            "active": now.active_BA, "episode": self._episode_B, "time": self._time_B,
        }  # fmt: skip
        for kept, found in ((self._columns, columns), (self._facts, self._noted.before)):
            for name, values in found.items():
                kept.setdefault(name, []).append(values[wanted_B])
        self._ended += self._episode_B[wanted_B & step.done_B].tolist()
        self._time_B = np.where(step.done_B, 0, self._time_B + 1)
        count = int(step.done_B.sum())
        self._episode_B = self._episode_B.copy()
        self._episode_B[step.done_B] = self._begun + np.arange(count)
        self._begun += count

    def number_of(self, begun: int) -> int:
        """The number of the recorded episode that was begun as this one."""
        return self._ended.index(begun)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Rows of the same episode one after the other, in its order."""
        found = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        numbers = np.full(self._begun, -1)
        numbers[self._ended] = np.arange(len(self._ended))
        found["episode"] = numbers[found["episode"]]
        self._order = np.lexsort((found["time"], found["episode"]))
        return {name: values[self._order] for name, values in found.items()}

    def facts(self) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate(parts)[self._order] for name, parts in self._facts.items()}
