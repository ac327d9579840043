"""Normalizing flows and their distillation, in JAX and Flax.

    trained = fdnf.fit(fdnf.flows.MAF(steps=5), x)
    trained.log_prob(x), trained.sample(0, 1000)
    student = fdnf.distil(trained, fdnf.flows.MAF(steps=2), x, method="ilkd")
    student.save("student.npz"), fdnf.load("student.npz")
    student.sample(0, 1000, exact=True)  # Of the teacher, see `corrected_sample`.

`help` of each says the rest. Teachers of other libraries come by `from_distrax`,
`from_flowjax`, `from_arrays` and `types.ExternalFlow`.

Subpackages, from the bottom up: `ops`, `nets`, `bijectors`, `flows`, `students`,
`metrics`, `losses`, `transforms`, `data`, `train`, `evaluation`. Each imports only
those before it. Nothing is imported before it is used, so that `fdnf.losses.ilkd`
costs what it needs and no more.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
