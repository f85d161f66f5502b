"""LoopedEnv against the environments that it loops over: comings and goings, padding, masks, faults, restarts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grid_rules import same_walks
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiDiscrete
from mpe2 import simple_reference_v3, simple_speaker_listener_v4
from parallel_fixture import Scripted

from envs.errors import BadEnv
from envs.grid import Beacon
from envs.looped import LoopedEnv


def ones(batched: LoopedEnv) -> np.ndarray:
    return np.ones((batched.num_envs, len(batched.possible_agents)), np.int64)


class Strict(Scripted):
    """Must not be stepped when nobody is left."""

    steps_nobody = False


def test_staggered_and_mixed_endings() -> None:
    """b is cut off at 6, then a ends and c is cut off in one step: done, though neither is everybody's ending."""
    batched = LoopedEnv(Strict, 2, measures=("length",))
    now = batched.reset(seed=0)
    assert now.first_BA.all() and now.active_BA.all() and now.masks_BAN is None
    for time in range(1, 10):
        step = batched.step(ones(batched))
        a, b, c = range(3)
        assert step.rewards_BA.tolist() == [[1, time <= 6, 1]] * 2
        assert step.terminated_BA.tolist() == [[time == 9, False, False]] * 2
        assert step.truncated_BA.tolist() == [[False, time == 6, time == 9]] * 2
        assert step.done_B.all() == (time == 9)
        assert (step.last is not None) == (time in (6, 9))
        if time == 6:
            assert step.last is not None
            assert step.last.observations_BAO[0, b, 1] == pytest.approx(6 / 1000)
            assert not step.now.active_BA[:, b].any() and not step.now.observations_BAO[:, b].any()
        if time == 9:
            assert step.last is not None
            assert step.last.observations_BAO[:, [a, c], 1] == pytest.approx(9 / 1000)
            assert step.now.active_BA.all() and step.now.first_BA.all(), "the next episode has begun"
            assert (step.now.observations_BAO[:, :, 1] == 0).all()
            assert step.measures["length"].tolist() == [9, 9]
        else:
            assert not step.now.first_BA.any() and np.isnan(step.measures["length"]).all()


def test_agents_that_come_late() -> None:
    timetable = {"a": (0, 4, "terminated"), "late": (2, 5, "truncated"), "later": (4, 7, "terminated")}
    batched = LoopedEnv(lambda: Scripted(timetable), 1)
    moments = [batched.reset(seed=0)]
    steps = [batched.step(ones(batched)) for _ in range(7)]
    moments += [step.now for step in steps]
    active = [moment.active_BA[0].tolist() for moment in moments[:7]]
    assert (
        active
        == [[True, False, False]] * 2
        + [[True, True, False]] * 2
        + [[False, True, True]]
        + [[False, False, True]] * 2
    )
    assert [moment.first_BA[0].tolist() for moment in moments[:5]] == [
        [True, False, False],
        [False, False, False],
        [False, True, False],
        [False, False, False],
        [False, False, True],
    ]
    assert [step.done_B[0] for step in steps] == [False] * 6 + [True]
    assert np.array([step.rewards_BA[0] for step in steps]).sum(0).tolist() == [4, 3, 3]


def test_seeds_and_copies() -> None:
    assert same_walks(LoopedEnv(Scripted, 3), LoopedEnv(Scripted, 3), (4, 4))
    assert not same_walks(LoopedEnv(Scripted, 3), LoopedEnv(Scripted, 3), (4, 5))
    first = LoopedEnv(Scripted, 3).reset(seed=1).observations_BAO
    assert not np.array_equal(first[0], first[1])


def test_unlike_agents_are_padded() -> None:
    batched = LoopedEnv(simple_speaker_listener_v4.parallel_env, 2)
    assert batched.possible_agents == ("speaker_0", "listener_0")
    assert batched.observation_sizes == (3, 11) and batched.action_counts == (3, 5)
    now = batched.reset(seed=0)
    assert now.observations_BAO.shape == (2, 2, 11) and not now.observations_BAO[:, 0, 3:].any()
    assert now.masks_BAN is not None
    assert now.masks_BAN.tolist() == [[[True] * 3 + [False] * 2, [True] * 5]] * 2
    with pytest.raises(
        BadEnv, match=r"action of speaker_0 at reset \(seed \d+\): expected one of \[0, 1, 2\], got 3"
    ):
        batched.step(np.array([[0, 4], [3, 0]]))
    lengths = [bool(batched.step(np.array([[2, 4], [0, 0]])).truncated_BA.all()) for _ in range(50)]
    assert [i for i, cut in enumerate(lengths) if cut] == [24, 49]


def test_array_values_are_those_of_the_environment() -> None:
    batched, env = LoopedEnv(simple_reference_v3.parallel_env, 1), simple_reference_v3.parallel_env()
    now = batched.reset(seed=7)
    seen, _ = env.reset(seed=batched._contracts[0].seed)
    draw = np.random.default_rng(0)
    for _ in range(25):
        assert np.array_equal(now.observations_BAO[0], np.stack(list(seen.values())))
        actions_BA = draw.integers(50, size=(1, 2))
        step = batched.step(actions_BA)
        seen, rewards, *_ = env.step(dict(zip(env.agents, actions_BA[0].tolist(), strict=True)))
        assert step.rewards_BA[0] == pytest.approx(list(rewards.values()))
        now = step.now
    assert step.last is not None
    assert np.array_equal(step.last.observations_BAO[0], np.stack(list(seen.values())))


def test_a_face_looped_is_its_core() -> None:
    batched = LoopedEnv(lambda: Beacon(agents=2), 4, measures=("success",))
    core = Beacon(agents=2).batched(4)
    assert batched.observation_sizes == core.observation_sizes
    assert batched.action_counts == core.action_counts
    batched.reset(seed=3)
    for _ in range(40):
        step = batched.step(ones(batched))
        assert (np.isnan(step.measures["success"]) == ~step.done_B).all()


class Masked(Scripted):
    """Observations with an action mask; actions from 5 on; spaces of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        masked = {"observation": MultiDiscrete([2, 3]), "action_mask": Box(0, 1, (3,), np.int8)}
        more = {
            "act": Discrete(4),
            "box": Box(0, 1, (2, 2), np.float32),
            "action_mask": masked["action_mask"],
        }
        self._observation_spaces |= {"a": Dict(masked), "b": Dict(more), "c": Discrete(3)}
        self._action_spaces["a"] = Discrete(3, start=5)
        self.heard: list[int] = []

    def look(self, agent: str) -> Any:
        mask = np.array([self.time % 2, 1, 1], np.int8)
        if agent == "a":
            return {"observation": np.array([1, 2]), "action_mask": mask}
        if agent == "b":
            return {"act": 3, "box": np.full((2, 2), 0.25, np.float32), "action_mask": mask}
        return 1

    def step(self, actions: dict[str, int]) -> Any:
        assert all(self.action_space(agent).contains(action) for agent, action in actions.items())
        return super().step(actions)


def test_masks_and_flattening() -> None:
    batched = LoopedEnv(Masked, 1)
    now = batched.reset(seed=0)
    assert batched.observation_sizes == (5, 8, 3)
    assert now.observations_BAO[0, 0].tolist() == [0, 1, 0, 0, 1, 0, 0, 0]
    assert now.observations_BAO[0, 1].tolist() == [0, 0, 0, 1, 0.25, 0.25, 0.25, 0.25]
    assert now.observations_BAO[0, 2].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert now.masks_BAN is not None
    assert now.masks_BAN[0].tolist() == [[False, True, True]] * 2 + [[True] * 3]
    with pytest.raises(BadEnv, match=r"action of a at reset .*: expected one of \[1, 2\], got 0"):
        batched.step(np.zeros((1, 3), int))
    step = batched.step(ones(batched))
    assert step.rewards_BA.tolist() == [[6, 1, 1]], "the start of the action space is added back"
    assert step.now.masks_BAN is not None and step.now.masks_BAN.all()


def fails(share: float, where: str) -> type[Scripted]:
    """An environment that raises now and then, in reset or in step."""
    draw = np.random.default_rng(0)

    class Failing(Scripted):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            if where == "reset" and draw.random() < share:
                raise OSError("simulator is gone")
            return super().reset(seed, options)

        def step(self, actions: dict[str, int]) -> Any:
            if where == "step" and draw.random() < share:
                raise OSError("simulator is gone")
            return super().step(actions)

    return Failing


@pytest.mark.fault("E6", tries=2)
@pytest.mark.parametrize("where", ["step", "reset"])
def test_one_that_raises_is_restarted_within_its_budget(where: str) -> None:
    batched = LoopedEnv(fails(0.05, where), 4, max_restarts=20)
    before, cut = batched.reset(seed=0), 0
    with pytest.raises(
        BadEnv, match=r"scripted_v0: copy \d raised OSError: simulator is gone .*20 restarts are used"
    ):
        for _ in range(3000):
            step = batched.step(ones(batched))
            for copy in np.flatnonzero(step.measures["cut_by_error"] == 1):
                cut += 1
                assert step.truncated_BA[copy].tolist() == before.active_BA[copy].tolist()
                assert not step.terminated_BA[copy].any() and not step.rewards_BA[copy].any()
                assert step.last is not None
                assert np.array_equal(step.last.observations_BAO[copy], before.observations_BAO[copy])
                assert step.now.first_BA[copy].all()
            before = step.now
    assert batched.restarts == 20
    assert cut == (20 if where == "step" else 0)


def test_without_a_budget_the_first_error_ends_it() -> None:
    batched = LoopedEnv(fails(1.0, "step"), 1, max_restarts=0)
    batched.reset(seed=0)
    with pytest.raises(BadEnv, match=r"raised OSError.*max_restarts") as caught:
        batched.step(ones(batched))
    assert isinstance(caught.value.__cause__, OSError)


def test_broken_values_are_named() -> None:
    def spoil(_: Scripted, returned: tuple[Any, ...]) -> tuple[Any, ...]:
        returned[0]["b"] = np.full(3, np.nan, np.float32)
        return returned

    batched = LoopedEnv(lambda: Scripted(broken=(4, spoil)), 2)
    batched.reset(seed=0)
    for _ in range(3):
        batched.step(ones(batched))
    with pytest.raises(
        BadEnv, match=r"scripted_v0: observation of b at step 4 \(seed \d+\): expected finite numbers"
    ):
        batched.step(ones(batched))


class Odd(Scripted):
    """Spaces that do not fit in arrays."""

    def __init__(self, observation: Any = None, action: Any = None) -> None:
        super().__init__()
        if observation is not None:
            self._observation_spaces["b"] = observation
        if action is not None:
            self._action_spaces["b"] = action


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Odd(action=Box(0, 1, (2,), np.float32)),
            "b does not fit in: its action space is Box.*only Discrete",
        ),
        (
            lambda: Odd(observation=Graph(Box(0, 1, (2,)), None)),
            "b does not fit in: its observation space is Graph.*no flat form",
        ),
        (lambda: "nothing", "must be a PettingZoo ParallelEnv"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make: Any, said: str) -> None:
    with pytest.raises(BadEnv, match=said):
        LoopedEnv(make, 1)


def test_aec_environments_are_converted_or_refused() -> None:
    from envs.lewis import LewisDrift

    batched = LoopedEnv(simple_reference_v3.env, 1)
    assert batched.reset(seed=0).active_BA.all()
    with pytest.raises(BadEnv, match="lewis_drift_v0: its agents take turns"):
        LoopedEnv(LewisDrift, 1)


def test_close_and_render() -> None:
    batched = LoopedEnv(Scripted, 2)
    envs = [contract.env for contract in batched._contracts]
    assert batched.render(1).shape == (8, 8, 3)
    batched.close()
    batched.close()
    assert [env.closed for env in envs] == [1, 1]
