"""PivotTranslation and LewisDrift as PettingZoo games: the published checks, and what each agent may see."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box
from pettingzoo.test import api_test, seed_test

from envs.errors import BadEnv
from envs.lewis import LewisDrift, all_objects, canonical, divide
from envs.pivot import PivotTranslation, corpus_bleu, sentence_bleu


def same(german: str, reference: str) -> float:
    return float(german == reference)


def test_the_pivot_game_by_hand() -> None:
    env = PivotTranslation(size=8, reward=same, render_mode="ansi")
    row = env.rows[5]
    env.reset(options={"index": 5})
    assert (
        env.agent_selection == "sender"
        and env.observe("sender") == row["fr"]
        and env.observe("receiver") == ""
    )
    env.step("any message <eos>")
    assert env.agent_selection == "receiver" and env.observe("receiver") == "any message <eos>"
    assert env.rewards == {"sender": 0.0, "receiver": 0.0} and "reference_german" not in env.infos["receiver"]
    env.step(row["de"])
    assert env.rewards == {"sender": 1.0, "receiver": 1.0} and all(env.terminations.values())
    assert env.infos["sender"]["reference_english"] == row["en"]
    assert env.render().splitlines()[1] == "en  any message <eos>"


def test_the_receiver_sees_nothing_but_the_message() -> None:
    """Other French and other German with the same message: the same observation."""
    env = PivotTranslation(size=4, reward=same)
    seen = []
    for index in range(4):
        env.reset(options={"index": index})
        before = env.observe("receiver")
        env.step("the message")
        seen.append((before, env.observe("receiver")))
    assert set(seen) == {("", "the message")}


def test_the_default_reward_is_sentence_bleu() -> None:
    env = PivotTranslation(size=2)
    for german, expected in ((env.rows[0]["de"], 1.0), ("xx yy", 0.0)):
        env.reset(options={"index": 0})
        env.step("")
        env.step(german)
        assert env.rewards["sender"] == pytest.approx(expected)
    assert corpus_bleu(["a b c d e"], ["a b c d e"]) == pytest.approx(100.0)
    # 4 of 5 words, then 3/4 bigrams, 2/3 trigrams, 1/2 four-grams; no brevity penalty
    assert sentence_bleu("a b c d x", "a b c d e") == pytest.approx(
        100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    )


def test_wrong_use_is_told() -> None:
    env = PivotTranslation(size=2, reward=lambda german, reference: float("nan"))
    with pytest.raises(BadEnv, match="rows 0 to 1"):
        env.reset(options={"index": 2})
    env.reset()
    with pytest.raises(BadEnv, match="must be a text"):
        env.step(3)  # type: ignore[arg-type]
    env.step("x")
    with pytest.raises(BadEnv, match="finite"):
        env.step("y")
    with pytest.raises(BadEnv, match="as many"):
        corpus_bleu(["a"], [])


class Counted(PivotTranslation):
    """PettingZoo's checks read arrays: the number of characters in place of the text."""

    def observation_space(self, agent: str) -> Box:  # type: ignore[override]
        return self.counts[agent]

    def observe(self, agent: str) -> np.ndarray:  # type: ignore[override]
        return np.array([len(super().observe(agent))], dtype=np.float32)

    counts = {agent: Box(0, 1e9, (1,)) for agent in ("sender", "receiver")}


@pytest.mark.filterwarnings("ignore::UserWarning")  # neither text nor several symbols are Box or Discrete
def test_both_games_pass_pettingzoos_checks(capsys: pytest.CaptureFixture) -> None:
    api_test(LewisDrift(seed=3), num_cycles=50)
    api_test(Counted(size=8, reward=same), num_cycles=50)
    seed_test(LewisDrift, num_cycles=20)
    seed_test(lambda: Counted(size=8, reward=same), num_cycles=20)


# ----- Lewis


def test_objects_and_messages_match_the_closed_form() -> None:
    objects = all_objects(5, 5)
    assert objects.shape == (3125, 5) and len({tuple(row) for row in objects.tolist()}) == 5**5
    assert (objects.min(), objects.max()) == (0, 4)
    messages = canonical(objects, 5)
    assert messages[0].tolist() == [0, 5, 10, 15, 20] and messages[-1].tolist() == [4, 9, 14, 19, 24]
    assert (messages // 5 == np.arange(5)).all() and (messages % 5 == objects).all()
    with pytest.raises(BadEnv, match="1,000,000"):
        all_objects(20, 10)


def test_the_sets_are_disjoint_complete_and_the_same_bytes_for_a_seed() -> None:
    sets = divide(5, 5, 10, 30, seed=7)
    parts = [sets.labelled_NP, sets.played_NP, sets.held_out_NP]
    assert [len(part) for part in parts] == [10, 30, 3085]
    rows = [tuple(row) for part in parts for row in part.tolist()]
    assert len(set(rows)) == 3125
    again = divide(5, 5, 10, 30, seed=7)
    assert again.held_out_NP.tobytes() == sets.held_out_NP.tobytes()
    assert divide(5, 5, 10, 30, seed=8).played_NP.tobytes() != sets.played_NP.tobytes()
    with pytest.raises(BadEnv, match="leave some"):
        divide(2, 2, 2, 2, seed=0)


def test_the_lewis_game_by_hand() -> None:
    env = LewisDrift("held_out", properties=2, types=3, labelled=1, played=1, seed=0)
    assert len(env.objects_NP) == 7
    for reward, expected in (("share", 0.5), ("all", 0.0)):
        env.reward = reward
        env.reset(options={"index": 4})
        thing = env.observe("speaker")
        assert env.observe("listener").tolist() == [6, 6] and env.observation_space("listener").contains(
            np.array([6, 6])
        )
        env.step(canonical(thing[None], 3)[0])
        assert env.observe("listener").tolist() == [thing[0], thing[1] + 3]
        env.step(np.array([thing[0], (thing[1] + 1) % 3]))
        assert env.rewards == {"speaker": expected, "listener": expected} and all(env.terminations.values())
    env.reset()
    with pytest.raises(BadEnv, match="must be in"):
        env.step(np.array([0, 6]))
    with pytest.raises(BadEnv, match="split"):
        LewisDrift("train")
