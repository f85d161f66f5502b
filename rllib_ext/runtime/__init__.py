"""What a run leaves on disk and how it comes back: checkpoints, run folders, seeds, random states, events."""
