"""What a config of speech must keep to: frames of sound, and the mel of a model."""

from typing import Any

from fdnf.ops import mel
from fdnf.train import keys, models, rules


def _args(data: Any) -> dict[str, Any]:
    return rules.defaults(data.name) | dict(data.get("args") or {})


def _settings(data: Any) -> mel.Settings:
    """Of the mel that models are given."""
    return mel.Settings(rate=_args(data)["rate"], **dict(data.get("mel", {})))


def check_model(model: models.Model, data: Any) -> None:
    """Refuses a vocoder that takes the mel to be another than it is.

    Frames that are not where it takes them to be are still frames.

    Args:
      model: what is trained.
      data: the section of the config.

    Raises:
      ValueError: naming both keys.
    """
    if getattr(model, "hop", None) is None or "mel" not in data:
        return
    given = _settings(data)
    prediction = getattr(model, "prediction", 0)
    for name in ("hop", *(("rate", "n_fft", "high") if prediction else ())):
        ours, theirs = getattr(model, name), getattr(given, name)
        if ours != theirs:
            of_set = name == "rate"
            key = "data.args.rate" if of_set else f"data.mel.{name}"
            usual = rules.defaults(data.name) if of_set else vars(mel.DEFAULT)
            raise ValueError(
                f"model.args.{name}={ours}, {key}={theirs}: expected the same in both; "
                f"where {key} is left out it is {usual[name]}"
            )
    if prediction and (given.window != given.n_fft or given.low):
        raise ValueError(
            f"model.args.prediction={prediction} with data.mel.window={given.window}, "
            f"data.mel.n_fft={given.n_fft} and data.mel.low={given.low}: expected a "
            "window as long as the transform, and filters from 0 Hz on"
        )


def check_frames(config: Any) -> None:
    """Refuses sound too short for a frame, of what is trained on or judged.

    Raises:
      ValueError: naming the key.
    """
    if rules.kind_of(config.data.name) != "speech":
        return
    args, given = _args(config.data), _settings(config.data)
    try:
        mel.filterbank(given)
    except ValueError as error:
        raise ValueError(
            f"data.mel, with data.args.rate={given.rate}: {error}"
        ) from error
    if given.window > given.n_fft:
        raise ValueError(
            f"data.mel.window={given.window}: expected at most data.mel.n_fft="
            f"{given.n_fft}"
        )
    least = max(given.n_fft // 2 + 1, given.hop)
    if args["segment"] < least:
        raise ValueError(
            f"data.args.segment={args['segment']}: expected at least {least} samples, "
            f"what frames of data.mel.n_fft={given.n_fft} need"
        )
    seconds, timed = config.eval.seconds, config.eval.time_seconds
    if 0 < seconds * given.rate < keys.CLIP:
        raise ValueError(
            f"eval.seconds={seconds} at {given.rate} samples a second: expected at "
            f"least {keys.CLIP} samples, or 0 for all of each clip"
        )
    if config.eval.time_batch and round(timed * given.rate) < least:
        raise ValueError(
            f"eval.time_seconds={timed} at {given.rate} samples a second: expected at "
            f"least {least} samples, what a frame needs"
        )
