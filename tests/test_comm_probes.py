"""Probes and symmetry on messages whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_ext.analysis.comm_labels import goal_place, labels_of
from rllib_ext.analysis.probes import KINDS, probe, training_episodes, transfer_probe
from rllib_ext.analysis.protocol_symmetry import elsewhere, protocol_symmetry
from rllib_ext.analysis.recordings import Recording
from rllib_ext.errors import BadConfig, BadData

EPISODES, STEPS, CLASSES = 60, 10, 4


def labelled(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """(labels, episodes) of rows; the label is drawn once an episode."""
    draw = np.random.default_rng(seed)
    episodes = np.repeat(np.arange(EPISODES), STEPS)
    return draw.integers(CLASSES, size=EPISODES)[episodes], episodes, draw


@pytest.mark.parametrize("kind", KINDS)
def test_messages_that_carry_a_label_are_read_and_shuffled_labels_are_not(kind: str) -> None:
    labels, episodes, draw = labelled()
    messages = np.eye(CLASSES)[labels] + 0.05 * draw.normal(size=(len(labels), CLASSES))
    found = probe(messages, labels, episodes, kind=kind)
    assert found is not None and found.accuracy == 1.0 and found.classes == CLASSES
    assert found.majority == pytest.approx(1 / CLASSES)
    assert found.shuffled < 0.5, "a probe of nothing reads nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_messages_without_the_label_stay_at_chance(kind: str) -> None:
    labels, episodes, draw = labelled()
    found = probe(draw.random((len(labels), 4)), labels, episodes, kind=kind, splits=6)
    assert found is not None
    assert abs(found.accuracy - 1 / CLASSES) < 0.12 and abs(found.shuffled - 1 / CLASSES) < 0.12


def test_an_episodes_own_mark_is_no_way_to_its_label() -> None:
    """Every episode has a mark of its own: a split by step would read labels off it, a split by episode cannot."""
    labels, episodes, draw = labelled()
    marks = draw.random((EPISODES, 12))[episodes]
    by_episode = probe(marks, labels, episodes, kind="mlp")
    by_step = probe(marks, labels, np.arange(len(labels)), kind="mlp")
    assert by_episode is not None and by_step is not None
    assert by_step.accuracy > 0.95 and by_episode.accuracy < 0.5


def test_a_two_layer_probe_reads_what_a_linear_one_cannot() -> None:
    draw = np.random.default_rng(1)
    messages = draw.integers(2, size=(600, 2)).astype(float)
    labels, episodes = (messages[:, 0] != messages[:, 1]).astype(int), np.arange(600) // 10
    linear, mlp = (probe(messages, labels, episodes, kind=kind) for kind in KINDS)
    assert linear is not None and mlp is not None
    assert linear.accuracy < 0.65 and mlp.accuracy > 0.99


def test_a_rare_class_does_not_lift_the_baseline() -> None:
    """95 % of the rows are of one class: unbalanced, saying so would score 0.95."""
    draw = np.random.default_rng(2)
    labels, episodes = (draw.random(4000) < 0.05).astype(int), np.arange(4000) // 20
    found = probe(draw.random((4000, 3)), labels, episodes, splits=4)
    assert found is not None and found.majority == 0.5 and abs(found.accuracy - 0.5) < 0.15


def test_transfer_is_high_in_a_common_language_and_at_chance_in_private_ones() -> None:
    labels, episodes, draw = labelled()
    code = np.eye(CLASSES)

    def spoken(order: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return code[order][labels] + 0.05 * draw.normal(size=(len(labels), CLASSES)), labels, episodes

    same = transfer_probe(spoken([0, 1, 2, 3]), spoken([0, 1, 2, 3]))
    other = transfer_probe(spoken([0, 1, 2, 3]), spoken([1, 2, 3, 0]))
    assert same is not None and other is not None
    assert same.accuracy == 1.0 and other.accuracy == 0.0, "every word means something else"


def test_both_parts_hold_every_label_with_two_episodes() -> None:
    labels = np.repeat([0, 0, 1, 1, 2], 3)
    episodes = np.repeat(np.arange(5), 3)
    for seed in range(20):
        train = set(training_episodes(labels, episodes, np.random.default_rng(seed)).tolist())
        assert len(train & {0, 1}) == 1 and len(train & {2, 3}) == 1


def test_nothing_to_tell_apart_is_no_probe() -> None:
    rows = np.zeros((20, 2)), np.zeros(20, int), np.arange(20)
    assert probe(*rows) is None
    assert probe(np.zeros((20, 0)), np.arange(20) % 2, np.arange(20)) is None, "no channel"
    with pytest.raises(BadConfig, match="linear"):
        probe(*rows, kind="liner")
    with pytest.raises(BadData, match="labels"):
        probe(rows[0], rows[1][:5], rows[2])


def test_goal_places_are_quadrants_and_the_middle() -> None:
    rows, columns = (part.ravel() for part in np.mgrid[0:5, 0:5])
    counts = np.bincount(goal_place(rows, columns), minlength=5)
    assert counts.tolist() == [4, 4, 4, 4, 9]
    assert goal_place(np.array([0, 0, 4, 4, 2]), np.array([0, 4, 0, 4, 1])).tolist() == [0, 1, 2, 3, 4]


def test_labels_are_facts_of_few_values_and_the_goal_is_asked_of_who_sees_it() -> None:
    draw = np.random.default_rng(0)
    shape, sighted = (50, 2), draw.integers(2, size=(50, 2)).astype(bool)
    facts = {
        "sighted": sighted, "goal_row": draw.integers(5, size=shape), "goal_column": draw.integers(5, size=shape),
        "speed": draw.random(shape), "always": np.ones(shape, int), "number": np.arange(100).reshape(shape),
    }  # fmt: skip
    ones = np.ones(shape, bool)
    recording = Recording(
        np.zeros((*shape, 1)), np.zeros((*shape, 1)), np.zeros(shape, int), ones, np.arange(50), np.arange(50),
        np.zeros((0, 2, 1)), facts,
    )  # fmt: skip
    found = {label.name: label for label in labels_of(recording)}
    assert sorted(found) == ["goal_column", "goal_place", "goal_row", "sighted"]
    assert np.array_equal(found["goal_place"].asked, sighted) and found["sighted"].asked.all()


# ----- symmetry


def heads(agents: int, same: bool, seed: int, observations: int = 400) -> np.ndarray:
    """What ``agents`` random two-layer sigmoid heads say to the same random one-hot observations, (K, A, 4)."""
    draw = np.random.default_rng(seed)
    x = np.eye(12)[draw.integers(12, size=observations)]
    first = draw.normal(size=(agents, 12, 32)) / 3
    second = draw.normal(size=(agents, 32, 4)) / 4
    if same:
        first[:], second[:] = first[0], second[0]
    hidden = np.tanh(np.einsum("ki,aih->kah", x, first))
    return 1 / (1 + np.exp(-np.einsum("kah,ahd->kad", hidden, second)))


def test_identical_heads_are_symmetric_and_their_control_is_not() -> None:
    found = protocol_symmetry(heads(3, True, 0))
    assert found.raw == pytest.approx(1) and found.half == pytest.approx(1) and found.mean == pytest.approx(1)
    assert found.half_shuffled < 0.5 and found.mean_shuffled < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_independent_random_heads_are_at_their_control(seed: int) -> None:
    """The raw cosine is high although nothing was learnt, which is why it is never given alone."""
    found = protocol_symmetry(heads(3, False, seed))
    assert found.raw > 0.9 and found.raw_shuffled > 0.9
    assert abs(found.raw - found.raw_shuffled) < 0.02
    assert abs(found.half - found.half_shuffled) < 0.15 and abs(found.mean - found.mean_shuffled) < 0.2


def test_a_message_at_the_centre_has_no_direction_and_one_agent_no_pair() -> None:
    assert protocol_symmetry(np.full((5, 2, 3), 0.5)).half == 0.0
    assert np.isnan(protocol_symmetry(np.random.default_rng(0).random((5, 1, 3))).raw)
    with pytest.raises(BadData, match="K, A, D"):
        protocol_symmetry(np.zeros((5, 2, 0)))


def test_a_shuffle_leaves_nothing_in_its_place() -> None:
    draw = np.random.default_rng(0)
    for count in range(2, 12):
        order = elsewhere(count, draw)
        assert sorted(order.tolist()) == list(range(count)) and not (order == np.arange(count)).any()
