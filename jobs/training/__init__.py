"""Training as every kind of run does it: steps, losses, checkpoints, workers."""
