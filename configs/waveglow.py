"""WaveGlow and its feed-forward students, at the papers' sizes and small."""

from typing import Any

from ml_collections import ConfigDict

from configs import common, teaching

# Name: kind of student, blocks and channels at the papers' size and small. The first
# three are those of table 2, the others of the ablation, table 4.
STUDENTS: dict[str, tuple[str, tuple[int, int], tuple[int, int]]] = {
    "v1": ("wavenet", (4, 128), (2, 48)),
    "v2": ("wavenet", (4, 96), (2, 32)),
    "v3": ("wavenet", (2, 96), (1, 32)),
    "flow": ("wave_flow", (4, 96), (2, 32)),
    "wide_flow": ("wave_wide_flow", (4, 96), (2, 32)),
    "affine": ("wave_affine", (4, 96), (2, 32)),
}
# Tables that students stand in; those that are not here, in the ablation.
GROUPS = {
    "v1": ("vocoders",),
    "v2": ("vocoders", "ablation"),
    "v3": ("vocoders",),
}
SMALL = {
    "flows": 6,
    "early_every": 2,
    "layers": 4,
    "channels": 64,
    "hop": 256,
    "upsampler_taps": 1024,
    "features": 16,
    "centre": -6.0,
    "spread": 2.5,
    "prediction": 32,
}
# Half the published samples at 0.36 of the rate: n_fft, hop, window.
TELEPHONE_STFT = ((512, 60, 300), (1024, 120, 600), (256, 25, 120))
SMOKE = {
    "flows": 2,
    "early_every": 1,
    "layers": 2,
    "channels": 8,
    "hop": 64,
    "upsampler_taps": 128,
    "features": 4,
}


def speech(data: str, arg: str = "", telephone: bool = False) -> ConfigDict:
    """WaveGlow, or a student of it.

    Args:
      data: name of the data set.
      arg: teacher; student, with a name of `STUDENTS` (default v2); small (for two CPU
        cores); smoke.
      telephone: whether speech has 8,000 samples a second, whose models are small.
    """
    choices = [
        common.Choice(("teacher", "student")),
        common.Choice(tuple(STUDENTS), ("student",)),
        common.SMOKE,
    ]
    words = common.parse_arg(
        arg, choices if telephone else [*choices, common.Choice(("small",))]
    )
    words |= {"small"} if telephone else set()
    if "student" in words:
        return _student(data, words, telephone)
    return _teacher(data, words, telephone)


def _teacher(data: str, words: set[str], telephone: bool) -> ConfigDict:
    config = common.speech()
    config.group = ("vocoders",)
    config.data.name = data
    config.model.name = "waveglow"
    config.optim.b2 = 0.999
    if "smoke" in words:
        config.model.args = ConfigDict(SMOKE)
        return common.smoke_speech(config)
    if "small" in words:
        config.model.args = ConfigDict(SMALL)
        if telephone:
            config.model.args.update(common.TELEPHONE)
            common.telephone(config)
        config.data.args.segment = 4096
        config.optim.update(lr=1e-3, clip=1.0, ema=0.999)
        config.train.update(steps=8000, batch_size=4, steps_per_call=50)
        # As the released code's samples have it; at 1 they are noisier.
        config.eval.temperature = 0.6
        return config
    # Prenger et al. (2018): Adam at 1e-4, batch 12 (24 in the paper), 580,000 steps.
    config.model.args = ConfigDict({})
    config.optim.update(lr=1e-4, schedule="constant", warmup=0.0, clip=0.0)
    config.train.update(steps=580_000, batch_size=12, eval_every=5000)
    return config


def _student(data: str, words: set[str], telephone: bool) -> ConfigDict:
    """A student of table 2 (v1, v2, v3) or of table 4 (flow, wide_flow, affine; v2).

    Baranchuk et al. (2021), appendix C and released code: segments of 16,000, batch
    256, alpha 0.01 (v3: 0.02), 200,000 steps, the rate rises to 1e-3 in 5,000 steps
    and falls by e every 25,000, not below 1e-5; no clipping.
    """
    small, tiny = "small" in words, "smoke" in words
    source = SMOKE if tiny else SMALL | common.TELEPHONE if telephone else SMALL
    recipes = {name: _recipe(name, source, small, tiny) for name in STUDENTS}
    if telephone and not tiny:
        for each in recipes.values():
            each["loss/feed_forward/stft"] = TELEPHONE_STFT
    config = teaching.feed_forward(
        _teacher(data, words, telephone),
        _teacher(data, words, telephone),
        recipes,
        next((name for name in STUDENTS if name in words), "v2"),
    )
    if tiny:
        return config
    config.optim.update(lr=1e-3, schedule="exponential", final=0.01, clip=0.0)
    config.optim.warmup, config.optim.e_fold = 5000, 25_000.0
    config.train.update(steps=200_000, batch_size=256)
    if small:
        config.optim.update(lr=2e-3, schedule="cosine", warmup=0.05, clip=1.0)
        config.train.update(steps=3000, batch_size=4)
    return config


def _recipe(
    name: str, source: dict[str, Any], small: bool, tiny: bool
) -> dict[str, Any]:
    kind, large, reduced = STUDENTS[name]
    blocks, channels = (1, 8) if tiny else reduced if small else large
    args: dict[str, Any] = {"blocks": blocks, "channels": channels}
    if tiny or small:
        args |= {k: source[k] for k in ("layers", *common.ALIKE) if k in source}
        early = (source["flows"] - 1) // source["early_every"]
        args["latents"] = (2,) * early + (8 - 2 * early,)
    recipe: dict[str, Any] = {
        # Of table 4 are those that keep some of a flow's restrictions, and beside them
        # the one of table 2 that has their size.
        "group": GROUPS.get(name, ("ablation",)),
        "model": {"name": kind, "args": args},
        "loss/feed_forward/alpha": 0.02 if name == "v3" else 0.01,
        "loss/feed_forward/feature": "stft",
        "loss/feed_forward/limit": 5.0,
        "loss/feed_forward/temperature": 0.6 if small else 1.0,
    }
    if tiny:
        recipe["loss/feed_forward/stft"] = ((64, 16, 32), (128, 32, 64))
    return recipe
