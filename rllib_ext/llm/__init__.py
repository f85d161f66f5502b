"""What the language-model methods share: models, tokenizers, rollout workers, rewards and supervised stages."""
