"""The learner of SGIPretrain: what it builds, what it learns from, what it averages, and that it goes on to the bit."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from sgi_pretraining_fixture import MEANINGS, data, learner_of, same, small, update, weights

from rllib_ext.errors import BadConfig, BadData, NonFinite
from rllib_ext.runtime.rllib_state import learner_state, restore_learner
from rllib_ext.sgi.encoders import AtariEncoder
from rllib_ext.sgi.pretrained import load_pretrained
from rllib_ext.sgi.pretraining.data import as_batch
from rllib_ext.sgi.pretraining.export import write_pretrained
from rllib_ext.sgi.pretraining.persistence import OWN


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data(tmp_path_factory.mktemp("frames") / "pong")


ALWAYS = {"encoder", "first_layers", "target_encoder", "target_first_layers"}
NEEDED = {
    "S": {"dynamics", "predictor"},
    "G": {"goal_head", "target_goal_head"},
    "I": {"dynamics", "inverse"},
}


@pytest.mark.parametrize("losses", ["S", "G", "I", "SG", "SI", "GI", "SGI"])
@pytest.mark.filterwarnings("ignore:losses='S'")
def test_every_subset_builds_what_it_needs_and_learns(frames: Path, losses: str) -> None:
    learner = learner_of(small(frames, losses=losses))
    built = {name.partition(".")[0] for name in learner.networks.state_dict()}
    assert built == ALWAYS.union(*(NEEDED[letter] for letter in losses))
    before = weights(learner)
    figures = update(learner)
    assert all(math.isfinite(value) for name, value in figures.items() if "num_" not in name)
    if "S" in losses:
        assert 1.5 < figures["self_prediction_loss"] < 2.5  # random projections: at right angles
    if "G" in losses:
        assert figures["goal_loss"] == pytest.approx(math.log(51), abs=0.1)
    if "I" in losses:
        assert figures["inverse_loss"] == pytest.approx(math.log(6), abs=0.6)
    moved = {
        name.partition(".")[0]
        for name, tensor in weights(learner).items()
        if not torch.equal(tensor, before[name])
    }
    assert moved == built  # each network, and each average


def test_losses_fall_on_frames_that_repeat(frames: Path) -> None:
    learner = learner_of(small(frames, losses="SI", lr=1e-3))
    first = update(learner, 2)
    update(learner, 30)
    last = update(learner, 2)
    assert last["self_prediction_loss"] < first["self_prediction_loss"] / 3
    assert last["inverse_loss"] < first["inverse_loss"]


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_f8_05_averages_follow_the_formula(frames: Path, tau: float) -> None:
    networks = learner_of(small(frames, encoder="S-BN")).networks
    with torch.no_grad():
        for tensor in networks.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape))
    before = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
    networks.follow(tau)
    after = networks.state_dict()
    averaged = [name for name in after if name.startswith("target_") and after[name].is_floating_point()]
    assert any("running_var" in name for name in averaged) and any("goal_head" in name for name in averaged)
    for name in averaged:
        online = before[name.removeprefix("target_")]
        torch.testing.assert_close(after[name], (1 - tau) * before[name] + tau * online)
        if tau in (0.0, 1.0):
            assert torch.equal(after[name], online if tau else before[name])
    assert all(torch.equal(after[name], before[name]) for name in after if not name.startswith("target_"))


def test_no_gradient_and_no_optimizer_reaches_a_target(frames: Path) -> None:
    learner = learner_of(small(frames, tau=0.0))
    before = weights(learner)
    update(learner, 3)
    after = weights(learner)
    targets = [name for name in after if name.startswith("target_")]
    assert targets and all(torch.equal(after[name], before[name]) for name in targets)


def test_views_are_the_stacks_of_the_windows(frames: Path) -> None:
    config = small(frames, shift=0, intensity=0.0)
    learner = learner_of(config)
    windows = next(learner.stream)
    batch = as_batch(windows, config, torch.Generator().manual_seed(0), torch.device("cpu"))
    stacks = torch.from_numpy(windows.frames_BFHW).float() / 255
    torch.testing.assert_close(batch["online"], stacks[:, :4])
    assert batch["later"].shape == (6, 1 + 3 + 1, 4, 84, 84)
    for step in range(4):
        torch.testing.assert_close(batch["later"][:, step], stacks[:, step : step + 4])
    torch.testing.assert_close(
        batch["later"][:, -1], torch.from_numpy(windows.goal_frames_B4HW).float() / 255
    )
    moved = as_batch(windows, small(frames), torch.Generator().manual_seed(0), torch.device("cpu"))
    assert not torch.equal(moved["online"], moved["later"][:, 0])  # independent views of one moment


def test_steps_behind_an_end_teach_nothing(frames: Path) -> None:
    learner = learner_of(small(frames, losses="SGI", goal_swap=0.0, goal_noise=0.0))
    windows = next(learner.stream)
    batch = as_batch(windows, learner.config, torch.Generator().manual_seed(0), torch.device("cpu"))
    batch["valid"] = torch.zeros_like(batch["valid"])
    out = learner.networks.forward_train(batch)
    loss = learner.compute_loss_for_module(
        module_id="default_policy", config=learner.config, batch=batch, fwd_out=out
    )
    (into,) = torch.autograd.grad(loss, out["predictions"], allow_unused=True, retain_graph=True)
    assert into.abs().max() == 0.0
    # What is left is G at a step that ended: its target is 0 for sure, the middle atom.
    goal = torch.nn.functional.cross_entropy(
        out["goal_logits"][torch.arange(6), batch["actions"][:, 0]], torch.full((6,), 25)
    )
    torch.testing.assert_close(loss, goal)


def test_parts_are_clipped_by_themselves(frames: Path) -> None:
    tight = learner_of(small(frames, grad_clip_networks=1e-6, grad_clip_dynamics=None))
    seen: dict[str, float] = {}
    original = tight.apply_gradients

    def look(gradients: Any) -> None:
        for part, parameters in tight._parts.items():
            norms = [p.grad.norm() for p in parameters if p.grad is not None]
            seen[part] = float(torch.stack(norms).norm())
        original(gradients)

    tight.apply_gradients = look
    figures = update(tight)
    assert seen["networks"] == pytest.approx(1e-6, rel=1e-2)
    assert seen["dynamics"] == pytest.approx(figures["gradient_norm_dynamics"], rel=1e-4)
    assert figures["gradient_norm_networks"] > 1e-3 and figures["gradient_norm_predictors"] > 0


def test_a_gradient_that_is_no_number_stops_before_a_weight_moves(frames: Path) -> None:
    learner = learner_of(small(frames))
    update(learner)
    with torch.no_grad():
        learner.networks.dynamics.second.weight[0, 0, 0, 0] = math.nan
    before = weights(learner)
    with pytest.raises(NonFinite, match="after 1 updates; lower lr"):
        update(learner)
    after = weights(learner)
    networks = ("encoder.", "first_layers.", "predictor.", "target_encoder.")
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith(networks))


@pytest.mark.parametrize("way", ["package", "rllib"])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_resumed_learner_is_the_learner_to_the_bit(frames: Path, way: str, prefetch: int) -> None:
    config = small(frames, encoder="S-BN", prefetch=prefetch)
    straight = learner_of(config)
    update(straight, 3)
    resumed = learner_of(config, seed=1)
    if way == "package":
        tensors, state = learner_state(straight, OWN)
        restore_learner(resumed, tensors, state, OWN)
    else:
        resumed.set_state(straight.get_state())
    assert resumed.gradient_steps == 3 and same(weights(straight), weights(resumed))
    for learner in (straight, resumed):
        update(learner, 3)
        learner.stream.close()
    assert same(weights(straight), weights(resumed))
    assert torch.equal(straight.draw.get_state(), resumed.draw.get_state())


def test_other_data_are_not_gone_on_with(frames: Path, tmp_path: Path) -> None:
    tensors, state = learner_state(learner_of(small(frames)), OWN)
    with pytest.raises(BadConfig, match="batch_size is 5 and was 6"):
        restore_learner(learner_of(small(frames, train_batch_size_per_learner=5)), tensors, state, OWN)


def test_bfloat16_computes_the_same_losses(frames: Path) -> None:
    figures = [update(learner_of(small(frames, precision=kind)), 3) for kind in ("float32", "bfloat16")]
    for name in ("self_prediction_loss", "goal_loss", "inverse_loss"):
        assert figures[1][name] == pytest.approx(figures[0][name], rel=0.02)
        assert figures[1][name] != figures[0][name]


def test_the_released_value_branch_can_be_had(frames: Path) -> None:
    learner = learner_of(small(frames, losses="G", bug_compat=True))
    before = weights(learner)
    update(learner)
    assert torch.equal(weights(learner)["first_layers.value.weight"], before["first_layers.value.weight"])
    assert not torch.equal(
        weights(learner)["first_layers.advantage.weight"], before["first_layers.advantage.weight"]
    )


def test_the_exported_folder_holds_the_encoder_and_says_what_it_is(frames: Path, tmp_path: Path) -> None:
    config = small(frames, losses="SI")
    learner = learner_of(config)
    update(learner, 2)
    write_pretrained(tmp_path / "made", learner.networks.state_dict(), config, learner.gradient_steps)
    found = load_pretrained(tmp_path / "made")
    card = found.card
    assert (card.game, card.actions, card.losses, card.updates, card.encoder) == ("Pong", 6, "SI", 2, "S")
    assert card.action_meanings == tuple(MEANINGS) and card.environment == {"sticky": 0.0}
    assert card.settings["horizon"] == 3 and card.settings["lr"] == 1e-4
    encoder = AtariEncoder("S")
    found.load_into("encoder", encoder)
    stacks = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    assert torch.equal(encoder(stacks), learner.networks.encoder(stacks))
    assert set(found.tensors) == ALWAYS | {"dynamics", "predictor", "inverse"}


def test_settings_that_cannot_be_are_named(frames: Path, tmp_path: Path) -> None:
    for losses in ("", "SX", "SS"):
        with pytest.raises(BadConfig, match="losses is"):
            small(frames, losses=losses).validate()
    config = small(frames, losses="IG")
    config.validate()
    assert config.losses == "GI"
    with pytest.raises(BadConfig, match="goal_nearest is 20"):
        small(frames, goal_nearest=20).validate()
    with pytest.raises(BadConfig, match="data is not set"):
        _ = small(frames, data=None).folders
    with pytest.raises(BadData, match="is no folder of frames"):
        learner_of(small(tmp_path / "nowhere"))
    with pytest.warns(UserWarning, match="self-prediction alone"):
        small(frames, losses="S").validate()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        small(frames, losses="SI").validate()


def test_data_with_another_set_of_actions_are_refused(frames: Path, tmp_path: Path) -> None:
    from frames_fixture import episode, write
    from sgi_pretraining_fixture import ABOUT

    four = write(tmp_path / "four", episode(0, 30), about=ABOUT | {"action_meanings": MEANINGS[:4]})
    with pytest.raises(BadData, match="has action 5"):
        learner_of(small(four))
    silent = write(tmp_path / "silent", episode(0, 30), about={"game": "Pong"})
    # DQN Replay names no actions: the game's minimal set.
    assert learner_of(small(silent)).networks.action_space.n == 6
    unknown = write(tmp_path / "unknown", episode(0, 30), about={"game": "Chess"})
    with pytest.raises(BadData, match="action_meanings"):
        learner_of(small(unknown))


def test_figures_split_the_time(frames: Path) -> None:
    figures = update(learner_of(small(frames)), 2)
    phases = ("load", "augment", "forward", "backward", "adam", "average")
    assert all(figures[f"seconds_{phase}"] > 0 for phase in phases)
    assert figures["epochs"] == pytest.approx(2 * 6 / (39 + 24))  # anchors: all steps but the last of a game
