"""Samplers as files that need neither fdnf nor flax."""
