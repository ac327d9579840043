"""Training: state, optimiser, steps, checkpoints, logs and the loop."""
