"""Replay over unique frames, with priorities, windows for SPR and n-step returns for Rainbow."""

from rllib_ext.sgi.replay.buffer import FrameSequenceReplayBuffer, Windows

__all__ = ["FrameSequenceReplayBuffer", "Windows"]
