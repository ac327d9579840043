"""Autoregressive teachers and parallel students, as `*_pdd.py`.

kl: reverse KL. z, x: reconstruction of latents, of data. oracle: prediction of the
teacher's samples. resnet_*: a feed-forward student by x-reconstruction.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

METHODS = ("kl", "z", "x", "oracle")
# Distance and noise of the feed-forward students: panels a to e of figure 5 of Huang
# et al. (2019).
RESNETS = {
    "resnet_l2": ("l2", 0.0),
    "resnet_l1": ("l1", 0.0),
    "resnet_noise_l2": ("l2", 0.5),
    "resnet_noise_l1": ("l1", 0.5),
    "resnet_noise_mixed": ("mixed", 0.5),
}
POOL = 200_000


def iaf(get_teacher: Callable[[str], ConfigDict], arg: str = "") -> ConfigDict:
    """An IAF of the size of Walton et al.'s students, taught by a MAF.

    Args:
      get_teacher: of the teacher's file, as `get_teacher("teacher")`.
      arg: the method (default x), and what `get_teacher` knows beside "teacher" and
        "student".
    """
    pool = 1000 if "smoke" in arg else POOL
    recipes = {method: _method(method, pool) for method in METHODS}
    for method, recipe in recipes.items():
        # Norms of gradients: of kl 100, of z 1, of x and oracle 0.01, but where a
        # sample of the student explodes, which Adam remembers for a thousand steps.
        recipe["optim/lr"] = 1e-3 if method == "z" else 3e-3
        recipe["optim/clip"] = 30.0 if method in ("kl", "z") else 0.1
        # Fraction by x-reconstruction before kl or z. Without it the teacher gives the
        # first samples on patches -1e20 nats, whose gradient overflows.
        recipe["loss/transfer/warm"] = 0.25
    config = _taught(get_teacher, arg, recipes)
    config.model.name = "iaf"
    config.loss.transfer.expansion = 16
    config.study.methods = METHODS
    return config


def images(
    get_teacher: Callable[[str], ConfigDict],
    arg: str = "",
    *,
    resnet: Mapping[str, Any],
    pool: int = 20_000,
) -> ConfigDict:
    """Students of an autoregressive model of images.

    The student of kl, z, x and oracle is the teacher's own network, as an inverse
    autoregressive flow; that of resnet_* sees all latents at once and has no density.

    Args:
      get_teacher: of the teacher's file, as `get_teacher("teacher")`.
      arg: the method (default x), and what `get_teacher` knows beside "teacher" and
        "student".
      resnet: attributes of the feed-forward student.
      pool: teacher's samples that the oracle learns from.
    """
    pool = 100 if "smoke" in arg else pool
    rest = _split(arg, (*METHODS, *RESNETS))[1]
    network = get_teacher("student" + rest).model.args.to_dict()
    causal = {"model": {"name": "pixelcnn_iaf", "args": network}}
    rate = {"optim/lr": get_teacher("student" + rest).optim.lr}
    recipes = {method: causal | rate | _method(method, pool) for method in METHODS}
    for method in ("kl", "z"):
        # From scratch, and faster, all scales of a student of kl go to their lower
        # bound within 100 steps, and stay there.
        recipes[method] |= {"optim/lr": 5e-4, "loss/transfer/warm": 0.25}
    free = {"model": {"name": "resnet", "args": dict(resnet)}}
    for name, (distance, noise) in RESNETS.items():
        recipes[name] = free | rate | _method("x", pool)
        recipes[name]["loss/transfer/distance"] = distance
        recipes[name]["loss/transfer/noise"] = noise
    config = _taught(get_teacher, arg, recipes)
    # Encodings of images would be interpolated; these students only decode.
    config.eval.interpolations = 0
    config.eval.temperatures = (1.0,)
    config.eval.density_rows = 0
    config.study.methods = tuple(recipes)
    return config


def _taught(
    get_teacher: Callable[[str], ConfigDict],
    arg: str,
    recipes: Mapping[str, Mapping[str, Any]],
) -> ConfigDict:
    """A student of `get_teacher`'s data, optimizer and length of training."""
    chosen, rest = _split(arg, tuple(recipes))
    config = get_teacher("student" + rest)

    config.teacher = teacher = ConfigDict()
    teacher.workdir = ""
    teacher.config = get_teacher("teacher" + rest)
    # Drawn once and kept beside the teacher; the oracle sees them instead of data.
    teacher.samples = 0
    teacher.share = 0.5
    teacher.other_data = False

    units = config.loss.get("units")
    config.loss = loss = ConfigDict()
    loss.method = "x"
    if units:
        loss.units = units
    loss.transfer = transfer = ConfigDict()
    transfer.distance = "l2"  # l1, l2, mixed
    transfer.reduction = "mean"  # over dimensions, or sum
    transfer.temperature = 1.0  # of the latents that the student decodes
    transfer.path = False  # the path derivative of the reverse KL
    transfer.noise = 0.0  # standard deviation, added to encodings
    transfer.warm = 0.0  # fraction by x-reconstruction before kl or z
    transfer.expansion = 0  # rows of a batch whose expansion signal is logged
    # The teacher's samples beyond this multiple of the data's largest |x| are out.
    loss.skd = ConfigDict({"reach": 3.0})

    config.label = chosen
    config.study.recipes = ConfigDict({k: dict(v) for k, v in recipes.items()})
    for key, value in recipes[chosen].items():
        *path, last = key.split("/")
        section = config
        for name in path:
            section = section[name]
        section[last] = ConfigDict(value) if isinstance(value, dict) else value
    return config


def _split(arg: str, methods: tuple[str, ...]) -> tuple[str, str]:
    """The method, and the words for the teacher's file, with a comma before each."""
    words = [word for word in arg.split(",") if word]
    chosen = [name for name in methods if name in words] or ["x"]
    if len(chosen) > 1:
        raise ValueError(f"give one method of {methods}, not {chosen}")
    if {"teacher", "student"} & set(words):
        raise ValueError(f"a distilled student is both, give a method of {methods}")
    return chosen[0], "".join(f",{word}" for word in words if word not in methods)


def _method(method: str, pool: int) -> dict[str, Any]:
    """All that tells a method from others, since a study starts from one of them."""
    oracle = method == "oracle"
    return {
        "loss/method": method,
        "teacher/samples": pool if oracle else 0,
        "teacher/share": 1.0 if oracle else 0.5,
        "loss/transfer/distance": "l2",
        "loss/transfer/noise": 0.0,
        "loss/transfer/warm": 0.0,
    }
