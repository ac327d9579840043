"""Pictures of flows on images: the same noise and the same images through each."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data.images import Images
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.pictures import grids
from fdnf.evaluation.scorers import interpolation
from fdnf.train.teachers import Trained

# Images of a line, lines of samples, images a side of a manifold, lines of strips.
ACROSS, DOWN, SIDE, STRIPS = 16, 3, 7, 3
# Test images whose levels are compared, and how many at once.
COMPARED, BATCH = 256, 64


def draw(
    folder: pathlib.Path, trained: Mapping[str, Trained], data: Images
) -> list[pathlib.Path]:
    """Draws samples, reconstructions, interpolations and manifolds.

    Args:
        folder: where the files go.
        trained: label to flow, of each of which run 0 is shown.
        data: what all were trained on.

    Returns:
        The files.
    """
    first = next(iter(trained.values()))
    config, seed = first.config, first.config.seed
    flows = {
        label: samplers.of(flow, 0, config.eval.time_batch)
        for label, flow in trained.items()
    }
    seen = samplers.as_decoded(data, first.preprocess)
    paths = []
    for t in config.eval.temperatures:
        path = folder / f"samples_{samplers.named(t)}.png"
        paths.append(_samples(path, flows, seen, t, seed))
    coolest = config.eval.temperatures[-1]
    return [
        *paths,
        _reconstructions(folder / "reconstructions.png", flows, data, seen, seed),
        _interpolations(folder / "interpolations.png", flows, data, seen, coolest),
        _manifolds(folder / "manifold.png", flows, data, seen),
    ]


def _samples(path, flows: Mapping[str, Sampler], seen: Images, t, seed) -> pathlib.Path:
    count = ACROSS * DOWN
    rows = {"data": {"": seen.test[spread(seen, count)]}}
    for label, sampler in flows.items():
        drawn = sampler.samples(seen.event, count, temperature=t, seed=seed)
        rows[label] = {"": drawn.images}
    return grids.draw(
        rows,
        path,
        across=ACROSS,
        down=DOWN,
        levels=seen.levels,
        title=f"{seen.name}: samples at temperature {_text(t)}",
        note="The first samples of run 0, not selected; in one place all models "
        "decode the same noise. Data are test images.",
    )


def _reconstructions(path, flows, data: Images, seen: Images, seed) -> pathlib.Path:
    rows = spread(data, ACROSS)
    known = labels(data, rows)
    found = {}
    for label, sampler in flows.items():
        cond = sampler.condition(known)
        z = sampler.encode(data.test[rows], jax.random.key(seed), cond)
        found[label] = sampler.decode(z, cond).images
    return grids.reconstructions(
        seen.test[rows],
        found,
        path,
        across=ACROSS,
        levels=seen.levels,
        title=f"{data.name}: test images encoded and decoded",
    )


def _interpolations(path, flows, data: Images, seen: Images, t) -> pathlib.Path:
    ends = spread(data, 2 * STRIPS)
    known = labels(data, ends)
    whole, top = "every latent mixed", f"top mixed, the rest drawn at {_text(t)}"
    rows = {}
    for label, sampler in flows.items():
        both = {whole: None, top: t}
        rows[label] = {
            title: interpolation.strips(
                sampler, data.test[ends], known, steps=8, temperature=at
            )
            for title, at in both.items()
        }
    return grids.draw(
        rows,
        path,
        across=8,
        down=STRIPS,
        levels=seen.levels,
        title=f"{data.name}: interpolations between test images (eq. 16)",
        note="Each line goes from one test image to another, the same for all models. "
        "Where every latent is mixed its ends are the images themselves. On the right "
        "the latents split off are drawn once for a line, so that its ends are not.",
    )


def _manifolds(path, flows, data: Images, seen: Images) -> pathlib.Path:
    corners = spread(data, 4)
    known = labels(data, corners)
    panels = {
        label: interpolation.manifold(sampler, data.test[corners], known, size=SIDE)
        for label, sampler in flows.items()
    }
    return grids.draw(
        {"": panels},
        path,
        across=SIDE,
        down=SIDE,
        wrap=2,
        levels=seen.levels,
        title=f"{data.name}: manifold of four test images",
        note="The images are the corners; phi grows downwards and phi' to the right, "
        "both over a quarter turn.",
    )


def encoded(trained: Trained, data: Images) -> list[tuple[Any, Any]]:
    """Batches of the first test images as a flow takes them, each with its condition.

    Args:
        trained: whose preprocessing encodes them.
        data: what it was trained on.
    """
    preprocess, found = trained.preprocess, []
    for i, start in enumerate(range(0, min(COMPARED, len(data.test)), BATCH)):
        rows = slice(start, min(start + BATCH, COMPARED))
        key = jax.random.fold_in(jax.random.key(0), i)
        cond = None
        if preprocess.classes and data.labels is not None:
            cond = jax.nn.one_hot(data.labels[2][rows], preprocess.classes)
        found.append((preprocess.encode(key, jnp.asarray(data.test[rows]))[0], cond))
    return found


def spread(data: Images, count: int) -> np.ndarray:
    """Indices of test images: those of the classes in turn, or the first."""
    if data.labels is None:
        return np.arange(min(count, len(data.test)))
    classes = data.labels[2]
    # The k-th image of its class comes in round k.
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], classes[order])
    rounds = np.empty(len(classes), int)
    rounds[order] = np.arange(len(classes)) - starts
    return np.lexsort((classes, rounds))[:count]


def labels(data: Images, rows: np.ndarray) -> np.ndarray | None:
    """Classes of test images, if there are any."""
    return data.labels[2][rows] if data.labels is not None else None


def _text(temperature: samplers.Temperature) -> str:
    each = temperature if isinstance(temperature, tuple) else (temperature,)
    return ", ".join(str(float(t)) for t in each)
