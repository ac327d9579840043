"""Tiny untrained vocoders, and recordings to judge them on."""

import functools
import wave

import jax
import jax.numpy as jnp
import numpy as np

from configs import waveglow, wavenet
from fdnf.data import synthetic_speech
from fdnf.evaluation.scorers import clips
from fdnf.train import models, preprocess, settings
from fdnf.train.teachers import Trained


@functools.cache
def data():
    """Clips of 1536, 2048 and 2560 samples."""
    return synthetic_speech.synthetic_speech(rows=8)


def judged():
    return clips.beginnings(data())


@functools.cache
def teacher(runs=1):
    return _trained(waveglow.speech("synthetic_speech", "smoke"), runs)


@functools.cache
def student(name="v2", runs=1):
    return _trained(waveglow.speech("synthetic_speech", f"student,{name},smoke"), runs)


@functools.cache
def parallel():
    """A WaveNet with Gaussian samples, and a parallel student of it."""
    config = wavenet.speech("synthetic_speech", "clarinet,smoke")
    return _trained(config.teacher.config, 1), _trained(config, 1)


def _trained(config, runs):
    config.runs = runs
    prepared = preprocess.make(config.data, data())
    flow = models.build(config.model)
    shapes = jax.eval_shape(
        functools.partial(models.init, flow),
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, *data().event), jnp.float32),
        jax.ShapeDtypeStruct((1, *prepared.condition_shape(data().event)), jnp.float32),
    )
    rng = np.random.default_rng(config.seed)

    def draw(path, leaf):
        """Nothing is compiled, and zero-initialised layers are not zero."""
        noise = rng.standard_normal((runs, *leaf.shape))
        name = path[-1].key
        if name == "weight":  # Of a 1x1 convolution, to be invertible.
            noise = np.eye(leaf.shape[-1]) + 0.1 * noise
        else:
            fan_in = np.prod(leaf.shape[-3:-1]) if name == "kernel" else 100
            noise *= 0.5 / np.sqrt(fan_in)
        return jnp.asarray(noise, jnp.float32)

    variables = {"constants": {}, **jax.tree_util.tree_map_with_path(draw, shapes)}
    return Trained(
        flow,
        variables,
        settings.from_dict(settings.to_dict(config)),
        {
            "event": data().event,
            "preprocess": preprocess.describe(prepared),
        },
    )


def tone(length=2000, rate=8000):
    t = np.arange(length) / rate
    return np.round(3000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


def read_wav(path):
    """Rate and samples of a file of one channel of 16 bits."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        frames = file.readframes(file.getnframes())
        return file.getframerate(), np.frombuffer(frames, "<i2")
