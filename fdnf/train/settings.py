"""Checks of a whole config, and its passage to JSON and back."""

import contextlib
import functools
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from fdnf.data import build as datasets
from fdnf.flows.base import FlowModule
from fdnf.losses import likelihood
from fdnf.ops import mel
from fdnf.train import generators, models, objectives, optim, preprocessing, transfer
from fdnf.train.preprocessing import Data, Prepared

_COUNTS = (
    "steps",
    "batch_size",
    "steps_per_call",
    "eval_every",
    "log_every",
    "keep",
    "init_rows",
    "max_bad_steps",
)


class ConfigError(ValueError):
    """A config that cannot work; the text says which key and what to write."""


def check(config: Any) -> None:
    """Refuses what would only fail later, before any time is spent.

    Raises:
      ConfigError: naming the first key that is wrong.
    """
    train = config.train
    for key in _COUNTS:
        if not isinstance(train[key], int) or train[key] < 1:
            raise ConfigError(
                f"train.{key}={train[key]!r}: expected a whole number of at least 1"
            )
    if config.runs < 1:
        raise ConfigError(f"runs={config.runs}: expected at least 1")
    for key in ("steps", "eval_every"):
        if train[key] % train.steps_per_call:
            raise ConfigError(
                f"train.{key}={train[key]} is not a multiple of "
                f"train.steps_per_call={train.steps_per_call}, the steps of one call"
            )
    if train.get("accumulate", 1) < 1:
        raise ConfigError(f"train.accumulate={train.accumulate}: expected at least 1")
    if config.loss.get("units", "nats") not in likelihood.UNITS:
        raise ConfigError(
            f"loss.units={config.loss.units!r}; known: {likelihood.UNITS}"
        )
    if config.data.name not in datasets.DATASETS:
        raise ConfigError(
            f"unknown data.name {config.data.name!r}; known: "
            f"{sorted(datasets.DATASETS)}"
        )
    try:
        model = models.build(config.model)
        _check_density(model, config.loss.method)
        _check_hop(model, config.data)
        optim.make(config.optim, train.steps)
        optim.ema_init({}, config.optim.ema)
        if config.loss.method != "nll":
            objectives.arguments(config)
        if config.loss.method in generators.METHODS:
            generators.weights(config)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error
    if objectives.needs_teacher(config):
        teacher = config.get("teacher")
        if teacher is None or not (teacher.workdir or teacher.get("config")):
            raise ConfigError(
                f"loss.method={config.loss.method!r} needs a teacher: set "
                "teacher.workdir to the workdir of a trained flow, or teacher.config "
                "to the config of one to train first"
            )
        if teacher.get("samples") and {"bins", "mel"} & set(config.data):
            raise ConfigError(
                f"teacher.samples={teacher.samples}: samples that are kept have no "
                "images or spectrograms beside them; set it to 0"
            )
        # A workdir on the command line goes before the config of the file.
        if not teacher.workdir:
            check(teacher.config)
    _check_pretrained(config.get("pretrained"))


def _check_pretrained(section: Any) -> None:
    if not section:
        return
    if not (section.workdir or section.get("config")):
        raise ConfigError(
            "pretrained: set pretrained.workdir to the workdir of a trained model, or "
            "pretrained.config to the config of one to train first"
        )
    if not 0 <= section.frozen < 1:
        raise ConfigError(
            f"pretrained.frozen={section.frozen}: expected a fraction of the training, "
            "at least 0 and less than 1"
        )
    if not section.workdir:
        check(section.config)


def _check_density(model: models.Model, method: str) -> None:
    without = (*transfer.DECODING, *generators.METHODS)
    if not isinstance(model, FlowModule) and method not in without:
        raise ConfigError(
            f"loss.method={method!r} needs a density, which {type(model).__name__}, a "
            f"feed-forward student, does not have; it learns by {without}"
        )


def _check_hop(model: models.Model, data: Any) -> None:
    """Frames that are not where a vocoder takes them to be are still frames."""
    ours = getattr(model, "hop", None)
    if ours is None or "mel" not in data:
        return
    given = data.mel.get("hop", mel.DEFAULT.hop)
    if ours != given:
        raise ConfigError(
            f"model.args.hop={ours}, data.mel.hop={given}: expected the same samples a "
            f"frame in both; where data.mel.hop is left out it is {mel.DEFAULT.hop}"
        )


def convolves(config: Any) -> bool:
    """Whether the data are images or sound, whose models are made of convolutions."""
    return bool({"n_bits", "bins", "mel"} & set(config.data))


def prepared(config: Any, data: Data) -> Prepared:
    """What the `data` section asks to be done to batches.

    Raises:
      ConfigError: for options that the data do not allow.
    """
    try:
        return preprocessing.make(config.data, data)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def check_event(flow: models.Model, data: Data, prepared: Prepared) -> None:
    """Refuses a flow that cannot take the data, by shapes alone.

    Raises:
      ConfigError: with what the flow has to say.
    """
    x = jax.ShapeDtypeStruct((2, *data.event), jnp.float32)
    cond = prepared.condition_shape(data.event)
    if cond is not None:
        cond = jax.ShapeDtypeStruct((2, *cond), jnp.float32)
    with explained(flow, data):
        init = functools.partial(models.init, flow)
        jax.eval_shape(init, jax.random.key(0), x, cond)


@contextlib.contextmanager
def explained(flow: models.Model, data: Data) -> Iterator[None]:
    """Around the first use of a flow on data: what fails is the config's fault.

    Raises:
      ConfigError: instead of the ValueError or TypeError of the flow.
    """
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{type(flow).__name__} cannot take {data.name}, rows of shape "
            f"{data.event}: {error}"
        ) from error


def to_dict(config: Any) -> dict[str, Any]:
    """The config as what JSON can hold; tuples become lists."""
    return json.loads(json.dumps(config.to_dict()))


def from_dict(values: dict[str, Any]) -> ml_collections.ConfigDict:
    """The config that `to_dict` wrote, lists of the file made tuples again."""
    return ml_collections.ConfigDict(tuples(values))


def tuples(value: Any) -> Any:
    """Lists as tuples, however deep: modules need them as attributes."""
    if isinstance(value, dict):
        return {k: tuples(v) for k, v in value.items()}
    return tuple(tuples(v) for v in value) if isinstance(value, list) else value
