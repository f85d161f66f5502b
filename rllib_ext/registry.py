"""The one table of public names: algorithm, stage, game, trainable, environment → class.

Targets are ``"module:Class"`` strings, so reading a name costs no import. An algorithm ``X`` keeps its
``XConfig`` in the same module. `register` hands the names to Tune, RLlib and gymnasium; it starts no Ray
session, and what it stores before ``ray.init()`` is sent to the cluster when a session starts.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any

ALGORITHMS: dict[str, str] = {
    "AsyncOnlineDPO": "rllib_ext.online_dpo:AsyncOnlineDPO",
    "AsyncRLOO": "rllib_ext.rloo:AsyncRLOO",
    "AsyncPPO": "rllib_ext.ppo_llm:AsyncPPO",
    "BestOfN": "rllib_ext.best_of_n:BestOfN",
    "ElasticResetPPO": "rllib_ext.elastic_reset:ElasticResetPPO",
    "ElasticResetAsyncPPO": "rllib_ext.elastic_reset.llm:ElasticResetAsyncPPO",
    "ElasticResetAsyncOnlineDPO": "rllib_ext.elastic_reset.llm:ElasticResetAsyncOnlineDPO",
    "ContrastiveComm": "rllib_ext.contrastive_comm:ContrastiveComm",
    "SGIPretrain": "rllib_ext.sgi.pretraining:SGIPretrain",
    "SGIRainbow": "rllib_ext.sgi.rainbow:SGIRainbow",
    "EmergentComm": "rllib_ext.emergent_comm:EmergentComm",
    "SQOOP": "rllib_ext.sqoop:SQOOP",
    "CommonsenseKBC": "rllib_ext.commonsense:CommonsenseKBC",
}

# Those of them that train no language model, by what they train on: Gymnasium environments, PettingZoo ones of `GAMES`
# (together, or with interests of their own), Atari, recorded frames of Atari, scenes drawn with their answers, and
# triples of phrases. Their runs are in `rllib_ext.cli`.
KINDS: dict[str, frozenset[str]] = {
    "gymnasium": frozenset({"ElasticResetPPO"}),
    "multi-agent": frozenset({"ContrastiveComm"}),
    "competing": frozenset({"EmergentComm"}),
    "atari": frozenset({"SGIRainbow"}),
    "frames": frozenset({"SGIPretrain"}),
    "scenes": frozenset({"SQOOP"}),
    "triples": frozenset({"CommonsenseKBC"}),
}
NO_LANGUAGE_MODEL: frozenset[str] = frozenset().union(*KINDS.values())

STAGES: dict[str, str] = {  # Tune trainables that are no RLlib algorithms: supervised, without an environment
    "SFT": "rllib_ext.stages.sft:SFT",
    "RewardModel": "rllib_ext.stages.reward_model:RewardModel",
    "OfflineDPO": "rllib_ext.stages.offline_dpo:OfflineDPO",
}

TRAINABLES: dict[str, str] = {  # Tune trainables that play the games below with nets of their own
    "PivotGame": "rllib_ext.language_games.pivot:PivotGame",
    "LewisGame": "rllib_ext.language_games.lewis:LewisGame",
}

ENVIRONMENTS: dict[str, str] = {
    "Docstrings": "envs.text:Docstrings",
    "TLDR": "envs.text:TLDR",
    "Sentiment": "envs.text:Sentiment",
    "GSM8K": "envs.text:GSM8K",
    "StackExchange": "envs.text:StackExchange",
    "ControlledTLDR": "envs.text:ControlledTLDR",
}

GAMES: dict[str, str] = {  # for several agents: PettingZoo environments
    "PivotTranslation": "envs.pivot:PivotTranslation",
    "LewisDrift": "envs.lewis:LewisDrift",
    "Beacon": "envs.grid:Beacon",
    "PredatorPrey": "envs.grid:PredatorPrey",
    "IC3PredatorPrey": "envs.grid:IC3PredatorPrey",
    "TrafficJunction": "envs.grid:TrafficJunction",
    "FindGoal": "envs.grid:FindGoal",
    "SenderReceiver": "envs.games:SenderReceiver",
    "Negotiation": "envs.games:Negotiation",
}

# Gymnasium environments that are neither text nor Atari. A table of its own: an algorithm may have the same name.
GYMNASIUM: dict[str, str] = {"SQOOP": "envs.sqoop:SqoopEnv"}

ATARI = "Atari100k/"  # and a game of `envs.atari_games`: environments on ALE, single or many copies at once


def exports() -> dict[str, str]:
    """Public attributes of ``rllib_ext``: ``register``, every algorithm, every config class, stage and trainable."""
    configs = {f"{name}Config": f"{target}Config" for name, target in ALGORITHMS.items()}
    return {"register": "rllib_ext.registry:register", **ALGORITHMS, **configs, **STAGES, **TRAINABLES}


def gymnasium_id(name: str) -> str:
    """The id under which ``gymnasium.make`` knows an environment of the table."""
    return f"rllib_ext/{name.replace('/', '-')}-v0"


def algorithm(name: str) -> type:
    """The algorithm class of a public name."""
    return _load(_target("algorithm", name, ALGORITHMS))


def config_class(name: str) -> type:
    """The config class of an algorithm's public name."""
    return _load(_target("algorithm", name, ALGORITHMS) + "Config")


def stage(name: str) -> type:
    """The trainable class of a supervised stage's public name."""
    return _load(_target("stage", name, STAGES))


def trainable(name: str) -> type:
    """The class of a public name that Tune trains as it is: a stage, or one that plays a game."""
    return _load(_target("trainable", name, {**STAGES, **TRAINABLES}))


def environment(name: str) -> type:
    """The environment class of a public name."""
    return _load(_target("environment", name, ENVIRONMENTS))


def gymnasium_environment(name: str) -> type:
    """The Gymnasium environment class of a public name of `GYMNASIUM`."""
    return _load(_target("environment", name, GYMNASIUM))


def game(name: str) -> type:
    """The PettingZoo environment class of a game's public name."""
    return _load(_target("game", name, GAMES))


def atari_names() -> tuple[str, ...]:
    """``Atari100k/Alien`` to ``Atari100k/UpNDown``."""
    from envs.atari_games import NAMES

    return tuple(f"{ATARI}{game}" for game in NAMES)


def create_atari(name: str, env_config: Mapping[str, Any]) -> Any:
    """``Atari100k/<Game>`` built from RLlib's ``env_config``; with ``num_envs`` in it, that many copies as a VectorEnv.

    Raises `BadConfig` with the nearest right name or key.
    """
    from envs.atari import AtariCopies
    from envs.atari_gym import create

    _target("environment", name, dict.fromkeys(atari_names(), ""))
    known = [key for key in inspect.signature(AtariCopies).parameters if key != "game"]
    _check_keys(name, env_config, [*known, "render_mode"])
    return create(name.removeprefix(ATARI), dict(env_config))


def resolve(name: str) -> type:
    """The class behind any public name."""
    return _load(_target("name", name, {**ALGORITHMS, **STAGES, **TRAINABLES, **ENVIRONMENTS, **GAMES}))


def create_environment(name: str, env_config: Mapping[str, Any]) -> Any:
    """An environment or a game of the table, built from RLlib's ``env_config``.

    Raises `BadConfig` with the nearest right key where the environment takes no such argument.
    """
    if name in GYMNASIUM:
        cls = gymnasium_environment(name)
    else:
        cls = game(name) if name in GAMES else environment(name)
    parameters = inspect.signature(cls).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        _check_keys(name, env_config, parameters)
    return cls(**env_config)


def register() -> None:
    """Make every public name known to Tune, RLlib and gymnasium; calling it again changes nothing.

    Tune wants the class of a trainable, so the algorithms' modules are imported here. Environments are
    registered by name and imported by whoever builds one. RLlib gets a game in this package's adapter of PettingZoo
    (`rllib_ext.multi_agent`).
    """
    import gymnasium
    from ray.tune.registry import register_env, register_trainable

    for name in (*ALGORITHMS, *STAGES, *TRAINABLES):
        register_trainable(name, resolve(name))
    for name, target in (*ENVIRONMENTS.items(), *GYMNASIUM.items()):
        register_env(name, functools.partial(create_environment, name))
        if gymnasium_id(name) not in gymnasium.registry:
            gymnasium.register(id=gymnasium_id(name), entry_point=target)
    for name in GAMES:
        register_env(name, functools.partial(_wrapped_game, name))
    for name in atari_names():
        register_env(name, functools.partial(create_atari, name))
        if gymnasium_id(name) not in gymnasium.registry:
            gymnasium.register(
                id=gymnasium_id(name),
                entry_point="envs.atari_gym:AtariSingle",
                vector_entry_point="envs.atari_gym:AtariVector",
                kwargs={"game": name.removeprefix(ATARI)},
            )


def _wrapped_game(name: str, env_config: Mapping[str, Any]) -> Any:
    from rllib_ext.multi_agent.pettingzoo_env import PettingZooMultiAgentEnv

    return PettingZooMultiAgentEnv(functools.partial(create_environment, name, env_config), check=False)


def _check_keys(name: str, env_config: Mapping[str, Any], known: Collection[str]) -> None:
    for key in env_config:
        if key not in known:
            from rllib_ext.errors import unknown_name

            raise unknown_name(f"key in env_config of {name}", key, known)


def _target(kind: str, name: str, table: Mapping[str, str]) -> str:
    if name not in table:
        from rllib_ext.errors import unknown_name

        raise unknown_name(kind, name, table)
    return table[name]


def _load(target: str) -> type:
    """Import ``module:Class``; a missing optional package is named together with the extra that brings it."""
    module, _, attribute = target.partition(":")
    try:
        loaded: type = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("rllib_ext", "envs"):
            raise
        from rllib_ext.errors import BadConfig

        raise BadConfig(
            f"{attribute} needs the package {error.name!r}, which is not installed. Install the extra that "
            'brings it: pip install "rllib-ext[llm]" (`rllib-ext doctor` lists what is missing).'
        ) from error
    return loaded
