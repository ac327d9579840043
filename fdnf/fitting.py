"""Flows in a few lines of Python: fit one to arrays, let it teach, save it, load it.

    x = numpy.random.default_rng(0).gamma(2.0, size=(10_000, 8))
    trained = fdnf.fit(fdnf.flows.MAF(steps=5, hidden=(64, 64)), x)
    trained.log_prob(x)                       # nats, of x in its own units
    trained.sample(0, 1000)                   # a seed, or a key of jax
    student = fdnf.distil(trained, fdnf.flows.MAF(steps=5, hidden=(16,)), x)
    student.save("student.npz")
    fdnf.load("student.npz").log_prob(x)      # in any process

Training is the trainer's own (`train.loop`): the same step, checkpoints and checks, of
data and flows that are in memory. Whatever a config can say of it, `options` can.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from fdnf.data import memory
from fdnf.data.memory import Rows
from fdnf.data.tabular import DataError
from fdnf.flows.base import FlowModule
from fdnf.train import (
    answers,
    in_memory,
    judges,
    models,
    objectives,
    preprocess,
    settings,
    table,
    teachers,
)
from fdnf.train.preprocess import Prepared, Preprocess
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Held
from fdnf.train.teachers import IN_MEMORY, Trained
from fdnf.types import Encoding, ExternalFlow, Flow, Judge

# Of a teacher that guides, however few rows there are. Of 60 columns: a second.
LEAST_SAMPLES = 50_000
METHODS = tuple(m for m in objectives.METHODS if m not in objectives.ALONE)
# Those that take no teacher, of flows.
FITTED = ("nll", objectives.MATCHING)
# Those that ask of a teacher nothing but log p.
JUDGED = ("kl", "guided")


class Arrays(NamedTuple):
    """What a teacher of another library said of rows, see `from_arrays`."""

    z: tuple[np.ndarray, ...]
    levels: tuple[np.ndarray, ...]


Teacher = Trained | tuple[Flow, Any] | Arrays


def fit(
    flow: FlowModule,
    x: Any,
    cond: Any = None,
    weights: Any = None,
    *,
    method: str | None = None,
    steps: int = 5000,
    batch_size: int = 512,
    lr: float = 1e-3,
    validation: Any = 0.1,
    early_stop: int | None = None,
    seed: int = 0,
    transforms: Any = "standardise",
    progress: bool = True,
    workdir: str | pathlib.Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Trained:
    """Trains a flow on arrays, by maximum likelihood or flow matching.

    Args:
      flow: of `fdnf.flows`, or a class of your own on `fdnf.flows.FlowModule`.
      x: vectors `[n, d]` in your units, an array, list or data frame; or images, uint8
        `[n, height, width, channels]`.
      cond: of vectors `[n, c]`, what their density is conditional on; of images their
        labels, `[n]`.
      weights: `[n]`, what each row counts, from 0 on.
      method: "nll", the likelihood; or "flow_matching", of a `ContinuousFlow`, which
        takes no densities in training. None for what suits the flow: the second for a
        `ContinuousFlow`, the first for all others.
      steps: of the training.
      batch_size: rows a step.
      lr: learning rate after the warm-up, from where it goes down by a cosine.
      validation: the fraction of rows that is held out, by whose loss the best
        parameters are kept; or these rows, x or (x, cond) or (x, cond, weights).
      early_stop: validations (there are about 20) in a row without a better one, after
        which training ends; None for never.
      seed: of the split, the first parameters and the batches.
      transforms: what stands before the flow and is counted in its densities. Of
        vectors a kind of `fdnf.transforms.KINDS` for all columns; "auto", chosen column
        by column; {column: kind, ...} by name or place, the others standardised; None
        for rows as they are. Of images {"logit": 0.05, "flip": True, "n_bits": 5}, or
        some of these. The flow sees what comes out.
      progress: whether a bar is shown, on a terminal.
      workdir: where checkpoints, log and config are kept: the same call goes on from
        there, and returns at once when it was done. None keeps nothing.
      options: further keys of a config, {"optim.schedule": "constant"}: see
        `fdnf.train.keys`.

    Returns:
      The flow with the parameters of the best validation: `.log_prob(x, cond)`,
      `.sample(key, n, cond)`, `.save(path)`, `.flow`, `.variables`; in `.meta["log"]`
      the rows of the training's log.

    Raises:
      DataError: for rows that cannot be trained on, by row and column.
      ConfigError: for options that cannot be, and flows that cannot take such rows.
      TrainingStoppedError: when too many steps in a row are not finite.
      KeyboardInterrupt: on Ctrl-C; with a workdir what was reached is saved.
    """
    if not isinstance(flow, FlowModule):
        raise TypeError(
            f"fit({_said(flow)}, ...): expected a flow, such as fdnf.flows.MAF(); a "
            "feed-forward student learns by fdnf.distil"
        )
    method = getattr(flow, "trained_by", "nll") if method is None else method
    if method not in FITTED:
        raise ConfigError(f"method={method!r}: expected one of {FITTED}, or None")
    rows = memory.taken(x, cond, weights)
    train, held_out, _ = memory.split(rows, validation, seed)
    section = {"loss": {"method": method}}
    given = in_memory.options(steps, batch_size, lr, early_stop, seed, options)
    if rows.pictures:
        section["data"] = in_memory.of_images(
            transforms, conditional=train.cond is not None
        )
        data: Any = memory.images(train, held_out)
    else:
        data = memory.table(train, held_out, transforms)
    config = in_memory.config(flow, section, given, rows, len(train.x))
    held = Held(data, settings.prepared(config, data), flow)
    return in_memory.trained(config, held, workdir, "fit" if progress else None)


def distil(
    teacher: Teacher,
    student: models.Model,
    x: Any,
    cond: Any = None,
    weights: Any = None,
    *,
    method: str = "ilkd",
    loss: Mapping[str, Any] | None = None,
    samples: int | None = None,
    share: float | None = None,
    steps: int = 5000,
    batch_size: int = 512,
    lr: float = 1e-3,
    validation: Any = 0.1,
    early_stop: int | None = None,
    seed: int = 0,
    transforms: Any = None,
    progress: bool = True,
    workdir: str | pathlib.Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Trained:
    """Trains a student on arrays by what its teacher says of them.

    Args:
      teacher: what `fit`, `distil` or `load` gave; a pair (flow, variables) of this
        package, of `from_distrax` or `from_flowjax`, or an `ExternalFlow` of your own;
        what `from_arrays` made; or a density alone, which judges: `posterior`,
        `mixture`, or (types.Judge(log_prob), variables). A pair sees the rows as they
        are given.
      student: a flow; for "x", "oracle" and "feed_forward" also a feed-forward student.
      x: rows, as of `fit`, in the units that the teacher was trained in.
      cond: as of `fit`, of a teacher with a condition.
      weights: as of `fit`.
      method: "lkd" compares latents; "ilkd" the activations of levels, of which the
        student has as many or fewer (level i of S with ceil(i T / S) of T, or as
        `loss={"args.pairs": ((0, 1), (1, 3))}` says); "skd" latents and samples; "kl",
        "z", "x" and "oracle" make a parallel sampler of an autoregressive teacher, and
        so does "guided", block by block, in stages: the nearest one, of the student
        `fdnf.flows.IAF.of(maf, hidden=(128, 128))`; "feed_forward" teaches a network. A
        density alone teaches by "kl", where of the rows only the conditions count, and
        whether training improves is measured by the held out ones.
      loss: keys of a config's loss section, {"args.weights": (1.0, 0.1, 0.0),
        "transfer.warm": 0.2}; of "guided" its stages, and the weights of its terms in
        each, {"guided.until": (0.5, 1.0), "guided.lr": (1.0, 0.25), ...}. Of a foreign
        teacher, whose blocks cannot be asked, {"guided.units": "level"}.
      samples: how many samples of the teacher are drawn as further rows. "oracle"
        learns from them alone, and takes as many as there are rows by default;
        "guided" takes 50,000 at least, and none of a teacher that only encodes.
      share: of each batch that these have, 0.5 by default; of "oracle" and "guided" 1.
      transforms: None: the student sees what its teacher sees. Of a teacher
        `from_arrays` as of `fit`, None for standardised columns. Of a density alone as
        of `fit`, None for rows as they are: it is of your units, whatever the student
        sees.
      steps: this and the rest as of `fit`.
      batch_size: likewise.
      lr: likewise.
      validation: likewise.
      early_stop: likewise.
      seed: likewise.
      progress: likewise.
      workdir: likewise.
      options: as of `fit`; {"teacher.once": True} has a teacher of "lkd", "ilkd", "x"
        or "oracle" asked about each row before training, and not in every step.

    Returns:
      The student, as `fit` returns flows.

    Raises:
      As `fit`; ConfigError, for levels and latents that cannot be compared.
    """
    if method not in METHODS:
        raise ConfigError(f"method={method!r}; known: {', '.join(METHODS)}")
    if not isinstance(student, models.Model):
        raise TypeError(
            f"distil(teacher, {_said(student)}, ...): expected a flow or a student, "
            "such as fdnf.flows.MAF()"
        )
    rows = memory.taken(x, cond, weights)
    train, held_out, picked = memory.split(rows, validation, seed)
    taught = _teacher(teacher, rows)
    said = None
    if isinstance(teacher, Arrays):
        _check_arrays(teacher, method, rows)
        said = answers.Answers(*(tuple(a[picked] for a in part) for part in teacher))
        kept = "standardise" if transforms is None else transforms
        data: Any = memory.table(train, held_out, kept)
        prepared: Prepared = preprocess.make(ConfigDict(), data)
        taught = taught._replace(
            meta=taught.meta | {"preprocess": preprocess.describe(prepared)}
        )
    elif isinstance(taught.flow, Judge):
        _check_judge(method, rows)
        data = memory.table(train, held_out, transforms)
        prepared = preprocess.make(ConfigDict(), data)
        taught = judges.taught(taught, prepared)
    elif transforms is not None:
        raise ConfigError(
            f"transforms={transforms!r}: the student sees what its teacher sees: leave "
            "transforms out, and give the teacher what it is to have before it"
        )
    else:
        prepared = taught.preprocess
        data = _as_taught(taught, train, held_out)
    if samples is None:
        samples = _samples(method, taught.flow, len(train.x))
    if share is None:
        share = 1.0 if method in ("oracle", "guided") else 0.5
    section = {
        "role": "student",
        "teacher": {"workdir": IN_MEMORY, "samples": samples, "share": share},
        "loss": {"method": method},
    }
    extra = {f"loss.{key}": value for key, value in (loss or {}).items()}
    given = in_memory.options(steps, batch_size, lr, early_stop, seed, options) | extra
    config = in_memory.config(student, section, given, rows, len(train.x))
    held = Held(data, prepared, student, taught, said)
    return in_memory.trained(config, held, workdir, "distil" if progress else None)


def from_arrays(z: Any, levels: Any = ()) -> Arrays:
    """A teacher of any library, by what it says of the rows: encodings as arrays.

    A flow in torch, say, whose `encode` gives its latent and what each block made:

        with torch.no_grad():
            z, blocks = torch_flow.encode(torch.as_tensor(x))
        teacher = fdnf.from_arrays(z, blocks)
        student = fdnf.distil(teacher, fdnf.flows.MAF(steps=len(blocks)), x)

    "lkd" needs `z`, "ilkd" the levels. Of its samples a student learns without more:
    `fdnf.fit(student, torch_flow.sample(50_000))`.

    Args:
      z: the latent of each row of x, `[n, d]`; of a flow with several a tuple of them.
      levels: of each block, from the data on, what it made of each row.
    """
    given = z if isinstance(z, tuple | list) and np.ndim(z[0]) > 1 else (z,)
    made = [tuple(np.asarray(a, np.float32) for a in part) for part in (given, levels)]
    for name, part in zip(("z", "levels"), made, strict=True):
        for array in part:
            if array.ndim < 2 or len(array) != len(made[0][0]):
                raise DataError(
                    f"{name} of shape {array.shape}: expected one row for each of the "
                    f"{len(made[0][0])} of z, [n, ...]"
                )
            if not np.isfinite(array).all():
                raise DataError(f"{name}: some values are not finite")
    return Arrays(*made)


def save(trained: Trained, path: str | pathlib.Path) -> None:
    """Writes a trained flow as one file, see `Trained.save`."""
    trained.save(path)


def load(path: str | pathlib.Path, flow: FlowModule | None = None) -> Trained:
    """A trained flow: a file that `save` wrote, or the workdir of any training.

    Args:
      path: of the file or directory.
      flow: what it is of, where that is of a class of your own.

    Raises:
      CheckpointError: for what is missing, damaged, of a later version, or of another
        flow; with the way out.
    """
    return teachers.load(path, flow)


def posterior(likelihood: Trained, log_prior: judges.LogPrior) -> tuple[Judge, Any]:
    """The posterior of a learned likelihood as a teacher, see `judges.posterior`."""
    return judges.posterior(likelihood, log_prior)


def mixture(trained: Trained) -> tuple[Judge, Any]:
    """All runs of a training as one density, a teacher; see `judges.mixture`."""
    return judges.mixture(trained)


def _teacher(teacher: Any, rows: Rows) -> Trained:
    """A teacher of any kind as one that was trained here."""
    if isinstance(teacher, Trained):
        return teacher
    meta: dict[str, Any] = {"event": rows.x.shape[1:]}
    if isinstance(teacher, Arrays):
        # What it says of two rows, by whose shapes levels are checked.
        two = jax.tree.map(lambda a: np.zeros((1, 2, *a.shape[1:]), a.dtype), teacher)
        none: Any = np.zeros((1, 2), np.float32)
        said: Any = Encoding(two.z, none, two.levels, none)
        answered: Any = answers.ANSWERED
        return Trained(answered, said, ConfigDict(), meta)
    pair = isinstance(teacher, tuple) and len(teacher) == 2
    if not pair or not isinstance(teacher[0], Flow):
        raise TypeError(
            f"{_said(teacher)} as a teacher: expected what fit, distil or load gave, a "
            "pair (flow, variables), or from_arrays(z, levels)"
        )
    levels = 256 if rows.pictures else 0
    classes = 0
    if rows.pictures and rows.cond is not None:
        classes = 1 + int(rows.cond.max())
    seen = Preprocess(levels=levels, classes=classes)
    if not rows.pictures:
        width = 0 if rows.cond is None else rows.cond.shape[1]
        seen = table.Table(conditions=width) if width else Preprocess()
    meta["preprocess"] = preprocess.describe(seen)
    flow: Any = teacher[0]
    given = teacher[1]
    if isinstance(flow, Judge) and not jax.tree.leaves(given):
        flow, given = judges.without_variables(flow)
    variables = jax.tree.map(lambda leaf: np.asarray(leaf)[None], given)
    model: Any = flow
    return Trained(model, variables, ConfigDict(), meta)


def _check_judge(method: str, rows: Rows) -> None:
    if method not in JUDGED:
        raise ConfigError(
            f"method={method!r} asks the teacher for latents, levels or samples, of "
            f"which a density alone has none: take {' or '.join(map(repr, JUDGED))}, "
            "or fit the student to samples of it"
        )
    if rows.pictures:
        raise ConfigError("a density alone teaches flows of vectors, not of images")


def _samples(method: str, teacher: Flow, rows: int) -> int:
    """How many samples of the teacher a method learns from, if nothing is said."""
    if method == "oracle":
        return rows
    draws = not isinstance(teacher, Judge)
    if isinstance(teacher, ExternalFlow):
        draws = teacher.decode is not None
    return max(rows, LEAST_SAMPLES) if method == "guided" and draws else 0


def _check_arrays(given: Arrays, method: str, rows: Rows) -> None:
    if method not in ("lkd", "ilkd"):
        raise ConfigError(
            f"method={method!r} asks the teacher for more than arrays of what it said: "
            "take 'lkd' or 'ilkd', or an ExternalFlow"
        )
    if method == "ilkd" and not given.levels:
        raise ConfigError("method='ilkd' compares levels: from_arrays(z, levels)")
    if len(given.z[0]) != len(rows.x):
        raise DataError(
            f"from_arrays has {len(given.z[0])} rows, x has {len(rows.x)}: give what "
            "the teacher said of each"
        )


def _as_taught(taught: Trained, train: Rows, held_out: Rows) -> Any:
    """The rows as the teacher's data set would store them."""
    prepared, stored, conds = taught.preprocess, [], []
    if train.x.shape[1:] != taught.event:
        raise ConfigError(
            f"the teacher was trained on rows of shape {taught.event}, x has rows of "
            f"shape {train.x.shape[1:]}: give rows of the same kind"
        )
    wanted = prepared.condition_shape(taught.event) is not None
    if wanted != (train.cond is not None):
        raise ConfigError(
            f"the teacher was trained with{'' if wanted else 'out'} a condition: "
            f"{'give cond' if wanted else 'leave cond out'}"
        )
    for part in (train, held_out):
        x, outside = prepared.stored(part.x)
        if outside.any():
            raise DataError(
                f"{outside.sum()} of {len(x)} rows have no density under the teacher, "
                f"such as {part.x[int(outside.argmax())].tolist()}: the transforms of "
                "its columns have no place for them; leave them out"
            )
        stored.append(x)
        conds.append(prepared.stored_condition(part.cond) if wanted else None)
    weights = [train.weights, held_out.weights]
    beside = conds if wanted else None
    return memory.as_stored(stored, beside, weights, prepared, train)


def _said(given: Any) -> str:
    if isinstance(given, type):
        return f"the class {given.__name__}"
    return type(given).__name__
