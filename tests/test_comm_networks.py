"""Layers with an agent axis against torch's own, one agent at a time."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations

from rllib_ext.contrastive_comm.networks import AgentGRU, AgentLinear, SpectralAgentLinear


def test_linear_is_torch_s_for_every_agent_and_for_a_shared_one() -> None:
    x = torch.randn(3, 5, 4)
    for sets in (3, 1):
        layer = AgentLinear(sets, 4, 2)
        for agent in range(3):
            own = nn.Linear(4, 2)
            own.load_state_dict({"weight": layer.weight[agent % sets].T, "bias": layer.bias[agent % sets, 0]})
            assert torch.allclose(layer(x)[agent], own(x[agent]), atol=1e-6)


def test_gru_is_torch_s_over_a_stretch_with_a_reset_in_it() -> None:
    agents, rows, steps, inputs, hidden = 2, 3, 5, 4, 6
    layer = AgentGRU(agents, inputs, hidden)
    x, state = torch.randn(agents, rows, steps, inputs), torch.randn(agents, rows, hidden)
    first = torch.zeros(agents, rows, steps, dtype=torch.bool)
    first[:, 1, 2] = True
    before, after = layer(x, state, first)
    for agent in range(agents):
        peer = nn.GRU(inputs, hidden, batch_first=True)
        peer.load_state_dict({
            "weight_ih_l0": layer.from_input.weight[agent].T, "weight_hh_l0": layer.from_state.weight[agent].T,
            "bias_ih_l0": layer.from_input.bias[agent, 0], "bias_hh_l0": layer.from_state.bias[agent, 0],
        })  # fmt: skip
        expected, _ = peer(x[agent], state[agent][None])
        assert torch.allclose(after[agent, 0], expected[0], atol=1e-5)
        begun_anew, _ = peer(x[agent, 1:2, 2:], torch.zeros(1, 1, hidden))
        assert torch.allclose(after[agent, 1, 2:], begun_anew[0], atol=1e-5)
        assert not before[agent, 1, 2].any()
        assert torch.equal(before[agent, 0, 1:], after[agent, 0, :-1])


def test_spectral_norm_is_torch_s_and_stays_put_outside_of_training() -> None:
    layer = SpectralAgentLinear(2, 6, 6)
    for agent in range(2):
        peer = nn.Linear(6, 6)
        peer.weight.data = layer.weight.data[agent].T.clone()
        parametrizations.spectral_norm(peer, n_power_iterations=200)
        peer(torch.zeros(1, 6))
        assert torch.allclose(layer.matrix()[agent].T, peer.weight, atol=1e-4)
        assert abs(float(torch.linalg.matrix_norm(layer.matrix()[agent], 2)) - 1) < 1e-4
    layer.weight.data += 0.3
    layer.eval()
    kept = layer.left.clone()
    layer(torch.zeros(2, 1, 6))
    assert torch.equal(kept, layer.left)
    layer.train()
    for _ in range(200):
        layer(torch.zeros(2, 1, 6))
    assert abs(float(torch.linalg.matrix_norm(layer.matrix()[0], 2)) - 1) < 1e-4
