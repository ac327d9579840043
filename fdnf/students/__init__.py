"""Feed-forward students of flows: latents in, data out, nothing else."""
