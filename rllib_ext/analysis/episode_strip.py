"""An episode with its messages: each frame, and under it a row an agent of bars as high as the message's numbers.

A bar is full at 1 and empty at 0; its outline shows where 1 is. Rows are in the order of the agents and in the colours of
their discs. An agent that is not active says nothing and has no bars. PNG: all frames, wrapped into rows; GIF: one after
the other. Drawn by Pillow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.grid.pictures import colour_of
from rllib_ext.analysis.recordings import Recording
from rllib_ext.errors import BadConfig, BadData

Picture = NDArray[np.uint8]
BAR_HEIGHT, ROW_GAP, MARGIN, HEADER = 22, 4, 8, 14
LEAST_SIDE, MOST_FRAMES, FRAMES_A_ROW, MS_A_FRAME = 130, 60, 6, 500
WHITE, OUTLINE, INK = 255, (205, 205, 205), (31, 36, 48)


def episode_frames(recording: Recording) -> list[Picture]:
    """The filmed episode, one picture a step, all of one size. Raises BadData where nothing was filmed."""
    episode = int(recording.about.get("filmed", -1))
    rows = np.flatnonzero(recording.episode == episode)
    if not len(recording.frames) or len(rows) != len(recording.frames):
        raise BadData(
            "the recording has no pictures; record it with pictures=True, in an environment that draws them"
        )
    return [
        _panel(frame, recording.messages[row], recording.active[row], f"t = {recording.time[row]}")
        for frame, row in zip(recording.frames[:MOST_FRAMES], rows, strict=False)
    ]


def draw_strip(recording: Recording, path: Path) -> Path:
    """Write the filmed episode as one PNG, FRAMES_A_ROW steps a row."""
    panels = episode_frames(recording)
    columns = min(FRAMES_A_ROW, len(panels))
    blank = np.full_like(panels[0], WHITE)
    panels += [blank] * (-len(panels) % columns)
    rows = [np.concatenate(panels[i : i + columns], axis=1) for i in range(0, len(panels), columns)]
    _pillow().fromarray(np.concatenate(rows)).save(path, format="PNG")
    return path


def animate(recording: Recording, path: Path) -> Path:
    """Write the filmed episode as a GIF that begins again at its end."""
    images = [_pillow().fromarray(panel) for panel in episode_frames(recording)]
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=MS_A_FRAME, loop=0)
    return path


def _panel(frame: Picture, messages_AD: Any, active_A: Any, title: str) -> Picture:
    """One frame with its title above and its messages below."""
    scale = max(1, -(-LEAST_SIDE // min(frame.shape[:2])))
    frame = frame.repeat(scale, axis=0).repeat(scale, axis=1)
    agents, numbers = messages_AD.shape
    below = agents * (BAR_HEIGHT + ROW_GAP) if numbers else 0
    height, width = frame.shape[:2]
    panel = np.full((HEADER + height + below + 2 * MARGIN, width + 2 * MARGIN, 3), WHITE, np.uint8)
    panel[HEADER + MARGIN : HEADER + MARGIN + height, MARGIN : MARGIN + width] = frame
    for agent in range(agents if numbers else 0):
        top = HEADER + MARGIN + height + ROW_GAP + agent * (BAR_HEIGHT + ROW_GAP)
        if active_A[agent]:
            _bars(panel[top : top + BAR_HEIGHT, MARGIN : MARGIN + width], messages_AD[agent], agent)
    return _titled(panel, title)


def _bars(place: Picture, message_D: Any, agent: int) -> None:
    """Draw one message into this part of a picture."""
    height, width = place.shape[:2]
    step = width / len(message_D)
    for index, value in enumerate(np.clip(message_D, 0.0, 1.0)):
        left, right = round(index * step), max(round((index + 1) * step) - 2, round(index * step) + 1)
        place[:, left:right] = OUTLINE
        place[1:, left + 1 : max(right - 1, left + 1)] = WHITE
        filled = round(float(value) * height)
        if filled:
            place[height - filled :, left:right] = colour_of(agent)


def _titled(panel: Picture, title: str) -> Picture:
    from PIL import ImageDraw

    image = _pillow().fromarray(panel)
    ImageDraw.Draw(image).text((MARGIN, 4), title, fill=INK)
    return np.asarray(image)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise BadConfig('An episode\'s pictures need Pillow: pip install "rllib-ext[plot]"') from error
    return Image
