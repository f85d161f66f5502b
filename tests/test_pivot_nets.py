"""Vocabulary, batches, nets, losses and metrics of the pivot game, against closed forms and by gradients."""

from __future__ import annotations

import math

import pytest
import torch

from rllib_ext.errors import BadData
from rllib_ext.language_games.pivot.batches import Batches, pad
from rllib_ext.language_games.pivot.knobs import PLAY
from rllib_ext.language_games.pivot.language_model import LanguageModel
from rllib_ext.language_games.pivot.losses import mean_nll, play, supervised_nll
from rllib_ext.language_games.pivot.metrics import same_places, translate
from rllib_ext.language_games.pivot.seq2seq import Baseline, Seq2Seq, message_logits, token_mask
from rllib_ext.language_games.pivot.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from rllib_ext.runtime.seeding import SeedTree

TEXTS = ["The black dog, quickly.", "le chien noir", "der schwarze Hund"] * 3
CPU = torch.device("cpu")
VALUES = {name: knob.default for name, knob in PLAY.items()} | {"max_message": 6}


@pytest.fixture
def nets() -> tuple[Seq2Seq, Seq2Seq, Baseline]:
    torch.manual_seed(0)
    return Seq2Seq(12, 6, 5).eval(), Seq2Seq(12, 6, 5).eval(), Baseline(6, 5)


FRENCH = pad([[4, 5, 6, 3], [7, 3], [8, 9, 3]])
GERMAN = pad([[4, 3], [5, 6, 7, 3], [9, 3]])


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_text_survives_the_vocabulary(kind: str) -> None:
    vocabulary = Vocabulary.learn(TEXTS, kind, 80)
    for text in TEXTS[:3]:
        (ids,) = vocabulary.encode([text])
        assert ids[-1] == EOS and not {PAD, UNK, BOS} & set(ids)
        assert vocabulary.decode([[*ids, 4, 5]]) == [vocabulary.normal(text)]
    assert vocabulary.normal("The black dog, quickly.") == "the black dog , quickly ."
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.encode(TEXTS) == vocabulary.encode(TEXTS) and again.size == vocabulary.size <= 80


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_the_name_of_a_special_token_is_text(kind: str) -> None:
    vocabulary = Vocabulary.learn([*TEXTS, "< eos > pad bos"], kind, 80)
    (ids,) = vocabulary.encode(["<eos> <pad> <bos> dog"])
    assert ids.index(EOS) == len(ids) - 1 and not {PAD, BOS} & set(ids)
    assert Vocabulary.from_json(vocabulary.to_json()).encode(["<eos> <pad> <bos> dog"]) == [ids]


def test_every_row_is_in_one_batch_of_each_epoch_within_the_budget() -> None:
    rows = [[4] * length for length in (1, 9, 3, 3, 7, 2, 2, 5, 40)]
    batches = Batches([rows, [[4]] * 9], 12, SeedTree(0))
    for epoch in range(3):
        parts = [batches.rows(epoch, place) for place in range(len(batches))]
        assert sorted(row for part in parts for row in part) == list(range(9))
        assert all(len(part) * max(len(rows[row]) for row in part) <= 12 or part == [8] for part in parts)
    assert batches.rows(0, 0) != batches.rows(1, 0) or batches.rows(0, 1) != batches.rows(1, 1)
    with pytest.raises(BadData, match="rows cannot make batches"):
        Batches([[[4]], []], 12, SeedTree(0))


def test_a_batch_depends_on_its_number_alone() -> None:
    rows = [[4 + index] * (1 + index % 5) for index in range(40)]
    one, other = (Batches([rows], 20, SeedTree(3).child("x")) for _ in range(2))
    forward = [one.batch(number)[0] for number in range(2 * len(one))]
    backward = [other.batch(number)[0] for number in reversed(range(2 * len(other)))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_padding_changes_nothing(nets) -> None:
    net = nets[0]
    together, _ = supervised_nll(net, FRENCH, GERMAN)
    for row in range(3):
        french = FRENCH[row : row + 1, : int((FRENCH[row] != PAD).sum())]
        german = GERMAN[row : row + 1, : int((GERMAN[row] != PAD).sum())]
        alone, tokens = supervised_nll(net, french, german)
        torch.testing.assert_close(alone[0], together[row])
        assert tokens.item() == german.shape[1]


def test_greedy_translations_are_the_argmax_of_teacher_forcing(nets) -> None:
    net = nets[0]
    found = net.generate(FRENCH, most=7)
    logits = net(FRENCH, found).logits_BTV.index_fill(-1, torch.tensor([PAD, BOS]), -1e30)
    mask = token_mask(found)
    assert torch.equal(logits.argmax(dim=-1)[mask], found[mask])
    assert translate(net, [[4, 5, 6, 3], [7, 3], [8, 9, 3]], CPU, most=7) == [
        [token for token, kept in zip(row.tolist(), keep.tolist(), strict=True) if kept]
        for row, keep in zip(found, mask, strict=True)
    ]


def test_messages_keep_to_what_may_be_sent(nets) -> None:
    with torch.no_grad():
        nets[0].output.bias[[PAD, UNK, BOS, EOS]] += 50.0
    found = nets[0].generate(
        FRENCH.repeat(40, 1), most=6, least=3, generator=torch.Generator().manual_seed(0), policy=True
    )
    assert not torch.isin(found[:, :3], torch.tensor([PAD, UNK, BOS, EOS])).any()
    assert (found[:, 3] == EOS).all() and found.shape[1] == 4
    probabilities = torch.softmax(message_logits(torch.zeros(1, 5, 12), 3), dim=-1)[0]
    assert probabilities[:, [PAD, UNK, BOS]].max() == 0
    assert probabilities[:, EOS].tolist() == pytest.approx([0, 0, 0, 1 / 9, 1 / 9])


def test_drawn_messages_have_the_scored_probabilities(nets) -> None:
    """Frequencies of the first token over many draws against the softmax that the loss scores with."""
    source = FRENCH[:1].repeat(20_000, 1)
    drawn = nets[0].generate(source, most=1, least=0, generator=torch.Generator().manual_seed(1), policy=True)
    frequencies = torch.bincount(drawn[:, 0], minlength=12) / len(drawn)
    scored = torch.softmax(message_logits(nets[0](FRENCH[:1], drawn[:1]).logits_BTV, 0), dim=-1)[0, 0]
    torch.testing.assert_close(frequencies, scored.detach(), atol=0.015, rtol=0)


def gradients(nets, **weights: float) -> dict[str, float]:
    """Norm of each net's gradient when only these losses count."""
    for net in nets:
        net.zero_grad(set_to_none=True)
    none = dict.fromkeys(("policy_weight", "baseline_weight", "receiver_weight", "entropy_weight"), 0.0)
    played = play(*nets, FRENCH, GERMAN, {**VALUES, **none, **weights}, torch.Generator().manual_seed(0))
    played.loss.backward()
    norms = [
        math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters() if p.grad is not None))
        for net in nets
    ]
    return dict(zip(("sender", "receiver", "baseline"), norms, strict=True))


def test_each_loss_moves_its_own_net_only(nets) -> None:
    """No gradient crosses the message, and the baseline's error does not reach the sender."""
    for weight, moved in (
        ("policy_weight", "sender"),
        ("entropy_weight", "sender"),
        ("receiver_weight", "receiver"),
        ("baseline_weight", "baseline"),
    ):
        norms = gradients(nets, **{weight: 1.0})
        assert norms[moved] > 0 and all(norm == 0 for name, norm in norms.items() if name != moved)


def test_the_reward_is_minus_the_receivers_nll_a_token(nets) -> None:
    sender, receiver, baseline = nets
    played = play(sender, receiver, baseline, FRENCH, GERMAN, VALUES, torch.Generator().manual_seed(0))
    nll, tokens = supervised_nll(receiver, played.messages_BT, GERMAN)
    assert played.figures["reward"] == pytest.approx(-(nll / tokens).mean().item())
    assert played.figures["receiver_nll"] == pytest.approx((nll.sum() / tokens.sum()).item())
    assert played.figures["receiver_nll"] == pytest.approx(
        mean_nll(receiver, played.messages_BT, GERMAN).item()
    )


def test_a_uniform_language_model_gives_log_v_a_token() -> None:
    model = LanguageModel(12, 4)
    torch.nn.init.zeros_(model.output.weight)
    torch.nn.init.zeros_(model.output.bias)
    nll, tokens = model(pad([[4, 5, 3], [6, 7, 8, 9]]))  # the second one did not stop
    assert tokens.tolist() == [3, 4]
    assert nll.tolist() == pytest.approx([3 * math.log(12), 4 * math.log(12)])


def test_same_places_counts_missing_ones_as_other() -> None:
    assert same_places([[4, 5, 3]], [[4, 5, 3]]) == 1.0
    assert same_places([[4, 5, 3], [6, 3]], [[4, 6, 3], [6, 7, 3]]) == pytest.approx((2 + 1) / 6)
