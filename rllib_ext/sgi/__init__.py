"""SGI: representations of Atari pretrained without rewards, and the agent that finetunes them (Rainbow, SPR)."""
