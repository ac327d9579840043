"""Every config: it builds, passes the checks, has the papers' size, and trains."""

import functools
import importlib
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common, teaching, waveglow, wavenet
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.flows import maf, tarflow
from fdnf.ops import trees
from fdnf.train import guiding, loop, models, objectives, preprocess, settings
from fdnf.train.writers import read_log
from tests import tiny

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*_*.py") if path.stem != "__init__")
TOYS = ("rings", "checkerboard", "eight_gaussians")
OWN = ("image_folder", "image_npz")
# Columns of a table, or shape of an image.
EVENTS = {
    "power": (6,),
    "gas": (8,),
    "hepmass": (21,),
    "miniboone": (43,),
    "bsds300": (63,),
    "patches": (63,),
    **dict.fromkeys(("two_moons", *TOYS), (2,)),
    "synthetic": (6,),
    # Without their conditions.
    "showers": (28,),
    "galaxies": (1,),
    "sbi": (2,),
    # Of the user's own, as many as there are.
    "table": (5,),
    "cifar10": (32, 32, 3),
    "celeba64": (64, 64, 3),
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "digits_8x8": (8, 8, 1),
    **dict.fromkeys(OWN, (32, 32, 3)),
    "synthetic_images": (8, 8, 1),
}
RATES = {"ljspeech": 22_050, "asterisk": 8000, "synthetic_speech": 22_050}
# Sets whose name is not what the config's file says of them.
SETS = {("srflow", "bsds300"): "bsds300_sr"}
SETS[("table", "")] = "table"
IMAGE_MODELS = ("glow", "pixelcnn", "mintnet", "iresnet", "tarflow")
SETS |= {(model, "digits"): "digits_8x8" for model in IMAGE_MODELS}
SMOKE = {"srflow": "synthetic_pairs"}
SMOKE |= dict.fromkeys(("waveglow", "wavenet"), "synthetic_speech")

PLAIN = ("", "teacher", "student", "smoke", "student,smoke")
DISTILLED = ("lkd", "ilkd", "skd", "skd,official", "paper,ilkd", "ilkd,smoke,official")
PARALLEL = ("iaf", "iaf,kl", "z,iaf", "iaf,x", "iaf,oracle", "iaf,smoke")
PARALLEL += ("smoke,iaf,kl", "iaf,oracle,smoke")
GUIDED = ("iaf,guided", "smoke,guided,iaf")
OF_OTHERS = ("iaf,guided,lu", "spline,iaf,guided", "iaf,spline,kl", "lu,iaf,smoke")
FREE = ("resnet", "resnet,l2", "noise,resnet,l1", "resnet,noise,mixed")
FREE += ("resnet,smoke", "noise,mixed,smoke,resnet")
STUDENTS = tuple(f"student,{name}" for name in waveglow.STUDENTS)
VOICES = tuple(wavenet.STUDENTS)
# Of each model, and what is known of some sets only.
ARGS = {
    "maf": (
        *(PLAIN + DISTILLED + PARALLEL + GUIDED),
        *("lu", "spline", "spline,smoke"),
    ),
    "table": (
        *(PLAIN + DISTILLED + PARALLEL + GUIDED),
        *("maf,student", "coupling", "coupling,ilkd,smoke"),
    ),
    "glow": PLAIN + DISTILLED,
    "iresnet": PLAIN + DISTILLED,
    "continuous": (
        *(*PLAIN, *DISTILLED, "pairs", "pairs,oracle"),
        *("smoke,x,pairs", "smoke,pairs,oracle"),
    ),
    "pixelcnn": (
        *(*PLAIN, *PARALLEL, *FREE, "conditional", "iaf,kl,conditional"),
        "iaf,oracle,passes",
    ),
    "tarflow": (*PLAIN, *PARALLEL, *GUIDED, "conditional", "iaf,kl,conditional"),
    "mintnet": (*PLAIN, "logit", "student,logit,smoke"),
    "srflow": (*PLAIN, "pretrained", "pretrained,smoke"),
    "waveglow": (*PLAIN, *STUDENTS, *(f"smoke,{words}" for words in STUDENTS)),
    "wavenet": ("", "teacher", "smoke", *VOICES, "smoke,oracle"),
}
BITS = ("student,n_bits=5,logit,bf16", "skd,n_bits=5,official", "bf16,smoke")
SMALL = ("small", "small,student", "small,iaf,kl", "resnet,small,smoke")
SCALES = ("x4", "x8", "x4,pretrained", "x8,pretrained", "x8,smoke")
SCALES += ("student,x4", "student,x8", "student,x8,smoke")
# Each word once.
LEARNED = ("lkd,paper", "ilkd", "skd,official")
OWN_ARGS = {
    "maf_showers": (
        *("", "teacher,d96", "student,smoke,d184", *LEARNED),
        *(f"iaf,{words}" for words in ("d28,z", "kl", "d368,guided", "x", "oracle")),
    ),
    "maf_galaxies": (
        *("redshift", "teacher", "student,smoke", *LEARNED),
        *(f"magnitudes,iaf,{words}" for words in ("z", "kl", "guided", "x", "oracle")),
    ),
}
OWN_ARGS["maf_sbi"] = (
    *("two_moons,teacher", "slcp,likelihood", "gaussian_mixture,student,smoke"),
    *(f"gaussian_linear,posterior,{words}" for words in LEARNED),
    *("bernoulli_glm,iaf,guided", "gaussian_linear_uniform,iaf,z"),
    *(f"slcp,iaf,{word}" for word in ("x", "kl", "oracle")),
)
MORE = {
    **dict.fromkeys(("glow_cifar10", "glow_mnist", "glow_fashion_mnist"), BITS),
    **dict.fromkeys(("maf_bsds300", "maf_patches"), OF_OTHERS),
    **dict.fromkeys(
        ("maf_toys", "continuous_toys"),
        ("two_moons", *(f"{toy},ilkd" for toy in TOYS), "rings,student"),
    ),
    **dict.fromkeys(
        ("glow_power", "glow_gas", "glow_hepmass", "glow_miniboone", "glow_bsds300"),
        ("spline",),
    ),
    "glow_patches": ("spline", "spline,student", "spline,ilkd", "ilkd,smoke,spline"),
    "glow_digits": BITS,
    "glow_images": (*BITS, "npz", "npz,ilkd"),
    "glow_celeba64": (*BITS, "61m", "ilkd,61m"),
    **dict.fromkeys(("pixelcnn_mnist", "pixelcnn_fashion_mnist"), SMALL),
    "mintnet_mnist": ("paper", "paper,smoke", "paper,student"),
    "srflow_div2k": SCALES,
    **dict.fromkeys(
        ("srflow_bsds300", "srflow_photographs"), ("student,l1", "l1,student,smoke")
    ),
    "waveglow_ljspeech": ("small", *(f"small,{words}" for words in STUDENTS)),
    "wavenet_ljspeech": ("small", "small,teacher", "clarinet,small"),
}
RECIPES = ("maf,bsds300", "glow,digits", "fashion_mnist", "maf,bsds300,few,short")
RECIPES += (
    "maf,smoke",
    "glow,miniboone_small,rows=500",
    "maf,power_subset,rows=10000",
    "iaf,blocks=3",
    "iaf,bsds300,short",
)

# Walton et al. (2023), tables 1 and 2, of 6, 8, 21, 43 and 63 columns, and table 5, as
# their released code counts; an IAF is the same network run the other way.
VECTORS = {
    "maf,student": (5_028, 5_616, 9_438, 15_906, 21_786),
    "iaf,student": (5_028, 5_616, 9_438, 15_906, 21_786),
    # 6 blocks of 256, 256.
    "iaf,guided": (424_008, 433_248, 493_308, 594_948, 687_348),
    "maf,teacher": (10_056, 11_232, 18_876, 31_812, 43_572),
    # No paper's; on BSDS300 less than the teacher.
    "maf,lu": (5_136, 5_808, 10_761, 21_453, 33_693),
    "maf,spline": (18_798, 24_024, 58_578, 119_364, 42_651),
    "glow_tabular,student": (13_794, 14_184, 17_355, 24_945, 34_365),
    "glow_tabular,spline": (107_355, 115_460, 173_670, 273_825, 373_275),
    "glow_tabular,teacher": (86_670, 87_800, 96_285, 114_215, 134_715),
}
COUNTS = {
    f"{key},{width}": count
    for key, counts in VECTORS.items()
    for width, count in zip((6, 8, 21, 43, 63), counts, strict=True)
}
COUNTS |= {
    "cifar10,student": 11_040_528,
    "cifar10,teacher": 44_152_176,
    "celeba64,student": 7_946_544,
    "celeba64,teacher": 44_152_176,
    # An earlier model.
    "celeba64,teacher,additive": 61_178_832,
    # Baranchuk et al. (2021), tables 1, 2 and 4; the released SRFlow holds 276,576
    # weights more, which nothing uses. The encoders are the RRDB rows.
    "srflow,x4": 39_541_811 - 276_576,
    "srflow,x8": 50_821_891 - 276_576,
    "rrdb,x4": 16_697_987,
    "rrdb,x8": 16_734_915,
    "srflow_student,x4": 20_393_177,
    "srflow_student,x8": 16_157_116,
    "waveglow": 87_731_816,
    # ClariNet's network (`test_parameter_counts`) and WaveGlow's upsampler.
    "gaussian_wavenet": 2_390_402 + 6_553_680,
    "wavenet_iaf": 2_117_772 + 6_553_680,
    "v1": 9_529_992,
    "v2": 6_348_776,
    "v3": 3_175_208,
    "flow": 6_277_952,
    "wide_flow": 6_367_592,
    "affine": 6_282_592,
}


def get(name, arg=""):
    config = importlib.import_module(f"configs.{name}").get_config(arg)
    if config.data.name in OWN:
        # What only its user can say.
        settings.override(config, {"data.args.path": "own"})
    return config


def args_of(name):
    if name == "recipes":
        # The last has no study.
        return (*RECIPES, "glow,bsds300,teacher")
    if name in OWN_ARGS:
        return OWN_ARGS[name]
    return (*ARGS[name.partition("_")[0]], *MORE.get(name, ()))


# Of each kind of model one config, on which CI tries all words, and what others alone
# have; of the others the teacher and the student, the rest by name.
WHOLE = ("maf_patches", "glow_patches", "glow_digits", "iresnet_digits", "maf_sbi")
WHOLE += ("continuous_toys", "pixelcnn_digits", "tarflow_digits", "mintnet_digits")
WHOLE += ("srflow_photographs", "waveglow_ljspeech", "wavenet_ljspeech", "table")
WHOLE += ("maf_galaxies", "maf_showers", "recipes")
ALONE = {
    *(("glow_celeba64", "61m"), ("glow_images", "npz"), ("pixelcnn_mnist", "small")),
    *(("srflow_div2k", "x8,smoke"), ("srflow_div2k", "student,x8,smoke")),
    ("mintnet_mnist", "paper,smoke"),
}


def variants():
    for name in (*NAMES, "recipes", "table"):
        for arg in args_of(name):
            own = name in WHOLE or arg in ("", "student") or (name, arg) in ALONE
            marks = () if own else pytest.mark.slow
            yield pytest.param(name, arg, id=f"{name}:{arg}", marks=marks)


def words_of(name):
    """The words of a config, as it answers to one that it does not know."""
    with pytest.raises(ValueError, match=r"unknown word '\?'; known: ") as caught:
        get(name, "?")
    return str(caught.value).partition("known: ")[2].split(", ")


def test_one_file_for_each_model_and_data_set():
    vectors = ("power", "gas", "hepmass", "miniboone", "bsds300", "patches")
    images = ("cifar10", "celeba64", "mnist", "fashion_mnist", "digits")
    data = {
        "maf": (*vectors, "toys", "showers", "galaxies", "sbi"),
        "glow": (*vectors, *images, "images"),
        "iresnet": ("patches", "digits"),
        "continuous": ("toys", "bsds300"),
        "pixelcnn": ("digits", "mnist", "fashion_mnist", "cifar10"),
        "tarflow": ("digits", "mnist"),
        "mintnet": ("digits", "mnist"),
        "srflow": ("bsds300", "div2k", "photographs"),
        "waveglow": ("asterisk", "ljspeech"),
        "wavenet": ("asterisk", "ljspeech"),
    }
    assert sorted(NAMES) == sorted(f"{m}_{d}" for m, sets in data.items() for d in sets)


@pytest.mark.parametrize("name", [*NAMES, "recipes", "table"])
def test_every_word_is_tried_here(name):
    tried = {word for arg in args_of(name) for word in arg.split(",")} - {""}
    assert tried == set(words_of(name))


def data_of(config):
    """Rows of the config's shape, that say nothing, for its preprocessing."""
    given = config.data.args
    if "segment" in given:
        rows = np.zeros((1, given.segment), np.int16)
        return Clips("none", rows, rows, (), (), "", RATES[config.data.name])
    high = np.zeros((1, given.crop, given.crop, 3), np.uint8)
    low = high[:, :: given.scale, :: given.scale]
    return Pairs("none", high, low, high, low, (), "", given.scale)


def shapes_of(config):
    """Shapes of an event and of its condition."""
    if config.data.name in EVENTS:
        side = config.data.args.get("size", 0) if "images" in config.data.name else 0
        event = EVENTS[config.data.name]
        return (side, side, event[-1]) if side else event, None
    data = data_of(config)
    prepared = preprocess.make(config.data, data)
    return data.event, prepared.condition_shape(data.event)


@functools.cache
def init_shapes(model, event, cond):
    x = jax.ShapeDtypeStruct((2, *event), jnp.float32)
    init = functools.partial(models.init, model)
    if cond is None:
        return jax.eval_shape(init, jax.random.key(0), x)
    cond = jax.ShapeDtypeStruct((2, *cond), jnp.float32)
    return jax.eval_shape(init, jax.random.key(0), x, cond)


def variables_of(config):
    """Shapes of the variables of the config's model on rows of its data."""
    model = models.build(config.model)
    assert hash(model) == hash(models.build(config.model))
    return init_shapes(model, *shapes_of(config))


def row(config, words):
    """The row of `COUNTS` that a config's model is in, if it is in one."""
    name, data = config.model.name, config.data.name
    if data in EVENTS and len(EVENTS[data]) == 1:
        if "spline" not in words and "spline" in str(config.model.args.to_dict()):
            return ""  # No paper's.
        teaches = config.role == "teacher"
        variant = words & ({"lu", "spline"} if teaches else {"guided"})
        if "guided" in variant and words & {"lu", "spline"}:
            return ""  # As many as its teacher's blocks.
        variant = variant or {config.role}
        if variant & words and "smoke" in words:
            return ""  # That of another width.
        if name == "glow_tabular" and "spline" in words and config.role == "student":
            return ""
        if name == "maf" and "spline" in variant and data == "patches":
            return ""  # BSDS300's, of as many columns, is one of few weights.
        return f"{name},{variant.pop()},{EVENTS[data][0]}"
    if name == "glow":
        additive = ",additive" * (config.model.args.get("transformer") == "additive")
        return f"{data},{config.role}{additive}"
    if data == "div2k":
        return f"{name},x8" if "x8" in words else f"{name},x4"
    if data == "ljspeech" and "small" not in words:
        if config.label == wavenet.FREE:  # A WaveGlow's student of that size.
            return "v2"
        return name if name == "wavenet_iaf" else config.label or name
    return ""


def check_size(config, words):
    found = row(config, words)
    counted = trees.parameter_count(variables_of(config)["params"])
    assert counted == COUNTS.get(found, counted)
    published = ("cifar10", "celeba64", "div2k", "ljspeech")
    if config.data.name in published and config.model.name != "pixelcnn":
        assert found in COUNTS or words & {"small", "iaf", "resnet"}


def check_student(config, words):
    """Its loss, and its teacher's; who learns from whom in a study."""
    taught = config.teacher.config
    assert (taught.role, taught.data.name) == ("teacher", config.data.name)
    continuous = taught.model.name == "continuous"
    assert taught.loss.method == ("flow_matching" if continuous else "nll")
    check_size(taught, words)
    if words & {"lkd", "ilkd", "skd"}:
        assert config.loss.method in words
        assert config.loss.preset == ("official" if "official" in words else "paper")
        assert config.loss.get("units") == taught.loss.get("units")
        return
    # Its study has all others, whichever it starts from.
    assert config.label in config.study.methods
    assert {*config.study.methods} == {*config.study.recipes}
    if "iaf" in words:
        method = ({*teaching.GUIDED_IAF.words} & words or {"x"}).pop()
        assert config.label == config.loss.method == method
        if method == "guided":
            check_guided(config)
        assert config.model.name in ("iaf", "pixelcnn_iaf", "tarflow_iaf")
        assert config.loss.transfer.distance == "l2"
    elif "pairs" in words:
        method = ({*teaching.PAIRS} & words or {"x"}).pop()
        assert config.label == config.loss.method == method
        assert config.model.name == "realnvp"
    elif "resnet" in words:
        distance = ({"l1", "l2", "mixed"} & words or {"l1"}).pop()
        noise = "noise" in words
        assert config.label == f"resnet_{'noise_' * noise}{distance}"
        assert config.loss.transfer.noise == 0.5 * noise
        assert config.loss.transfer.distance == distance
    elif name := words & {*wavenet.STUDENTS}:
        check_voice(config, *name)
    else:
        assert config.loss.method == "feed_forward"
        check_feed_forward(config, words)


def check_guided(config):
    """A student that can be its teacher's inverse, by the recipe that all go by."""
    student, teacher = (models.build(c.model) for c in (config, config.teacher.config))
    if isinstance(teacher, tarflow.TarFlow):
        assert student == tarflow.TarIAF.of(teacher)
    else:
        assert student == maf.IAF.of(teacher, hidden=config.model.args.hidden)
    usual = guiding.DEFAULTS
    if config.data.name == "showers":  # By the blocks alone.
        alone = teaching.stages((1.0,), (1.0,), local=(1.0,)).items()
        usual = usual | {key.rpartition("/")[2]: value for key, value in alone}
    assert config.loss.guided.to_dict() == usual
    assert config.teacher.share == 1.0


def check_voice(config, name):
    """Beside its loss a student has its own loss of spectra, where it has one."""
    method, feature, _ = wavenet.STUDENTS[name]
    loss = config.loss
    assert (config.label, loss.method) == (name, method)
    assert (loss.transfer.feature != "none") == (loss.transfer.alpha > 0)
    assert loss.transfer.feature == feature
    assert loss.transfer.distance == ("l2" if method == "z" else "l1")
    assert bool(config.teacher.samples) == (method == "oracle")
    free = name == wavenet.FREE
    assert config.model.name == ("wavenet" if free else "wavenet_iaf")
    student, teacher = (models.build(c.model) for c in (config, config.teacher.config))
    for name in common.ALIKE:
        assert getattr(student, name) == getattr(teacher, name)
    event, _ = shapes_of(config)
    assert student.latent_shapes(event) == teacher.latent_shapes(event)
    if free:
        ours, theirs = variables_of(config), variables_of(config.teacher.config)
        assert ours["constants"]["upsampler"] == theirs["params"]["upsampler"]


def check_feed_forward(config, words):
    """A student's latents are its teacher's, and so is what it inherits."""
    named = {*waveglow.STUDENTS} & words
    small = "waveglow" in config.teacher.config.model.name
    plain = "srflow_student_l1" if "l1" in words else "srflow_student"
    assert config.label == ((named or {"v2"}).pop() if small else plain)
    student, teacher = (models.build(c.model) for c in (config, config.teacher.config))
    event, _ = shapes_of(config)
    assert student.latent_shapes(event) == teacher.latent_shapes(event)
    ours, theirs = variables_of(config), variables_of(config.teacher.config)
    if small:
        assert ours["constants"]["upsampler"] == theirs["params"]["upsampler"]
    elif student.inherits:
        assert ours["params"]["encoder"] == theirs["params"]["encoder"]


@pytest.mark.parametrize(
    ("name", "arg"), [case for case in variants() if case.values[0] != "recipes"]
)
def test_config(name, arg):
    words = set(arg.split(","))
    config = get(name, arg).lock()
    settings.check(config)
    model, _, about = name.partition("_")
    if about == "toys":
        about = next((toy for toy in TOYS if toy in words), "two_moons")
    if about == "images":
        about = "image_npz" if "npz" in words else "image_folder"
    small = len(EVENTS.get(SETS.get((model, about), about), (1, 1))) == 1
    kind = "synthetic" if small else SMOKE.get(model, "synthetic_images")
    kind = "table" if name == "table" else kind
    data = kind if "smoke" in words else SETS.get((model, about), about)
    assert config.data.name == data
    taught = words & {"lkd", "ilkd", "skd", "iaf", "resnet", "pairs"}
    if model == "wavenet":
        taught = words & {*VOICES}
    student = taught or "student" in words
    role = "student" if student else "teacher"
    assert config.role == ("pretrained" if "pretrained" in words else role)
    check_size(config, words)
    if taught or (student and model in SMOKE):
        check_student(config, words)
    else:
        assert "teacher" not in config
        usual = "flow_matching" if config.model.name == "continuous" else "nll"
        wanted = "regression" if "pretrained" in words else usual
        assert config.loss.method == wanted
    if config.get("pretrained"):
        before = variables_of(config.pretrained.config)["params"]
        assert before["encoder"] == variables_of(config)["params"]["encoder"]
    values = settings.to_dict(config)
    again = settings.from_dict(values)
    assert settings.to_dict(again) == values
    assert models.build(again.model) == models.build(config.model)
    with pytest.raises(AttributeError, match="stepz"):
        config.train.stepz = 3


@pytest.mark.parametrize("name", ["glow_cifar10", "glow_mnist"])
def test_words_of_images(name):
    config = get(name, "student,n_bits=5,logit,bf16")
    assert config.data.n_bits == 5
    assert config.data.logit == (0.05 if name == "glow_cifar10" else 1e-6)
    assert config.model.args.dtype == "bfloat16"
    distilled = get(name, "skd,n_bits=5,official")
    assert distilled.data.n_bits == distilled.teacher.config.data.n_bits == 5
    assert distilled.loss.units == "bits_per_dim"


@pytest.mark.parametrize(
    ("name", "arg", "message"),
    [
        ("maf_gas", "smok", "unknown word 'smok'; did you mean 'smoke'? known: teach"),
        ("glow_mnist", "iaf", "unknown word 'iaf'; known: teacher, student, lkd"),
        ("maf_gas", "lkd,skd", "lkd and skd exclude each other"),
        ("maf_gas", "iaf,student", "student and iaf exclude each other"),
        ("maf_gas", "spline,student", "student and spline exclude each other"),
        ("maf_gas", "ilkd,lu", "ilkd and lu exclude each other"),
        ("maf_gas", "guided", "'guided' goes with iaf"),
        ("pixelcnn_digits", "iaf,guided", "unknown word 'guided'"),
        ("maf_gas", "iaf,kl,z", "kl and z exclude each other"),
        ("maf_gas", "kl", "'kl' goes with iaf"),
        ("maf_gas", "student,official", "'official' goes with lkd, ilkd or skd"),
        ("pixelcnn_digits", "resnet,mixed", "'mixed' goes with noise"),
        ("pixelcnn_digits", "small", "unknown word 'small'"),
        ("srflow_div2k", "x2", "unknown word 'x2'"),
        ("srflow_bsds300", "x8", "unknown word 'x8'"),
        ("srflow_photographs", "pretrained,student", "exclude each other"),
        ("waveglow_ljspeech", "student,v4", "unknown word 'v4'"),
        ("waveglow_asterisk", "student,v1,v2", "v1 and v2 exclude each other"),
        ("waveglow_asterisk", "v1", "'v1' goes with student"),
        ("table", "maf,coupling", "maf and coupling exclude each other"),
        ("table", "coupling,iaf", "'iaf' goes with maf"),
        ("maf_galaxies", "iaf", "'iaf' goes with magnitudes: a flow of one column"),
        ("maf_showers", "d28,d96", "d28 and d96 exclude each other"),
        ("recipes", "maf,digits", "are those of glow, not of maf"),
        ("recipes", "iaf,digits", "digits is for recipes of maf and glow"),
        ("recipes", "maf,blocks=3", "'blocks=3' goes with iaf"),
    ],
)
def test_words_that_cannot_work(name, arg, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        get(name, arg)


@pytest.mark.parametrize("arg", RECIPES)
def test_recipes_name_keys_of_their_config(arg):
    config = get("recipes", arg)
    settings.check(config)
    assert set(config.study.recipes) <= set(config.study.methods)
    for recipe in config.study.recipes.values():
        for key in recipe.to_dict():
            *path, last = key.split("/")
            section = functools.reduce(lambda part, name: part[name], path, config)
            assert last in section


def trained(name, words, folder):
    """The log of a smoke config of two calls whose teacher lies there, untrained."""
    config = get(name, f"{words},smoke")
    config.model.args.steps, config.teacher.config.model.args.steps = 1, 2
    taught = tiny.stored(config.teacher.config, folder / "taught")
    config.teacher.workdir = str(taught)
    config.train.update(steps=4, steps_per_call=2, log_every=2, eval_every=4)
    if config.loss.method == "skd":
        config.loss.skd.start = 0.0
    if "iaf" in words:
        config.loss.transfer.warm = 0.5
    loop.train_and_evaluate(config, folder / "run")
    rows = read_log(folder / "run")
    assert [row["step"] for row in rows] == [2, 4]
    assert np.isfinite([row["loss"] for row in rows]).all()
    return rows


# In CI the plain ones, LKD, ILKD and SKD are trained in `experiments.test_study`, SKD
# of tables in `train.test_table`.
@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param("maf_patches", "lkd", marks=pytest.mark.slow),
        pytest.param("maf_patches", "skd", marks=pytest.mark.slow),
        pytest.param("glow_patches", "ilkd", marks=pytest.mark.slow),
        pytest.param("glow_patches", "skd", marks=pytest.mark.slow),
    ],
)
def test_smoke_trains(name, method, tmp_path):
    rows = trained(name, method, tmp_path)
    assert np.isfinite(rows[-1]["val_log_prob"]).all()
    assert all(row[method][0] > 0 for row in rows)
    if method == "skd":
        assert all(row["rejected"][0] < 0.5 for row in rows)


@pytest.mark.parametrize("arg", ["lkd", "ilkd", "ilkd,smoke"])
def test_couplings_have_the_levels_of_their_continuous_teacher(arg):
    config = get("continuous_toys", arg)
    student, teacher = (
        models.build(each.model) for each in (config, config.teacher.config)
    )
    objectives.check_levels(config, student, teacher, (2,))


# `test_fitting` has the same losses.
@pytest.mark.slow
def test_smoke_of_pairs_of_a_continuous_teacher(tmp_path):
    rows = trained("continuous_bsds300", "pairs", tmp_path)
    assert rows[-1]["x"][0] > 0
    assert np.isfinite(rows[-1]["val_loss"]).all()


# Half of `kl` and of `z` is x-reconstruction, which they need to start from. In CI
# `train.test_transfer` has these losses, and `test_fitting` trains by two of them.
@pytest.mark.slow
@pytest.mark.parametrize("method", ["kl", "z", "oracle"])
def test_smoke_of_a_transfer(method, tmp_path):
    rows = trained("maf_patches", f"iaf,{method}", tmp_path)
    warm = method in ("kl", "z")
    assert (rows[0]["x" if warm else method][0]) > 0
    assert rows[1][method][0] > 0
    assert [row.get("warm", [None])[0] for row in rows] == (
        [1.0, 0.0] if warm else [None, None]
    )
