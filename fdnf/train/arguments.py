"""What `model.args` and `data.args` may hold, read off models and data sets.

Their names and whether there is one value, several or None stand in the signatures;
here is what each number, text or choice in them may be.
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from fdnf.bijectors import coupling, pixel_inverse
from fdnf.data import build as datasets
from fdnf.data.images import Images
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import Tabular
from fdnf.flows import affine, glow
from fdnf.flows import build as flows
from fdnf.nets import mlp
from fdnf.ops import autoregressive_inverse
from fdnf.students import build as students
from fdnf.train.rules import (
    SEED,
    SIZE,
    Rule,
    either,
    number,
    one_of,
    optional,
    several,
    text,
    whole,
    yes_no,
)

_SIZE = whole(1, SIZE)
_POSITIVE = number(above=0)
_METHODS = one_of(autoregressive_inverse.METHODS)
_PIXEL_METHODS = one_of(pixel_inverse.METHODS)
# By attribute, or model and attribute; what is not here goes by its type.
ATTRIBUTES: dict[str, Rule] = {
    "activation": one_of(mlp.ACTIVATIONS),
    "bound": _POSITIVE,
    "dtype": one_of(glow.DTYPES),
    "floor": number(0, below=1),
    "inverse": _METHODS,
    "pixelcnn.inverse": _PIXEL_METHODS,
    "pixelcnn_iaf.inverse": _PIXEL_METHODS,
    "output_scale": number(0),
    "resnet.squeezes": whole(0, 16),
    "srflow.taps": whole(0, SIZE),
    "srflow_student.taps": whole(0, SIZE),
    "start": one_of(affine.STARTS),
    "step": _POSITIVE,
    "tolerance": _POSITIVE,
    "transform": one_of(coupling.TRANSFORMS),
    "transitions": whole(0, SIZE),
}
# By argument of a data set, likewise.
ARGUMENTS: dict[str, Rule] = {
    "levels": whole(2, 256),
    "rate": whole(1, 10**6),
    "rows": whole(1),
    "segment": whole(1, 2**24),
    "seed": SEED,
    # Those of which there are pictures.
    "synthetic_images.channels": one_of((1, 3)),
    # Made anew at every start.
    "synthetic_images.size": whole(1, 2**10),
    "synthetic.dim": whole(1, 2**12),
}
MODELS: Mapping[str, Any] = {**flows.FLOWS, **students.STUDENTS}
_BY_TYPE = {int: _SIZE, float: _POSITIVE, str: text(), bool: yes_no()}
_KIND_OF = {
    Tabular: "vectors",
    Images: "images",
    Pairs: "super_resolution",
    Clips: "speech",
}


def kind_of(data: str) -> str | None:
    """The kind of a data set, a key of KINDS; None for an unknown one."""
    if data not in datasets.DATASETS:
        return None
    return _KIND_OF[inspect.signature(datasets.DATASETS[data]).return_annotation]


def of_model(model: str) -> dict[str, Rule]:
    """The attributes of a flow or student by name, as `model.args` gives them."""
    return {
        field.name: _typed(field.type, _rule(ATTRIBUTES, model, field.name))
        for field in dataclasses.fields(MODELS[model])
        if field.name not in ("parent", "name")
    }


def of_data(data: str) -> dict[str, tuple[Rule, bool]]:
    """The arguments of a data set by name, and which have to be given."""
    parameters = inspect.signature(datasets.DATASETS[data]).parameters
    return {
        key: (
            _typed(parameter.annotation, _rule(ARGUMENTS, data, key)),
            parameter.default is parameter.empty,
        )
        for key, parameter in parameters.items()
    }


def defaults(data: str) -> dict[str, Any]:
    """The arguments of a data set that may be left out, and what they are then."""
    if data not in datasets.DATASETS:
        return {}
    parameters = inspect.signature(datasets.DATASETS[data]).parameters
    return {
        key: parameter.default
        for key, parameter in parameters.items()
        if parameter.default is not parameter.empty
    }


def _rule(table: Mapping[str, Rule], owner: str, attribute: str) -> Rule | None:
    return table.get(f"{owner}.{attribute}", table.get(attribute))


def _typed(annotation: Any, rule: Rule | None) -> Rule:
    """A rule of one number (text, bool) as one of what the annotation says."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        # Lists stand beside tuples, and are told by the same rule.
        alone = [each for each in inner if typing.get_origin(each) is not list]
        told = [_typed(each, rule) for each in alone if each is not type(None)]
        found = told[0] if len(told) == 1 else either(*told)
        return optional(found) if type(None) in inner else found
    if origin is tuple:
        return several(_typed(inner[0], rule))
    return rule or _BY_TYPE[annotation]
