"""SqoopRLModule: the supervised model's own answers behind RLlib's interface, and stock PPO learning with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

import rllib_ext
from envs.sqoop import SqoopEnv
from rllib_ext.errors import BadConfig
from rllib_ext.sqoop.encoders import ENCODER_KNOBS
from rllib_ext.sqoop.module import SqoopRLModule
from rllib_ext.sqoop.supervised_module import SupervisedSqoop

DEFAULTS = {name: knob.default for name, knob in ENCODER_KNOBS.items()}


def policy(env: SqoopEnv, inference_only: bool = False, **settings) -> SqoopRLModule:
    return SqoopRLModule(
        observation_space=env.observation_space,
        action_space=env.action_space,
        model_config={"module": "find", **settings},
        inference_only=inference_only,
    )


def supervised(env: SqoopEnv, **settings) -> SupervisedSqoop:
    shapes = {"image_shape": env.generator.shape, "vocabulary": env.generator.num_tokens}
    config = {**DEFAULTS, **shapes, "module": "find", **settings}
    return SupervisedSqoop(
        observation_space=env.observation_space, action_space=env.action_space, model_config=config
    )


def seen(env: SqoopEnv, num: int) -> dict:
    observed = [env.reset(seed=0 if i == 0 else None)[0] for i in range(num)]
    return {
        Columns.OBS: {
            name: torch.from_numpy(np.stack([one[name] for one in observed])) for name in observed[0]
        }
    }


@pytest.mark.parametrize(
    "settings", [{}, {"layout": "chain"}, {"layout": "stochastic"}, {"encoder": "film"}, {"encoder": "mac"}]
)
def test_c3_models_08_the_same_state_gives_the_same_logits_in_both_modules(settings: dict) -> None:
    env = SqoopEnv()
    torch.manual_seed(0)
    taught, acting = supervised(env, **settings), policy(env, **settings)
    batch = seen(env, 16)
    taught.train()
    taught.forward_train({"answer": torch.arange(16) % 2, **batch[Columns.OBS]})  # moves running statistics
    taught.eval()
    acting.set_state(taught.get_state())
    wanted = taught.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    found = acting.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    assert torch.equal(wanted, found) and wanted.std() > 0
    with torch.no_grad():
        acting.encoder.load_state_dict({k: v + 0.1 for k, v in acting.encoder.state_dict().items()})
    taught.set_state(acting.get_state(inference_only=True))
    again = taught.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    assert torch.equal(again, acting.forward_exploration(batch)[Columns.ACTION_DIST_INPUTS])
    assert not torch.equal(again, wanted)


def test_acting_leaves_the_statistics_and_learning_moves_them() -> None:
    env = SqoopEnv()
    acting, batch = policy(env), seen(SqoopEnv(), 8)
    before = {name: kept.clone() for name, kept in acting.encoder.named_buffers()}
    one = {Columns.OBS: {name: values[:1] for name, values in batch[Columns.OBS].items()}}
    alone = acting.forward_exploration(one)[Columns.ACTION_DIST_INPUTS]
    together = acting.forward_exploration(batch)[Columns.ACTION_DIST_INPUTS]
    assert torch.allclose(alone[0], together[0], atol=1e-6)
    assert all(torch.equal(before[name], kept) for name, kept in acting.encoder.named_buffers())
    out = acting.forward_train(batch)
    assert any(not torch.equal(before[name], kept) for name, kept in acting.encoder.named_buffers())
    values = acting.compute_values(batch, embeddings=out[Columns.EMBEDDINGS])
    assert values.shape == (8,)
    values.sum().backward()
    assert all(parameter.grad is None for parameter in acting.encoder.parameters())
    assert all(parameter.grad is not None for parameter in acting.critic.parameters())


def test_a_worker_has_no_critic_and_takes_the_learners_state() -> None:
    env = SqoopEnv()
    learner, worker = policy(env), policy(env, inference_only=True)
    assert not hasattr(worker, "critic")
    worker.set_state(learner.get_state(inference_only=True))
    batch = seen(env, 4)
    assert torch.equal(*(m.forward_exploration(batch)[Columns.ACTION_DIST_INPUTS] for m in (learner, worker)))


def test_the_state_of_another_model_is_refused() -> None:
    env = SqoopEnv()
    with pytest.raises(BadConfig, match="another model"):
        policy(env).set_state(supervised(env, encoder="film").get_state())


def test_settings_that_ppo_adds_for_its_own_models_are_left_aside_and_others_are_not() -> None:
    env = SqoopEnv()
    policy(env, vf_share_layers=False)
    with pytest.raises(BadConfig, match="layout"):
        policy(env, layuot="tree")


def test_flat_observations_are_for_other_modules() -> None:
    with pytest.raises(BadConfig, match="observation"):
        policy(SqoopEnv(observation="flat"))


def ppo(size: int, **settings) -> PPOConfig:
    """Stock PPO on one-step episodes, sampled and learnt in this process."""
    rllib_ext.register()
    spec = RLModuleSpec(module_class=SqoopRLModule, model_config={"module": "find"})
    return (
        PPOConfig()
        .environment("SQOOP", env_config={"questions_per_episode": 64, **settings})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16, rollout_fragment_length="auto")
        .rl_module(rl_module_spec=spec)
        .training(gamma=0.0, lambda_=0.0, lr=1e-3, train_batch_size_per_learner=size, minibatch_size=256,
                  num_epochs=4, entropy_coeff=0.01, vf_loss_coeff=0.1)
        .debugging(seed=0, log_level="ERROR")
    )  # fmt: skip


def test_stock_ppo_samples_learns_and_acts_on_what_it_learnt() -> None:
    """RLlib's own runner and PPO learner, in this process: a batch of questions, an update, the new weights."""
    config = ppo(256)
    runner = SingleAgentEnvRunner(config=config)
    learner = config.build_learner(env=SqoopEnv())
    runner.set_state({COMPONENT_RL_MODULE: learner.get_state(inference_only=True)[COMPONENT_RL_MODULE]})
    episodes = runner.sample(num_timesteps=1024)
    rewards = np.concatenate([episode.get_rewards() for episode in episodes])
    assert len(rewards) >= 1024 and abs(rewards.mean() - 0.5) < 0.08
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    before = {name: kept.clone() for name, kept in module.state_dict().items()}
    found = learner.update(
        episodes=episodes, timesteps={"num_env_steps_sampled_lifetime": 0}, num_epochs=1, minibatch_size=256
    )[DEFAULT_MODULE_ID]
    assert np.isfinite(
        [float(found[name].peek()) for name in ("total_loss", "mean_kl_loss", "entropy")]
    ).all()
    moved = {
        name.split(".")[0]
        for name, kept in module.state_dict().items()
        if not torch.equal(kept, before[name])
    }
    assert moved == {"encoder", "critic"}
    runner.set_state({COMPONENT_RL_MODULE: learner.get_state(inference_only=True)[COMPONENT_RL_MODULE]})
    batch = seen(SqoopEnv(), 4)
    assert torch.equal(
        *(m.forward_inference(batch)[Columns.ACTION_DIST_INPUTS] for m in (runner.module.unwrapped(), module))
    )
    runner.stop()


@pytest.mark.slow
def test_stock_ppo_learns_a_pool_of_scenes() -> None:
    """Sixteen scenes by heart: reward rises from guessing's .5 within some iterations of RLlib's runner and learner."""
    torch.manual_seed(0)
    config = ppo(512, pool_size=16, questions_per_episode=16)
    runner, learner = SingleAgentEnvRunner(config=config), config.build_learner(env=SqoopEnv())
    means = []
    for _ in range(20):
        runner.set_state({COMPONENT_RL_MODULE: learner.get_state(inference_only=True)[COMPONENT_RL_MODULE]})
        episodes = runner.sample(num_timesteps=512)
        means.append(np.concatenate([episode.get_rewards() for episode in episodes]).mean())
        steps = {"num_env_steps_sampled_lifetime": 0}
        learner.update(episodes=episodes, timesteps=steps, num_epochs=4, minibatch_size=128)
    runner.stop()
    assert abs(means[0] - 0.5) < 0.15
    assert means[-1] > 0.75
