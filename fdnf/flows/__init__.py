"""Flows: encode data to latents, decode latents to data."""
