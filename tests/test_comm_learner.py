"""What each loss moves, and what it leaves alone: agents independent, messages outside the policy's loss, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from comm_fixture import Countdown, small

from rllib_ext.contrastive_comm.columns import as_batch, joined
from rllib_ext.contrastive_comm.message_losses import known_messages, message_loss
from rllib_ext.errors import BadConfig, NonFinite

Algorithm = Any


@pytest.fixture(scope="module")
def built(ray_session: Any) -> Any:
    """Built algorithms by their settings, stopped at the end."""
    made: dict[str, Algorithm] = {}

    def build(**settings: Any) -> Algorithm:
        key = repr(sorted(settings.items()))
        if key not in made:
            made[key] = small(**settings).build_algo()
        return made[key]

    yield build
    for algorithm in made.values():
        algorithm.stop()


def batch_of(algorithm: Algorithm) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    """(learner, module in training mode, one mini-batch of everything)."""
    learner = algorithm.learner_group._learner
    columns = joined(algorithm.sample_round())
    training = type("Data", (), {"batch": as_batch(columns)})
    learner.config.num_minibatches, kept = 1, learner.config.num_minibatches
    (one,) = learner._create_iterator_if_necessary(training_data=training)
    learner.config.num_minibatches = kept
    return learner, learner.networks.train(), dict(one["default_policy"])


def gradients(module: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    names, parameters = zip(*((n, p) for n, p in module.named_parameters() if p.requires_grad), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {n: g for n, g in zip(names, found, strict=True) if g is not None and bool(g.abs().sum() > 0)}


def parts(names: Any) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_cacl_moves_the_message_head_alone_and_the_policy_s_loss_all_but_it(built: Any) -> None:
    learner, module, batch = batch_of(built(comm="cacl"))
    out = module(batch)
    messages, _ = message_loss(learner.config, module, batch, out)
    policy, _ = learner._ppo(batch, out)
    assert parts(gradients(module, messages.sum())) == {"message_head"}
    moved = parts(gradients(module, policy.sum()))
    assert "message_head" not in moved
    assert moved >= {"observation_encoder", "inbox_encoder", "gru", "policy_head", "value_head"}


def test_aecomm_moves_message_head_and_decoder_and_the_encoder_only_if_asked(built: Any) -> None:
    for settings, expected in (
        ({"comm": "aecomm"}, {"message_head", "decoder"}),
        ({"comm": "aecomm", "grad_into_encoder": True}, {"message_head", "decoder", "observation_encoder"}),
        ({"comm": "cacl", "grad_into_encoder": True}, {"message_head", "observation_encoder"}),
    ):
        learner, module, batch = batch_of(built(**settings))
        loss, _ = message_loss(learner.config, module, batch, module(batch))
        assert parts(gradients(module, loss.sum())) == expected


def test_positive_listening_moves_listeners_only(built: Any) -> None:
    learner, module, batch = batch_of(built(comm="positive_listening"))
    loss, reported = message_loss(learner.config, module, batch, module(batch))
    moved = parts(gradients(module, loss.sum()))
    assert {"inbox_encoder", "policy_head"} <= moved and not moved & {"message_head", "value_head"}
    assert bool((reported["listening_distance"] >= 0).all()) and bool(
        (reported["listening_imitation"] > 0).all()
    )


def test_dial_s_policy_loss_reaches_the_heads_of_others_and_random_heads_stay(built: Any) -> None:
    learner, module, batch = batch_of(built(comm="dial"))
    policy, _ = learner._ppo(batch, module(batch))
    for agent in range(module.agents):
        found = gradients(module, policy[agent])
        reached = {a for a in range(module.agents) if found["message_head.0.weight"][a].abs().sum() > 0}
        assert reached == set(range(module.agents)) - {agent}
    _, module, _ = batch_of(built(comm="random"))
    assert not any(p.requires_grad for p in module.message_head.parameters())


def test_without_dial_an_agent_s_loss_reaches_its_own_parameters_only(built: Any) -> None:
    for comm in ("cacl", "aecomm", "positive_listening", "none"):
        learner, module, batch = batch_of(built(comm=comm))
        out = module(batch)
        policy, _ = learner._ppo(batch, out)
        messages, _ = message_loss(learner.config, module, batch, out)
        for name, gradient in gradients(module, (policy + messages)[1]).items():
            others = [a for a in range(module.agents) if a != 1]
            assert not gradient[others].any(), name


def test_dial_hears_in_training_what_was_heard_when_it_was_played(built: Any) -> None:
    """Before an update the messages are the same ones, so listening to them live changes nothing."""
    _, module, batch = batch_of(built(comm="dial"))
    live = module._live_inbox(batch, module.speak(module.encode(_first(batch["obs"]))))
    assert torch.allclose(live, _first(batch["inbox"]), atol=1e-6)


def _first(column: torch.Tensor) -> torch.Tensor:
    return column.flatten(0, 1).transpose(0, 1)


def test_what_a_forward_pass_says_is_what_the_worker_did(built: Any) -> None:
    """Log-probabilities, values and messages of a whole stretch at once equal those of playing it step by step."""
    for comm in ("cacl", "none"):
        _, module, batch = batch_of(built(comm=comm))
        out = module.eval()(batch)
        logps = (
            out["action_dist_inputs"]
            .log_softmax(-1)
            .gather(-1, _first(batch["actions"].unsqueeze(-1)))
            .squeeze(-1)
        )
        active = _first(batch["active"].unsqueeze(-1)).squeeze(-1)
        assert torch.allclose(
            logps[active], _first(batch["action_logp"].unsqueeze(-1)).squeeze(-1)[active], atol=1e-5
        )
        assert torch.allclose(out["vf_preds"], _first(batch["vf_preds"].unsqueeze(-1)).squeeze(-1), atol=1e-5)
        assert torch.allclose(out["messages"], _first(batch["said"]), atol=1e-6)


def test_what_an_agent_knows_is_dated_when_it_was_sent(built: Any) -> None:
    """Received messages are of the step before, and equal what the others recorded as said then."""
    algorithm = built(comm="cacl")
    learner, module, batch = batch_of(algorithm)
    said, known, trajectory, time = known_messages(learner.config, module, batch, _first(batch["said"]))
    _, steps, agents = batch["first"].shape
    kept = said.shape[1] // (steps * agents)
    for agent in range(agents):
        others = [a for a in range(agents) if a != agent]
        entries = zip(said[agent], known[agent], trajectory, time, strict=True)
        for number, (message, valid, episode, when) in enumerate(entries):
            row, step, place = number // (steps * agents), number // agents % steps, number % agents
            if place == 0:
                assert torch.equal(message, batch["said"][row, step, agent]) and int(when) == int(
                    batch["time"][row, step]
                )
            elif bool(valid) and step > 0:
                sender = others[place - 1]
                assert torch.equal(message, batch["said"][row, step - 1, sender])
                assert int(episode) == int(batch["trajectory"][row, step - 1])
                assert int(when) == int(batch["time"][row, step - 1])
            if place > 0 and bool(batch["first"][row, step, agent]):
                assert not bool(valid)
    assert kept >= 2


def test_normalised_advantages_have_mean_0_and_deviation_1_for_each_agent(built: Any) -> None:
    _, _, batch = batch_of(built(comm="cacl"))
    for agent in range(3):
        values = batch["advantages"][..., agent][batch["active"][..., agent]]
        assert abs(float(values.mean())) < 1e-5 and abs(float(values.std(unbiased=False)) - 1) < 1e-3


def test_gradients_are_clipped_agent_by_agent(built: Any) -> None:
    learner = built(comm="cacl").learner_group._learner
    gradients = {"x": torch.zeros(3, 2, 2), "y": torch.zeros(3, 1, 2)}
    gradients["x"][0] += 100.0
    gradients["y"][1] += 0.01
    clipped = learner.postprocess_gradients({name: g.clone() for name, g in gradients.items()})
    assert float(clipped["x"][0].norm()) == pytest.approx(learner.config.grad_clip, rel=1e-4)
    assert torch.equal(clipped["y"], gradients["y"]), "another agent's large gradient changes nothing here"
    gradients["y"][2] += float("nan")
    with pytest.raises(NonFinite, match="gradient norms of the agents"):
        learner.postprocess_gradients(gradients)


def test_mini_batches_keep_whole_environments_and_cover_each_once_an_epoch(built: Any) -> None:
    learner = built(comm="cacl").learner_group._learner
    columns = joined(built(comm="cacl").sample_round())
    data = type("Data", (), {"batch": as_batch(columns)})
    seen = []
    for one in learner._create_iterator_if_necessary(training_data=data, num_epochs=3):
        piece = one["default_policy"]
        for row in range(len(piece["first"])):
            (match,) = np.flatnonzero((columns["trajectory"] == piece["trajectory"][row].numpy()).all(axis=1))
            assert np.array_equal(columns["obs"][match], piece["obs"][row].numpy())
            assert np.array_equal(columns["inbox"][match], piece["inbox"][row].numpy())
            seen.append(int(match))
    assert all(sorted(seen[8 * e : 8 * e + 8]) == list(range(8)) for e in range(3))
    assert seen[:8] != seen[8:16]


@pytest.mark.parametrize(("settings", "named"), [
    ({"comm": "telepathy"}, "comm"), ({"temperature": 0.0}, "temperature"), ({"window": -1}, "window"),
    ({"comm": "none", "comm_coeff": 1.0}, "comm_coeff"), ({"message_dimension": 4}, "message_dim"),
    ({"use_kl_loss": True}, "use_kl_loss"),
])  # fmt: skip
def test_settings_out_of_range_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(BadConfig, match=named):
        small(**settings).validate()


def test_one_environment_is_no_contrast() -> None:
    config = small()
    config.env_runners(num_envs_per_env_runner=1)
    with pytest.raises(BadConfig, match="num_envs_per_env_runner"):
        config.validate()
    assert small(Countdown, comm="none").env_runners(num_envs_per_env_runner=1).validate() is None
