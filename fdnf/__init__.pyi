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
from .corrected import (
    Corrected as Corrected,
    CorrectionWarning as CorrectionWarning,
    corrected_sample as corrected_sample,
)
from .fitting import (
    distil as distil,
    fit as fit,
    from_arrays as from_arrays,
    load as load,
    mixture as mixture,
    posterior as posterior,
    save as save,
)
from .flows.as_distrax import from_distrax as from_distrax
from .flows.flowjax_flows import from_flowjax as from_flowjax

__version__: str
