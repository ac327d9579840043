"""Normalizing flows and their distillation, in JAX and Flax.

Subpackages, from the bottom up: `ops`, `nets`, `bijectors`, `flows`, `students`,
`metrics`, `losses`, `transforms`, `data`, `train`, `evaluation`. Each imports only
those before it. Nothing is imported before it is used, so that `fdnf.losses.ilkd`
costs what it needs and no more.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
