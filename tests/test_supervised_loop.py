"""A stage in stretches: the same weights to the bit as in one, from memory and from checkpoints; order and clock."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_language import save_tiny_model

from rllib_ext.errors import CheckpointCorrupt, NonFinite
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.supervised_order import EpochOrder
from rllib_ext.llm.supervised_rows import collate_sft, sft_loss
from rllib_ext.llm.supervised_settings import Training
from rllib_ext.llm.supervised_trainer import Loop
from rllib_ext.runtime import checkpoint

ROWS = [
    {"input_ids": [(7 * i + j) % 40 for j in range(3 + i % 6)], "start": 1, "query_tokens": 1}
    for i in range(45)
]
CASES = {
    "plain": {},
    "accumulated, clipped, decayed": {"accumulation": 2, "grad_clip": 0.5, "weight_decay": 0.1},
    "shuffled, warm, whole batches": {"group_by_length": False, "warmup_steps": 3, "whole_batches": True},
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("start"))


def loop(start, log=None, **settings) -> Loop:
    training = Training.of({"lr": 1e-2, "batch_size": 8, "epochs": 3, "device": "cpu", "seed": 3} | settings)
    return Loop(open_causal_lm(start), ROWS, collate_sft, sft_loss, training, on_update=log)


def weights(of: Loop) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in of.model.state_dict().items()}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("case", CASES)
def test_stretches_of_any_length_give_the_weights_of_one(start, case):
    """Ends inside epochs, at their ends and beyond them; the figures of every update are the same too."""
    seen: list[dict] = []
    whole = loop(start, seen.append, **CASES[case])
    whole.run()
    again: list[dict] = []
    parts = loop(start, again.append, **CASES[case])
    for until in (1, 5, 6, 12, 13, None):
        parts.run(until)
        assert parts.updates == min(until or whole.total, whole.total)
    assert parts.done and same(weights(whole), weights(parts))
    timeless = [
        [{k: v for k, v in line.items() if "second" not in k and k != "tokens_per_s"} for line in lines]
        for lines in (seen, again)
    ]
    assert timeless[0] == timeless[1] and len(seen) == whole.total
    assert whole.report().tokens == parts.report().tokens
    assert whole.report().train_loss == parts.report().train_loss


@pytest.mark.parametrize("at", [1, 6, 11])
@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_goes_on_to_the_same_bits(start, tmp_path, case, at):
    whole = loop(start, **CASES[case])
    whole.run()
    first = loop(start, **CASES[case])
    first.run(at)
    tensors, state = first.state()
    path = checkpoint.save(tmp_path, step=at, tensors=tensors, state=state)
    torch.manual_seed(99)  # whatever the other process drew
    loaded = checkpoint.load(path)
    second = loop(start, **CASES[case])
    second.restore(loaded.tensors, loaded.state)
    assert second.updates == at
    drawn = torch.rand(1)
    second.restore(loaded.tensors, loaded.state)
    assert torch.equal(drawn, torch.rand(1)), "the random state is that of the checkpoint"
    second.run()
    assert same(weights(whole), weights(second))
    assert whole.report().train_loss == pytest.approx(second.report().train_loss, abs=1e-12)


def test_a_checkpoint_before_the_first_update_is_the_start(start):
    first = loop(start)
    tensors, state = first.state()
    assert state["optimizer"] is None and state["position"]["updates"] == 0
    second = loop(start)
    second.restore({name: dict(group) for name, group in tensors.items()}, state)
    second.run(2)
    first.run(2)
    assert same(weights(first), weights(second))


def test_another_models_checkpoint_is_refused(start, tmp_path):
    tensors, state = loop(start).state()
    tensors["model"].pop(sorted(tensors["model"])[0])
    with pytest.raises(CheckpointCorrupt, match="another model"):
        loop(start).restore(tensors, state)


def test_every_epoch_has_every_row_once_and_another_order():
    order = EpochOrder(ROWS, Training(lr=1.0, batch_size=8))
    epochs = []
    for order.epoch in range(3):
        epochs.append(list(order))
    assert all(sorted(epoch) == list(range(len(ROWS))) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    order.epoch = 1
    assert list(order) == epochs[1], "a function of the seed and the epoch, not of what was drawn before"
    assert list(EpochOrder(ROWS, Training(lr=1.0, batch_size=8, seed=1))) != epochs[0]


def test_whole_batches_leave_the_remainder_out_and_count_updates_as_published():
    order = EpochOrder(ROWS, Training(lr=1.0, batch_size=8, whole_batches=True))
    assert len(order) == 40 and len(set(order)) == 40 and order.updates == 5
    assert EpochOrder(ROWS, Training(lr=1.0, batch_size=8)).updates == 6
    assert EpochOrder(ROWS[:5], Training(lr=1.0, batch_size=8, whole_batches=True)).updates == 1
    published = EpochOrder.__new__(EpochOrder)
    for rows, batch, updates in ((116_722, 128, 911), (92_832, 64, 1450)):
        published._lengths, published._settings = (
            [1] * rows,
            Training(lr=1.0, batch_size=batch, whole_batches=True),
        )
        assert published.updates == updates


def test_batches_hold_rows_of_like_length():
    order = EpochOrder(ROWS * 10, Training(lr=1.0, batch_size=9))
    lengths = [len((ROWS * 10)[index]["input_ids"]) for index in order]
    spread = [max(part) - min(part) for part in (lengths[i : i + 9] for i in range(9, len(lengths) - 9, 9))]
    shuffled = list(EpochOrder(ROWS * 10, Training(lr=1.0, batch_size=9, group_by_length=False)))
    loose = [len((ROWS * 10)[index]["input_ids"]) for index in shuffled]
    wide = [max(part) - min(part) for part in (loose[i : i + 9] for i in range(9, len(loose) - 9, 9))]
    assert sum(spread) < sum(wide) / 2


def test_the_figures_of_an_update_are_those_of_plain_torch(start):
    seen: list[dict] = []
    ours = loop(start, seen.append, batch_size=45, epochs=1)
    ours.run()
    peer = open_causal_lm(start)
    total, terms = sft_loss(peer, collate_sft([ROWS[index] for index in ours.order]))
    (total / terms).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in peer.parameters() if p.grad is not None])
    assert seen[0]["loss"] == pytest.approx((total / terms).item(), abs=1e-6)
    assert seen[0]["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)
    assert seen[0]["learning_rate"] == pytest.approx(1e-2) and seen[0]["tokens_per_s"] > 0


def test_learning_rates_follow_the_cosine_across_a_resume(start):
    seen: list[dict] = []
    first = loop(start, seen.append)
    first.run(7)
    tensors, state = first.state()
    second = loop(start, seen.append)
    second.restore(tensors, state)
    second.run()
    total = second.total
    expected = [1e-2 * (1 + math.cos(math.pi * step / total)) / 2 for step in range(total)]
    assert [line["learning_rate"] for line in seen] == pytest.approx(expected)


def test_a_stage_that_ran_out_of_time_stays_done_after_a_resume(start):
    first = loop(start, max_seconds=1e-3, epochs=1000)
    first.run()
    assert first.done and first.report().stopped == "max_seconds" and first.updates < first.total
    tensors, state = first.state()
    second = loop(start, max_seconds=1e-3, epochs=1000)
    second.restore(tensors, state)
    second.run()
    assert second.done and second.updates == first.updates


def test_a_loss_that_is_no_number_ends_the_stretch_that_shows_it(start):
    first = loop(start)
    first.run(3)
    with torch.no_grad():
        next(iter(first.model.parameters())).fill_(math.nan)
    with pytest.raises(NonFinite, match="by update 4"):
        first.run()
    assert first.updates == 3
