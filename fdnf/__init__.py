"""Normalizing flows and their distillation, in JAX and Flax.

Subpackages, from the bottom up: `ops`, `nets`, `bijectors`, `flows`, `students`,
`metrics`, `losses`, `data`, `train`, `evaluation`. Each imports only those before
it; nothing is imported here, so that `from fdnf.losses import distillation` costs
what it needs and no more.
"""

__version__ = "0.1.0"
