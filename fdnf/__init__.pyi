from . import (
    bijectors as bijectors,
    data as data,
    evaluation as evaluation,
    flows as flows,
    losses as losses,
    metrics as metrics,
    nets as nets,
    ops as ops,
    students as students,
    train as train,
    transforms as transforms,
    types as types,
)

__version__: str
