"""Pure maths: tensors in, tensors out.

Nothing here knows of Ray, of configurations, of logging or of devices; every function computes where its
arguments already are. Losses return one value per example (or per token) and a dataclass of metrics, and
leave the single reduction to the learner. Half-precision inputs are widened to float32 before the first
operation.

Shape suffixes: B batch (one completion, or one pair), K completions of one prompt, T token, V vocabulary.
Log-probabilities are in nats. Masks are boolean, True where a value counts.
"""
