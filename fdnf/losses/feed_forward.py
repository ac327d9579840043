"""A conditional flow teaches a feed-forward network: its samples are the targets.

The student keeps what the teacher is given (noise and condition) and drops
invertibility, and with it the densities that other losses need. Student and teacher
see the same noise, so that each sample of the teacher has one image to be compared
with. The caller draws it, at the temperature that the student is to be used at.

Reference: Baranchuk et al. (2021), "Distilling the knowledge from conditional
normalizing flows", section 2.2, eq. 1 and 2.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.losses import levels, spectra
from fdnf.metrics import lpips
from fdnf.ops import entering, rows
from fdnf.types import (
    Aux,
    Context,
    Decoding,
    Events,
    Flow,
    Given,
    Mapped,
    Scalar,
    Variables,
)

Latents = tuple[Array, ...]
# (feature variables, the student's samples, the teacher's) -> scalar or `[batch]`.
Feature = Callable[[Any, Array, Array], Array]


@functools.partial(
    jax.jit, static_argnames=("student", "teacher", "feature", "alpha", "limit")
)
def feed_forward(
    student: Any,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Given,
    cond: Given | None = None,
    *,
    feature: Feature | None = None,
    feature_variables: Variables = None,
    alpha: float = 0.0,
    limit: float | None = None,
    x: Given | None = None,
) -> tuple[Scalar, Aux]:
    """E |T(z, c) - S(z, c)| + alpha feature(S(z, c), T(z, c)).

    A row counts 0 where the teacher's sample is not finite or leaves [-limit, limit]:
    flows explode now and then, and one such sample would decide the step. Means are
    over all rows, those left out included: then the mean over devices, or over parts
    of a batch, is that of the whole. Where no row counts, loss and gradient are 0.

    Args:
      student: network to train; static. What has a method `decode` is asked for it
        and gives a Decoding (a Student, a flow, an ExternalFlow); another module is
        called, `apply(variables, z, cond) -> x`, and so is a plain function
        `(variables, z, cond) -> x`.
      teacher: flow to imitate; static. Only its `decode` is used.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      z: noise for both, drawn at one temperature.
      cond: context, for both.
      feature: distance in which samples should also agree, `(feature_variables, S, T)
        -> scalar or [batch]`, such as `LpipsFeature()` or `StftFeature()`; static. In
        S and T, rows left out are 0.
      feature_variables: what it needs, such as a network's weights; held fixed.
      alpha: the feature's weight; at 0 it is not computed.
      limit: largest |T| that counts, None for any finite one.
      x: the teacher's samples of `z` and `cond`, made before; the teacher is then not
        asked.

    Returns:
      The loss, and Aux with the terms "reconstruction", "feature" (if there is one)
      and "rejected", the share of rows left out, and both Decodings. For rows left
      out, the student's is of latents 0.

    Raises:
      ValueError: for a weight without a feature, or samples of unlike shape.
    """
    if alpha and feature is None:
        raise ValueError(
            f"alpha={alpha} without a feature to weigh: give feature="
            "LpipsFeature() or StftFeature(), or alpha=0"
        )
    z, cond = entering.reals(z), entering.maybe(cond)
    if x is None:
        teaching = teacher.apply(teacher_variables, z, cond, method="decode")
    else:
        teaching = Decoding(entering.real(x), None, ())
    teaching = jax.lax.stop_gradient(teaching)
    bad = rows.exploded(teaching.x, limit)
    # Not only their loss: 0 times an infinite slope is no number.
    taught = _generated(student, student_variables, rows.zeroed(bad, z), cond)
    if taught.x.shape != teaching.x.shape:
        raise ValueError(
            f"the student makes samples of shape {taught.x.shape}, the teacher"
            f" {teaching.x.shape}: expected equal shapes"
        )
    ours, theirs = rows.zeroed(bad, (taught.x, teaching.x))
    share = jnp.mean(bad.astype(taught.x.dtype))

    def mean(found):
        return jnp.mean(jnp.where(bad, 0.0, found))

    loss = mean(levels.rowwise(ours, theirs, "l1", "mean"))
    terms = {"reconstruction": loss, "rejected": share}
    if feature is not None and alpha:
        found = feature(jax.lax.stop_gradient(feature_variables), ours, theirs)
        terms["feature"] = mean(found) if found.ndim else found
        loss += alpha * terms["feature"]
    return loss, Aux(terms, (), taught, teaching)


@dataclasses.dataclass(frozen=True)
class StftFeature:
    """SC + MAG of sounds `[batch, time, 1]`, at several resolutions; see `spectra`.

    One scalar for the batch. Rows left out count as silence on both sides: 0 in MAG,
    nothing in SC, whose norms are over the rows of one device, as published.

    Args:
      resolutions: tuple of `Resolution(n_fft, hop, length)`.
      floor: least squared magnitude.
    """

    resolutions: tuple[spectra.Resolution, ...] = spectra.RESOLUTIONS
    floor: float = spectra.FLOOR

    def __call__(self, variables: None, student: Events, teacher: Mapped) -> Scalar:
        """The distance; `variables` is not used."""
        del variables
        convergence, log_magnitude = spectra.multi_resolution_stft(
            student, teacher, self.resolutions, self.floor
        )
        return convergence + log_magnitude


@dataclasses.dataclass(frozen=True)
class LpipsFeature:
    """LPIPS of images to the teacher's, these cut to [0, 1]; see `metrics.lpips`.

    `feature_variables` are `lpips.load(net)`.

    Args:
      net: "vgg16", which the authors train with, or "alexnet".
    """

    net: str = "vgg16"

    def __call__(
        self, variables: lpips.Params, student: Events, teacher: Mapped
    ) -> Array:
        """`[batch]`, the distance of each row."""
        return lpips.lpips(variables, student, jnp.clip(teacher, 0, 1), net=self.net)


def _generated(
    student: Any, variables: Variables, z: Latents, cond: Context | None
) -> Decoding:
    if hasattr(student, "decode"):
        return student.apply(variables, z, cond, method="decode")
    call = getattr(student, "apply", student)
    return Decoding(call(variables, z, cond), None, ())
