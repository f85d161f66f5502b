"""From folders of frames to augmented batches of tensors.

A batch has its stacks cut out of the windows, each augmented by draws of its own: the online view of o_t, and the target
views, which are (with G) o_t again, o_{t+1} .. o_{t+K}, (with G) the goal. With G alone nothing is looked at beyond
o_{t+1}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from envs.atari_games import ATARI_100K
from rllib_ext.errors import BadData
from rllib_ext.frames.epochs import WindowStream
from rllib_ext.frames.layout import read_dataset
from rllib_ext.frames.store import FrameStore
from rllib_ext.frames.windows import WindowReader, Windows
from rllib_ext.functional.augmentation import augment
from rllib_ext.functional.goal_conditioned import draw_goals
from rllib_ext.sgi.encoders import latent_size


def about(folders: Sequence[Path]) -> dict[str, Any]:
    """What the first folder says of itself."""
    return read_dataset(folders[0]).about


def actions_of(folder: Path) -> int:
    """How many actions the game of a folder has: those that it names, else (DQN Replay) the game's minimal set."""
    found = read_dataset(folder).about
    meanings = found.get("action_meanings")
    if isinstance(meanings, list) and meanings:
        return len(meanings)
    for game in ATARI_100K:
        if game.name == found.get("game"):
            return game.actions
    raise BadData(
        f"{folder} does not say which actions its game has (action_meanings in _dataset.json), and {found.get('game')!r} "
        "is none of the 26 games; collect or import it again with this package."
    )


def open_reader(config: Any) -> WindowReader:
    """Windows of the configuration's folders."""
    stores = [FrameStore(folder) for folder in config.folders]
    goal = (config.goal_nearest, config.goal_farthest) if "G" in config.losses else None
    reader = WindowReader(stores, horizon=horizon_of(config), goal=goal, life_loss=config.life_loss)
    actions = actions_of(config.folders[0])
    for store in stores:
        highest, own = int(store.rows.action_N.max()), actions_of(store.folder)
        if highest >= actions or own != actions:
            raise BadData(
                f"{store.folder} has action {highest} of {own}; {config.folders[0]} has {actions} actions. Give folders "
                "with one set of actions."
            )
    return reader


def open_stream(config: Any, reader: WindowReader) -> WindowStream:
    """Shuffled epochs of them."""
    return WindowStream(
        reader,
        batch_size=config.train_batch_size_per_learner,
        seed=config.seed or 0,
        prefetch=config.prefetch,
    )


def horizon_of(config: Any) -> int:
    """Steps that a window needs."""
    return config.horizon if set(config.losses) & {"S", "I"} else 1


def as_batch(windows: Windows, config: Any, draw: Generator, device: torch.device) -> dict[str, Tensor]:
    """Windows -> the columns that SGIModule reads, on ``device``."""
    frames_BFHW = torch.from_numpy(windows.frames_BFHW).to(device)
    stacks_BTCHW = frames_BFHW.unfold(1, 4, 1).movedim(-1, 2)  # of o_t .. o_{t+K}, views
    valid_BK = torch.from_numpy(windows.valid_BK).to(device)
    own = "G" in config.losses
    later = [stacks_BTCHW if own else stacks_BTCHW[:, 1:]]
    batch = {"actions": torch.from_numpy(windows.actions_BK).to(device), "valid": valid_BK}
    if own:
        later.append(torch.from_numpy(windows.goal_frames_B4HW).to(device).unsqueeze(1))
        drawn = draw_goals(
            torch.from_numpy(windows.goal_valid_B),
            latent_size(config.encoder),
            draw,
            noise=config.goal_noise,
            swap=config.goal_swap,
        )
        batch |= {
            "goal_noise": drawn.noise_BD.to(device),
            "goal_share": drawn.share_B.to(device),
            "goal_source": drawn.source_B.to(device),
        }
    views_BRCHW = torch.cat([stacks_BTCHW[:, :1], *later], dim=1)
    count = views_BRCHW.shape[1]
    augmented = augment(
        views_BRCHW.flatten(0, 1),
        draw,
        pad=config.shift,
        scale=config.intensity,
        dtype=precision_of(config, device),
    )
    augmented = augmented.unflatten(0, (len(valid_BK), count))
    return {"online": augmented[:, 0], "later": augmented[:, 1:], **batch}


def precision_of(config: Any, device: torch.device) -> torch.dtype:
    """The type that products are computed in; ``auto`` takes bfloat16 where the hardware multiplies it itself."""
    if config.precision == "auto":
        native = (
            torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
        )
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
