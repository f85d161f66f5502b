"""TextEnv: Gymnasium's contract, episodes of one and several turns, and what it refuses."""

import copy
import json
import math
import pickle
import warnings

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import envs.text
from envs.errors import BadData, BadEnv
from envs.text import CallableReward, Reward, Sample, Task, TextEnv
from envs.text.base import Step
from envs.text.space import FreeText

CHAT = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"})


class Length(Reward):
    """Number of characters of all turns; no score for one of the answers."""

    name = "length"
    closed = 0

    def score(self, samples):
        return [None if s.completion == "what?" else float(sum(map(len, s.turns))) for s in samples]

    def close(self):
        self.closed += 1


def tasks(count=7):
    return [Task(f"t{i}", f"prompt {i}", f"reference {i}", {"level": i}) for i in range(count)]


def make(**settings):
    return TextEnv(tasks(), Length(), **settings)


class Guess(TextEnv):
    """Guess the task's word within three turns; the environment answers with a hint."""

    def __init__(self, **settings):
        super().__init__(
            [Task("g", "Guess.", "plum"), Task("h", CHAT, "fig")], Length(), max_turns=3, **settings
        )

    def reply(self, turns):
        return (
            None if turns[-1] == self.current.reference else f"hint {len(turns)}: {self.current.reference[0]}"
        )


@pytest.mark.parametrize(
    "build", [make, lambda: make(render_mode="ansi"), Guess], ids=["plain", "ansi", "turns"]
)
def test_gymnasiums_own_check_passes(build):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Not able to test alternative render modes.*")
        check_env(build())


def test_it_works_behind_gymnasiums_wrappers_and_registry():
    gymnasium.register("rllib_ext_test/Text-v0", entry_point=make)
    try:
        env = gymnasium.make("rllib_ext_test/Text-v0")
        env.reset(seed=0)
        assert env.step("abc")[1:4] == (3.0, True, False)
    finally:
        del gymnasium.registry["rllib_ext_test/Text-v0"]


def test_one_turn_ends_the_episode_with_the_score():
    env = make()
    prompt, info = env.reset(options={"index": 3})
    assert prompt == "prompt 3"
    assert info == {"id": "t3", "index": 3, "reference": "reference 3", "level": 3}
    assert env.step("four") == ("", 4.0, True, False, {})


@pytest.mark.fault("D1")
def test_an_unscored_answer_has_a_reason_and_no_number():
    env = make()
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step("what?")
    assert math.isnan(reward) and terminated and "None" in info["unscored"]


@pytest.mark.fault("E1")
def test_a_reward_that_raises_or_hangs_leaves_the_episode_unscored():
    def reward(*, prompt, completion, reference):
        while completion == "hang":
            pass
        raise ValueError("no")

    env = TextEnv(tasks(), CallableReward(reward, timeout_s=0.5))
    try:
        for completion, reason in [("hang", "timed out"), ("x", "ValueError")]:
            env.reset(seed=0)
            _, score, _, _, info = env.step(completion)
            assert math.isnan(score) and reason in info["unscored"]
    finally:
        env.close()


def test_equal_seeds_give_equal_episodes_and_other_seeds_others():
    def walk(env, seed):
        first = env.reset(seed=seed)
        return [first, *(env.reset() for _ in range(20))]

    assert walk(make(), 5) == walk(make(), 5) == walk(make().spawn(), 5)
    assert walk(make(), 5) != walk(make(), 6)
    assert {info["index"] for _, info in walk(make(), 5)} == set(range(7)), "every task is drawn"


def test_an_index_does_not_use_up_randomness():
    one, other = make(), make()
    one.reset(seed=1)
    other.reset(seed=1, options={"index": 2})
    other.reset(seed=1)
    assert one.reset() == other.reset()


def test_advance_leaves_the_scoring_to_the_caller():
    env = make()
    env.reset(options={"index": 1})
    step = env.advance("done")
    assert step == Step(None, True, False, Sample(env.task(1), "done", ("done",)))
    assert env.reward.score([step.sample]) == [4.0]


def test_several_turns_end_by_the_environment():
    env = Guess()
    assert env.reset(options={"index": 0})[0] == "Guess."
    assert env.step("pear") == ("hint 1: p", 0.0, False, False, {})
    assert env.step("plum") == ("", 8.0, True, False, {})


def test_several_turns_are_cut_at_the_limit_and_scored_as_far_as_they_came():
    env = Guess()
    assert env.reset(options={"index": 1})[0] == CHAT
    assert [env.step("x")[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.reset(options={"index": 0})
    steps = [env.advance(text) for text in ("a", "b", "plum")]
    assert steps[-1] == Step(None, True, False, Sample(env.task(0), "plum", ("a", "b", "plum")))


def test_an_ended_episode_takes_no_more_answers():
    env = make()
    for prepare in (lambda: None, lambda: (env.reset(seed=0), env.step("x"))):
        prepare()
        with pytest.raises(BadEnv, match="call reset first"):
            env.step("more")


@pytest.mark.parametrize("index", [-1, 7, 10**9])
def test_an_index_out_of_range_names_the_range(index):
    for ask in (lambda env: env.reset(options={"index": index}), lambda env: env.task(index)):
        with pytest.raises(BadEnv, match=f"no task {index}; indices are 0 to 6"):
            ask(make())


@pytest.mark.parametrize(
    "options", [{"index": "1"}, {"index": 1.0}, {"index": True}, {"index": None}, {"idx": 1}]
)
def test_options_of_the_wrong_kind_are_refused(options):
    with pytest.raises(BadEnv, match=r"whole number|unknown"):
        make().reset(options=options)


@pytest.mark.parametrize("action", [None, 3, b"bytes", ["a"]])
def test_an_answer_that_is_no_text_is_refused(action):
    env = make()
    env.reset(seed=0)
    with pytest.raises(BadEnv, match="takes text"):
        env.step(action)


def test_settings_that_cannot_be_are_refused():
    for arguments, error, message in [
        (([], Length()), BadData, "empty"),
        ((["text"], Length()), BadData, "task 0 is a str"),
        (([Task("a", "p"), Task("a", "q")], Length()), BadData, "unique"),
        ((tasks(), lambda **_: 1.0), BadEnv, "CallableReward"),
    ]:
        with pytest.raises(error, match=message):
            TextEnv(*arguments)
    for settings in ({"max_turns": 0}, {"max_turns": True}, {"max_turns": 1.5}, {"render_mode": "human"}):
        with pytest.raises(BadEnv, match=next(iter(settings))):
            make(**settings)


@pytest.mark.fault("E5")
def test_a_reply_that_is_no_text_is_refused():
    class Broken(TextEnv):
        def reply(self, turns):
            return 3

    env = Broken(tasks(), Length(), max_turns=2)
    env.reset(seed=0)
    with pytest.raises(BadEnv, match=r"Broken\.reply returned int"):
        env.step("x")


@pytest.mark.fault("E5")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "p"), "id"),
        ((3, "p"), "id"),
        (("a", 3), "prompt"),
        (("a", ()), "prompt"),
        (("a", [{"role": "user", "content": "x"}]), "prompt"),
        (("a", ({"role": "user"},)), "message 0"),
        (("a", ({"role": "wizard", "content": "x"},)), "role"),
        (("a", (CHAT[0], {"role": "user", "content": None})), "message 1"),
        (("a", "p", 42), "reference"),
    ],
)
def test_tasks_that_no_worker_could_use_are_refused(arguments, message):
    with pytest.raises(BadData, match=message):
        Task(*arguments)


def test_a_spawned_environment_shares_tasks_and_reward_and_nothing_else():
    env = make()
    env.reset(seed=0, options={"index": 2})
    other = env.spawn()
    with pytest.raises(BadEnv, match="reset"):
        other.step("x")
    other.reset(seed=9, options={"index": 4})
    assert (env.current.id, other.current.id) == ("t2", "t4")
    assert other.reward is env.reward and other.task(5) is env.task(5) and other.num_tasks == 7
    assert env.step("ab")[1] == 2.0 and other.step("abc")[1] == 3.0


def test_only_the_first_environment_closes_the_shared_reward():
    env = make()
    env.spawn().close()
    assert env.reward.closed == 0
    env.close()
    assert env.reward.closed == 1


def test_environments_copy_and_pickle_in_the_middle_of_an_episode():
    env = Guess()
    env.reset(seed=0, options={"index": 0})
    env.step("pear")
    for other in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert other.step("plum") == ("", 8.0, True, False, {})


def test_rendering_shows_the_conversation():
    env = Guess(render_mode="ansi")
    assert env.render() == ""
    env.reset(options={"index": 1})
    env.step("apple")
    parts = ("[h]", "system: Be brief.", "user: Hello?", "apple", "hint 1: f")
    places = [env.render().index(part) for part in parts]
    assert places == sorted(places)
    env.step("fig")
    assert env.render().endswith("-- model --\nfig")
    assert Guess().render() is None


@given(st.text())
def test_any_text_is_an_action_and_an_observation(text):
    assert text in FreeText() and text in FreeText(chat=True)


def test_the_space_of_free_text():
    assert CHAT in FreeText(chat=True) and CHAT not in FreeText()
    assert all(x not in FreeText(chat=True) for x in (None, 3, b"x", (), [*CHAT], ({"role": "user"},)))
    assert FreeText() == FreeText() != FreeText(chat=True)
    assert "x" * 2_000_000 in FreeText()
    space = FreeText(seed=3)
    drawn = [space.sample() for _ in range(50)]
    assert len(set(drawn)) > 40 and max(map(len, drawn)) <= 80
    assert drawn == [FreeText(seed=3).sample(), *drawn[1:]]
    assert len(space.sample(mask=(5, None))) == 5


def test_infos_are_json():
    env = make()
    _, info = env.reset(seed=0)
    assert json.loads(json.dumps(info)) == info


def test_every_public_name_can_be_imported():
    for name in envs.text.__all__:
        assert getattr(envs.text, name).__name__ == name
    assert set(envs.text.__all__) == set(envs.text._HOMES)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = envs.text.Nothing
