"""The pictures of a study: curves and levels of any flow, then those of its data."""

import pathlib
from collections.abc import Mapping

import jax.numpy as jnp

from fdnf.data.images import Images
from fdnf.data.tabular import Tabular
from fdnf.evaluation.pictures import curves, images, levels, marginals, teacher
from fdnf.evaluation.tasks import sampling
from fdnf.train import transfer
from fdnf.train.teachers import Trained

NAMES = {
    "teacher": "teacher",
    "student": "student",
    "lkd": "LKD student",
    "ilkd": "ILKD student",
    "skd": "SKD student",
}
# Test rows whose levels are compared.
ROWS = 2000


def name(method: str) -> str:
    """A method as progress and pictures call it."""
    return NAMES.get(method, method)


def draw(
    folder: pathlib.Path,
    where: Mapping[str, pathlib.Path],
    trained: Mapping[str, Trained],
    data: Tabular | Images,
) -> list[pathlib.Path]:
    """Draws training curves, distances level by level, and samples.

    Args:
        folder: where the files go.
        where: the directory of each method.
        trained: its flow.
        data: what all were trained on.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    samplers = any(
        flow.config.loss.method in transfer.METHODS for flow in trained.values()
    )
    named = {name(method): flow for method, flow in trained.items()}
    paths = []
    if not samplers or "teacher" in trained:
        key, label = "val_log_prob", "validation log-likelihood (nats)"
        if isinstance(data, Images):
            key, label = "val_bits_per_dim", "validation bits/dim"
        paths += curves.of_runs(
            folder / "training.png",
            {name(method): path for method, path in where.items()},
            key,
            ylabel=label,
            title=f"{data.name}, validation",
        )
    # What learns to sample has levels of another kind than its teacher's, or none.
    if "teacher" in trained and len(trained) > 1 and not samplers:
        students = {k: flow for k, flow in named.items() if k != "teacher"}
        shown, batches = "rows", lambda _: [(jnp.asarray(data.test[:ROWS]), None)]
        if isinstance(data, Images):
            shown, batches = "images", lambda flow: images.encoded(flow, data)
        paths.append(
            levels.of_students(
                *(folder / "levels.png", students, trained["teacher"], batches),
                title=f"{data.name}, test {shown}",
            )
        )
    if isinstance(data, Images):
        draw_images = teacher.draw if samplers else images.draw
        return paths + draw_images(folder, named, data)
    config = next(iter(trained.values())).config
    drawn = {"data": data.test[: config.eval.samples]} | {
        label: sampling.samples(flow, 0, config.eval.samples, config.seed)
        for label, flow in named.items()
    }
    return paths + marginals.of_samples(drawn, folder)
