"""MintNet on 8x8 handwritten digits, 17 grey levels, that scikit-learn carries."""

from configs import mintnet

TEACHER = {"levels": 2, "steps": 8, "hidden": 28}
STUDENT = {"levels": 2, "steps": 5, "hidden": 20}


def get_config(arg: str = ""):
    config = mintnet.images("digits_8x8", arg, TEACHER, STUDENT)
    if "smoke" not in arg:
        config.train.update(steps=1500, eval_every=100, steps_per_call=50)
        config.optim.update(lr=8e-3, ema=0.99)
        config.eval.extractors = ("classifier",)
    return config
