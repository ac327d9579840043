"""Pictures of an image teacher and its parallel students.

As figures 4, 5 and 6 and appendix A of Huang et al. (2019).
"""

import pathlib
from collections.abc import Mapping

import jax
import numpy as np

from fdnf.data.images import Images
from fdnf.evaluation.models import codec as codecs
from fdnf.evaluation.models.codec import Codec
from fdnf.evaluation.pictures import grids, image_pictures
from fdnf.flows.base import FlowModule
from fdnf.train.teachers import Trained

TEACHER = "teacher"
# Images a side of a panel, panels of a line, images of a line of reconstructions.
SIDE, WRAP, ACROSS = 6, 5, 16
# Appendix A: factors of the latents' norm, and latents that are varied.
FACTORS = tuple(np.linspace(0.9, 1.1, 11).tolist())
VARIED = 6


def draw(
    folder: pathlib.Path, trained: Mapping[str, Trained], data: Images
) -> list[pathlib.Path]:
    """Draws samples, reconstructions, and what a change of the latents' norm does.

    Args:
        folder: where the files go.
        trained: label to flow or student, of each of which run 0 is shown; the
            teacher under "teacher", if it is there.
        data: what all were trained on.

    Returns:
        The files.
    """
    config = next(iter(trained.values())).config
    codecs_of = {
        label: codecs.of(model, 0, config.eval.time_batch)
        for label, model in trained.items()
    }
    free = [k for k, model in trained.items() if not isinstance(model.flow, FlowModule)]
    causal = [k for k in trained if k not in free and k != TEACHER]
    seen = codecs.as_decoded(data, next(iter(trained.values())).preprocess)
    first = [TEACHER] if TEACHER in trained else []
    paths = []
    for name, group, figure in (
        ("samples_causal.png", [*first, *causal], "figure 4"),
        ("samples_free.png", [*first, *free], "figures 5 and 6"),
    ):
        if set(group) - {TEACHER}:
            chosen = {label: codecs_of[label] for label in group}
            paths.append(_samples(folder / name, chosen, seen, config, figure))
    if TEACHER in trained:
        teacher = codecs_of.pop(TEACHER)
        path = folder / "norms.png"
        paths.append(_norms(path, teacher, seen, config))
        if codecs_of:
            path = folder / "reconstructions.png"
            paths.append(_reconstructions(path, teacher, codecs_of, data, seen, config))
    return paths


def _latents(codec: Codec, event: tuple[int, ...], count: int, seed: int):
    return codec.draw(jax.random.key(seed), (count, *event))


def _condition(codec: Codec, count: int) -> np.ndarray | None:
    """Classes in turn, for a conditional flow."""
    classes = codec.preprocess.classes
    return codec.condition(np.arange(count) % classes) if classes else None


def _samples(path, models: Mapping[str, Codec], seen: Images, config, figure):
    count = SIDE * SIDE
    panels = {}
    for label, codec in models.items():
        z = _latents(codec, seen.event, count, config.seed)
        panels[label] = codec.decode(z, _condition(codec, count)).images
    return grids.draw(
        {"": panels},
        path,
        across=SIDE,
        down=SIDE,
        wrap=WRAP if len(panels) <= WRAP else -(-len(panels) // 2),
        levels=seen.levels,
        title=f"{seen.name}: samples of the teacher and of its students",
        note="The first samples of run 0 at temperature 1, not selected; in one place "
        f"all decode the same noise. As {figure} of Huang et al. (2019), with other "
        "noise.",
    )


def _reconstructions(
    path, teacher: Codec, students: Mapping[str, Codec], data, seen, config
):
    rows = image_pictures.spread(data, ACROSS)
    labels = image_pictures.labels(data, rows)
    cond = teacher.condition(labels)
    z = teacher.encode(data.test[rows], jax.random.key(config.seed), cond)
    found = {"data": {"": seen.test[rows]}}
    for label, codec in students.items():
        found[label] = {"": codec.decode(z, cond).images}
    return grids.draw(
        found,
        path,
        across=ACROSS,
        down=1,
        levels=seen.levels,
        title=f"{seen.name}: test images, encoded by the teacher and decoded by the "
        "students",
        note="Encodings without noise. A student that inverts the teacher gives the "
        "image back.",
    )


def _norms(path, teacher: Codec, seen: Images, config):
    z = _latents(teacher, seen.event, VARIED, config.seed)
    cond = _condition(teacher, VARIED)
    scales = np.asarray(FACTORS, np.float32)

    def repeated(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows, len(scales), axis=0)

    def varied(part: np.ndarray) -> np.ndarray:
        factor = np.tile(scales, len(part)).reshape(-1, *(1,) * (part.ndim - 1))
        return repeated(part) * factor

    images = teacher.decode(
        tuple(varied(part) for part in z), None if cond is None else repeated(cond)
    ).images
    return grids.draw(
        {"": {"": images}},
        path,
        across=len(scales),
        down=VARIED,
        levels=seen.levels,
        title=f"{seen.name}: the teacher's samples of one direction and other norms",
        note=f"Each line is T^-1(c z) of one z, c from {scales[0]:.2f} to "
        f"{scales[-1]:.2f} in equal steps, 1 in the middle. As appendix A of Huang "
        "et al. (2019), whose values of c are not given.",
    )
