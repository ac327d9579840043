"""What batches are drawn from: data, and samples of a trained flow, kept beside it."""

import functools
import hashlib
import json
import logging
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf import files
from fdnf.data import archives
from fdnf.train import answers, batches, distributed, guiding
from fdnf.train import weights as of_rows
from fdnf.train.batches import Pool, Run, fold
from fdnf.train.preprocess import Data, Prepared
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment
from fdnf.train.table import Table
from fdnf.train.teachers import Source, Trained, run_of

_log = logging.getLogger(__name__)
POOLS = "pools"
# Raise it when the same settings would give other samples.
POOL_VERSION = 3
_TRAIN = 0  # The split.
_WINDOWS = 256  # at once, of which conditions are made.


def generate(
    trained: Trained,
    rows: int,
    seed: int,
    limit: float = float("inf"),
    *,
    stored: bool = True,
    conditions: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Samples of a teacher, for use as further training data.

    Every run of the teacher gives its share: of several, the rows come from the
    mixture of their densities. Rows that are not finite, or leave [-limit, limit], are
    left out: exploded samples teach nothing.

    Args:
      trained: the teacher.
      rows: how many to draw.
      seed: of the draw.
      limit: largest |x| of a sample that is kept, as the flow sees data.
      stored: whether samples are given as data sets store them, images as grey
        levels; otherwise as the flow made them.
      conditions: `[n, ...]`, what is stored beside the rows of the data, from which
        those of the samples are drawn; of a table's teacher.
      weights: `[n]`, of those rows: conditions are drawn in proportion to them.

    Returns:
      `generated`, the samples, and of a conditional teacher `generated_beside`, what
      they were drawn given: rows of `conditions`, or classes drawn uniformly.

    Raises:
      ConfigError: if no sample is left.
    """
    from_rows = {}
    if conditions is not None:
        of_weights = {} if weights is None else of_rows.alias(weights)
        from_rows = jax.device_put({"beside": conditions, **of_weights})
    share = -(-rows // trained.runs)
    size = min(share, 8192 if len(trained.event) == 1 else 256)
    shape = (size, *trained.event)
    preprocess = trained.preprocess
    # Of a table, whose rows keep more digits, not within a program.
    table = isinstance(preprocess, Table)

    @jax.jit
    def draw(variables, key, from_rows):
        beside = None
        if preprocess.classes:
            beside = jax.random.randint(
                fold(key, Pool.LABELS), (size,), 0, preprocess.classes
            )
        elif from_rows:
            rows = from_rows["beside"]
            which, coin = fold(key, Pool.LABELS), fold(key, Pool.COIN)
            beside = rows[batches.weighted(which, coin, size, len(rows), from_rows)]
        cond = preprocess.made.condition(None, beside)
        drawing = fold(key, Pool.LATENTS)
        x: Any = trained.flow.apply(
            variables, drawing, shape, 1.0, cond, method="sample"
        )
        # Written so that NaN is out too.
        kept = jnp.all(jnp.abs(x).reshape(size, -1) <= limit, axis=1)
        kept &= jnp.all(jnp.isfinite(x).reshape(size, -1), axis=1)
        return preprocess.to_stored(x) if stored and not table else x, beside, kept

    found, besides = [], []
    for run in range(trained.runs):
        variables = run_of(trained, run)[1]
        own = fold(jax.random.key(seed + run), Run.POOL)
        keys = [fold(own, number) for number in range(-(-share // size))]
        drawn = [jax.device_get(draw(variables, key, from_rows)) for key in keys]
        kept = np.concatenate([part[2] for part in drawn])[:share]
        x = np.concatenate([part[0] for part in drawn])[:share][kept]
        if table and stored:
            x, rest = preprocess.restored(x)
            kept[np.flatnonzero(kept)[~rest]] = False
        found.append(x)
        if drawn[0][1] is not None:
            besides.append(np.concatenate([p[1] for p in drawn])[:share][kept])
    out = {"generated": np.concatenate(found)}
    if besides:
        out["generated_beside"] = np.concatenate(besides)
    if not len(out["generated"]):
        raise ConfigError(
            f"none of the teacher's {rows} samples lies within {limit:.3g}: train the "
            "teacher longer, or set teacher.samples=0"
        )
    return out


def pool(
    trained: Trained,
    workdir: str | pathlib.Path,
    rows: int,
    seed: int,
    limit: float,
    *,
    stored: bool = True,
    conditions: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """`generate`, whose result is kept in `<workdir>/pools`.

    A pool is found again by everything that it depends on, the teacher's parameters
    included. One that cannot be read is drawn anew; a directory that cannot be
    written keeps none, which costs time only.

    Args:
      trained: the teacher.
      workdir: its directory.
      rows: see `generate`, as the rest.
      seed: likewise.
      limit: likewise.
      stored: likewise.
      conditions: likewise.
      weights: likewise.
    """
    how: dict[str, Any] = {"stored": stored, "conditions": conditions}
    how["weights"] = None if conditions is None else weights
    key = _pool_key(trained, rows=rows, seed=seed, limit=limit, **how)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = pathlib.Path(workdir) / POOLS / f"{name}.npz"
    found = _read_pool(path, key)
    if found is not None:
        return found
    _log.info("drawing %d samples of the teacher in %s", rows, workdir)
    drawn = generate(trained, rows, seed, limit, **how)
    if distributed.is_first():
        _write_pool(path, key, drawn)
    return drawn


def _pool_key(trained: Trained, **settings: Any) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    for name, value in settings.items():
        if isinstance(value, np.ndarray):
            of_array = hashlib.sha256(np.ascontiguousarray(value).tobytes())
            settings[name] = of_array.hexdigest()
    settings |= {
        "version": POOL_VERSION,
        "model": trained.config.model.to_dict(),
        "preprocess": trained.meta.get("preprocess"),
        "parameters": digest.hexdigest(),
        # Another version of jax may draw other numbers.
        "jax": jax.__version__,
    }
    return json.dumps(settings, sort_keys=True)


def _read_pool(path: pathlib.Path, key: str) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (ValueError, KeyError, MemoryError, *archives.DAMAGE) as error:
        _log.warning("%s cannot be read (%s): drawing the pool anew", path, error)
        return None
    return found if str(found.pop("key", "")) == key else None


def _write_pool(path: pathlib.Path, key: str, drawn: dict[str, np.ndarray]) -> None:
    # Several runs may draw the same pool at a time: the last to be done names it.
    try:
        with files.replacing(path) as file:
            np.savez(file, key=np.array(key), **drawn)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        _log.warning("the pool of samples is not kept in %s: %s", path.parent, error)


class Feed(NamedTuple):
    """What batches are drawn from, and what is done to them.

    Attributes:
      arrays: for the devices, see `batches.uniform`.
      share: of each batch that the teacher's samples have.
      prepared: what is done to batches.
      said: what the teacher makes of every row, if it is asked once.
    """

    arrays: dict[str, np.ndarray]
    share: float
    prepared: Prepared
    said: answers.Answers | None = None


def feed(
    member: Experiment,
    data: Data,
    prepared: Prepared,
    source: Source | None,
    reach: float,
) -> Feed:
    """Training rows, and the teacher's samples where they are asked for.

    Args:
      member: read are `teacher`, `loss`, `seed` and `eval.batch_size` of its config.
      data: the data set.
      prepared: what is done to its batches.
      source: the teacher.
      reach: largest |x| of the training data.

    Raises:
      ConfigError: as `generate` and `answers.once`.
    """
    config, held = member.config, member.held
    found = _rows_and_samples(member, data, prepared, source, reach)
    if held and held.answers:
        return _numbered(found)._replace(said=held.answers)
    if source is None or not config.teacher.get("once", False):
        return found
    said = answers.once(config, source, found.arrays, found.prepared)
    return _numbered(found)._replace(said=said)


def _numbered(drawn: Feed) -> Feed:
    """With the number of each row beside it, those of the teacher's samples last."""
    arrays = dict(drawn.arrays)
    count = len(arrays["train"])
    arrays[batches.ROW] = np.arange(count, dtype=np.int32)
    if "generated" in arrays:
        last = count + len(arrays["generated"])
        arrays[f"generated_{batches.ROW}"] = np.arange(count, last, dtype=np.int32)
    return drawn._replace(arrays=arrays)


def _rows_and_samples(
    member: Experiment,
    data: Data,
    prepared: Prepared,
    source: Source | None,
    reach: float,
) -> Feed:
    config = member.config
    arrays = {"train": data.train}
    beside = prepared.beside(data, _TRAIN)
    if beside is not None:
        arrays["beside"] = beside
    weights = of_rows.of(data, _TRAIN)
    if weights is not None:
        arrays |= of_rows.alias(weights)
    if source is None or not config.teacher.samples:
        return Feed(arrays, 0.0, prepared)
    # The whole batch is the teacher's samples, as the flow made them.
    guides = config.loss.method in guiding.METHODS
    alone = config.loss.method == "oracle" or (guides and config.teacher.share == 1.0)
    limit = guiding.limit(config, reach) if guides else config.loss.skd.reach * reach
    draw = functools.partial(pool, source.trained, str(member.teacher))
    if member.held:
        draw = functools.partial(generate, source.trained)
    # Labels are drawn evenly, conditions are those of the data.
    conditions = None if prepared.classes else beside
    if prepared.alone:
        conditions = _conditions(prepared, data, config.teacher.samples, config.seed)
    generated = draw(
        config.teacher.samples,
        config.seed,
        limit,
        stored=not alone,
        conditions=conditions,
        weights=weights,
    )
    if not alone:
        return Feed(arrays | generated, config.teacher.share, prepared)
    # These are what the student is to predict, to the digit: no noise comes on top,
    # and nothing is mirrored.
    arrays = {"train": generated["generated"]}
    if "generated_beside" in generated:
        arrays["beside"] = generated["generated_beside"]
    return Feed(arrays, 0.0, prepared.made)


def _conditions(prepared: Prepared, data: Data, rows: int, seed: int) -> np.ndarray:
    """Those of windows of the data, where they are made of them, `[rows, ...]`."""
    key = fold(jax.random.key(seed), Run.CONDITIONS)
    places, cuts = jax.random.split(key)
    which = np.asarray(jax.random.randint(places, (rows,), 0, len(data.train)))
    size = min(rows, _WINDOWS)

    @jax.jit
    def cut(key: Array, tiles: Array) -> Array:
        return prepared.train(key, {"x": tiles})["cond"]

    found = [
        cut(fold(cuts, at), data.train[np.resize(which[at : at + size], size)])
        for at in range(0, rows, size)
    ]
    return np.concatenate(found)[:rows]
