"""Pictures of samples, latents and training."""
