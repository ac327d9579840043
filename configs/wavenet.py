"""WaveNet with Gaussian samples, and the parallel vocoders that it teaches.

Sizes of ClariNet (Ping et al., 2018): two cycles of ten layers of 128 channels, kernel
2, and the schedule of its open implementation: Adam at 1e-3, halved every 200,000
steps. Students have six flows of ten layers of 64 channels, as those of Huang et al.
(2019). `small` is for two CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common, teaching, waveglow

# How a student is taught, what is added to the loss, and what it weighs there: ClariNet
# and Parallel WaveNet with their losses of spectra, kl without one. kl is the nats of a
# window, so that its feature weighs as much as that of a nat a sample. `feed_forward`
# is one of WaveGlow's students, by the losses of those.
FREE = "feed_forward"
STUDENTS: dict[str, tuple[str, str, float]] = {
    "clarinet": ("clarinet", "magnitude", 1.0),
    "parallel_wavenet": ("kl", "power", 1.0),
    "kl": ("kl", "none", 0.0),
    "z": ("z", "none", 0.0),
    "x": ("x", "none", 0.0),
    "oracle": ("oracle", "none", 0.0),
    FREE: ("x", "stft", 0.1),
}
WORDS = (common.Choice(("teacher", *STUDENTS)), common.SMOKE)
# It sees 287 samples, 36 ms at 8,000 a second, which is several periods of a voice; the
# published one sees 2,078, 94 ms. Only silence has scales below e^-6 of the loudness.
# Log-mels have a mean of -6.3 and a spread of 2.3.
SMALL: dict[str, Any] = {
    "layers": 8,
    "cycles": 1,
    "channels": 64,
    "features": 16,
    "bound": 6.0,
    "centre": -6.0,
    "spread": 2.5,
    "prediction": 32,
}
# Of a student. Its two flows see 574 samples of noise together.
SMALL_STUDENT: dict[str, Any] = {"steps": 2, "layers": 8, "channels": 32}
# Of a feed-forward one: on positions of eight samples, as published of WaveGlow's V2.
FREE_STUDENT: dict[str, Any] = {"blocks": 4, "channels": 96, "fold": 8}
# On those of 32, half a frame of the mel: a small network is what makes it fast here,
# and more samples side by side cost it nothing to hear.
SMALL_FREE_STUDENT: dict[str, Any] = {
    "layers": 3,
    "blocks": 1,
    "channels": 32,
    "fold": 32,
}
# At 8,000 samples a second: n_fft, hop, window; the published 1024, 256, 1024.
TELEPHONE_STFT = dict.fromkeys(("magnitude", "power"), ((512, 64, 512),))
TELEPHONE_STFT["stft"] = waveglow.TELEPHONE_STFT
TINY_STFT = ((128, 32, 128),)
SMOKE = {
    "layers": 2,
    "cycles": 1,
    "channels": 4,
    "front": 4,
    "hop": 64,
    "upsampler_taps": 128,
    "features": 4,
}


def speech(data: str, arg: str = "", telephone: bool = False) -> ConfigDict:
    """The autoregressive teacher, or a parallel student of it.

    Args:
      data: name of the data set.
      arg: teacher, or a name of `STUDENTS`; small (for two CPU cores); smoke.
      telephone: whether speech has 8,000 samples a second, whose models are small.
    """
    small = () if telephone else (common.Choice(("small",)),)
    words = common.parse_arg(arg, (*WORDS, *small))
    words |= {"small"} if telephone else set()
    teacher = _teacher(data, words, telephone)
    chosen = next((name for name in STUDENTS if name in words), None)
    return teacher if chosen is None else _student(teacher, words, telephone, chosen)


def _teacher(data: str, words: set[str], telephone: bool) -> ConfigDict:
    config = common.speech()
    config.group = ("vocoders",)
    config.data.name = data
    config.model.name = "gaussian_wavenet"
    config.optim.b2 = 0.999
    if "smoke" in words:
        config.model.args = ConfigDict(SMOKE)
        return common.smoke_speech(config)
    if "small" not in words:
        config.model.args = ConfigDict({})
        config.optim.update(lr=1e-3, schedule="halved", warmup=0.0, clip=10.0)
        config.optim.milestones = (0.25, 0.5, 0.75)
        config.train.update(steps=800_000, batch_size=8, eval_every=5000)
        return config
    config.model.args = ConfigDict(SMALL)
    if telephone:
        config.model.args.update(common.TELEPHONE)
        common.telephone(config)
    config.data.args.segment = 4096
    config.optim.update(lr=1e-3, clip=1.0, ema=0.999)
    config.train.update(steps=4500, batch_size=4, steps_per_call=20)
    return config


def _student(
    teacher: ConfigDict, words: set[str], telephone: bool, chosen: str
) -> ConfigDict:
    config = teacher.copy_and_resolve_references()
    small, tiny = "small" in words, "smoke" in words
    if small and not tiny:
        config.optim.lr = 1e-3
        config.train.update(steps=1500, steps_per_call=10)
    pool = 16 if tiny else 2000 if small else 20_000
    stft = TELEPHONE_STFT if telephone else {}
    recipes = {
        name: _model(name, teacher.model.args, small, tiny)
        | _recipe(*of, teacher, pool, TINY_STFT if tiny else stft.get(of[1]))
        for name, of in STUDENTS.items()
    }
    return teaching.transferred(config, teacher, recipes, chosen)


def _model(
    name: str, teacher: ConfigDict, small: bool, tiny: bool
) -> dict[str, dict[str, Any]]:
    """The network of a student, which takes the mel as its teacher does."""
    if name == FREE:
        args = {k: v for k, v in teacher.items() if k in common.ALIKE}
        args |= {"latents": (1,)} | FREE_STUDENT
        if small:
            args |= SMALL_FREE_STUDENT
        if tiny:
            args |= {"layers": 2, "blocks": 1, "channels": 8, "fold": 8}
        return {"model": {"name": "wavenet", "args": args}}
    args = teacher.to_dict()
    if tiny:
        args["steps"] = 2
    elif small:
        args |= SMALL_STUDENT
    return {"model": {"name": "wavenet_iaf", "args": args}}


def _recipe(
    method: str,
    feature: str,
    alpha: float,
    teacher: ConfigDict,
    pool: int,
    stft: tuple[tuple[int, int, int], ...] | None,
) -> dict[str, Any]:
    samples = teacher.data.args.segment
    return {
        **teaching.transfer(method, pool),
        "loss/transfer/feature": feature,
        "loss/transfer/alpha": alpha * (samples if method == "kl" else 1),
        "loss/transfer/stft": stft,
        # Of waveforms: an excitation's -6, where there is one, is far below.
        "loss/transfer/floor": -12.0 if teacher.model.args.get("prediction") else -6.0,
        # Waveforms are compared by l1, after Huang et al.; noise is not.
        "loss/transfer/distance": "l2" if method == "z" else "l1",
        "loss/transfer/warm": 0.25 if method in ("kl", "clarinet", "z") else 0.0,
    }
