"""Games of two agents whose interests differ: signalling on a circle, and negotiation over a pool of items."""

from envs.games.negotiation import Negotiation
from envs.games.sender_receiver import SenderReceiver, SenderReceiverParallel

__all__ = ["Negotiation", "SenderReceiver", "SenderReceiverParallel"]
