"""The supervised stages of RLHF as Tune trainables: SFT, reward model, DPO on fixed comparisons; and gold labels."""
