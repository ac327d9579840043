"""A user's own rows: their densities, samples for conditions, other tests."""

import csv
import functools
import json
import pathlib

import jax
import numpy as np
import pytest
from scipy import stats

from fdnf import files
from fdnf.data import transformed
from fdnf.data.images import Images
from fdnf.data.tabular import DataError
from fdnf.evaluation.tasks import given, rows, vectors
from fdnf.experiments import study
from fdnf.flows.affine import Affine
from fdnf.students.resnet import ResNet
from fdnf.train import checkpoint, models, preprocess, settings, table, validation
from fdnf.train.checkpoint import CheckpointError
from fdnf.train.preprocess import Preprocess, SuperResolution
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained
from tests import flagged, floats, tiny

RNG = np.random.default_rng(0)
# Of a lognormal and a bounded column, and of two conditions.
TABLE = {
    "income": np.exp(RNG.normal(2.0, 0.7, 400)),
    "share": RNG.uniform(0.0, 1.0, 400),
    "age": RNG.normal(40.0, 9.0, 400),
    "height": RNG.normal(1.7, 0.1, 400),
}
OWN, BESIDE = ["income", "share"], ["age", "height"]
KINDS = {"income": "log", "share": {"kind": "box", "low": 0.0, "high": 1.0}}


def matrix(names, part=slice(None)):
    return np.stack([TABLE[name][part] for name in names], 1)


def perturbed(key, made):
    leaves, form = jax.tree.flatten(made)
    keys = jax.random.split(key, len(leaves))
    moved = [
        leaf + 0.3 * jax.random.normal(one, leaf.shape)
        for leaf, one in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(form, moved)


@functools.cache
def data(conditional=False):
    parts = [slice(0, 300), slice(300, 350), slice(350, 400)]
    beside = [matrix(BESIDE, part) for part in parts] if conditional else None
    return transformed.fitted(
        "people",
        [matrix(OWN, part) for part in parts],
        OWN,
        beside,
        BESIDE if conditional else (),
        transforms=KINDS,
    )


def stored(workdir, model="affine", conditional=False, runs=1):
    """A workdir as if a table had been trained on in it, at first parameters."""
    config = tiny.config()
    config.model.name = model
    with config.unlocked():
        config.model.args = {} if model == "affine" else {"steps": 1, "hidden": (4,)}
    prepared = table.of(data(conditional))
    flow = models.build(config.model)
    x = jax.random.normal(jax.random.key(1), (16, 2))
    cond = jax.random.normal(jax.random.key(2), (16, 2)) if conditional else None

    def init(key):
        made = models.init(flow, key, x, cond)
        return made if model == "affine" else perturbed(key, made)

    made = jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(0), runs))
    best = validation.first_best(made["params"], made.get("constants", {}), runs)
    meta = {
        "config": settings.to_dict(config),
        "event": [2],
        "preprocess": preprocess.describe(prepared),
    }
    with checkpoint.Checkpointer(workdir) as checkpointer:
        checkpointer.save(6, {"w": np.zeros(2)}, best, meta)
    return workdir


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """One whose density is known: the lognormal, and the logit-normal."""
    return stored(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("conditional"), "nice", True, runs=2)


@pytest.fixture
def section():
    return tiny.config().eval


def write(path, names, part=slice(0, 7), **more):
    """A CSV file of these columns, in this order."""
    columns = {name: TABLE[name][part] for name in names} | more
    lines = [",".join(columns)]
    for row in zip(*columns.values(), strict=True):
        lines.append(",".join(repr(float(value)) for value in row))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def read(path):
    with open(path, newline="") as file:
        head, *lines = csv.reader(file)
    return head, np.array(lines, float)


def test_densities_of_a_table(people, section, tmp_path):
    """By name, among other columns, in the user's units; rows without density count."""
    path = write(tmp_path / "new.csv", ["share", "age", "income"])
    with open(path, "a") as file:
        file.write("1.5,3.0,2.0\n")
    told = rows.density(people, section, path)
    head, found = read(people / "density" / "new.csv")
    assert head == ["row", "log_prob"]
    assert found[:, 0].tolist() == list(range(8))
    income, share = data().columns.columns
    x = matrix(OWN, slice(0, 7))
    expected = stats.lognorm.logpdf(x[:, 0], income.std, scale=np.exp(income.mean))
    u = income.margin
    assert u == 0
    inner = share.margin + (1 - 2 * share.margin) * x[:, 1]
    logit = np.log(inner / (1 - inner))
    slope = (1 - 2 * share.margin) / (inner * (1 - inner))
    expected += stats.norm.logpdf(logit, share.mean, share.std) + np.log(slope)
    floats.assert_close(found[:7, 1], expected, rtol=1e-4)
    assert found[7, 1] == -np.inf
    assert f"mean {expected.mean():.3f}" in told
    assert "1 row(s) not finite, left out of the mean, the first is row 7" in told
    assert told.endswith(str(people / "density" / "new.csv"))
    about = json.loads((people / "density" / "new.json").read_text())
    assert about["unit"] == "nats"
    assert about["runs"][0]["not_finite"] == 1
    # The same rows again are no other rows; others of that name are.
    assert rows.density(people, section, path) == told
    other = tmp_path / "other"
    other.mkdir()
    path = write(other / "new.csv", OWN)
    with pytest.raises(ConfigError, match=r"is there already and is of .*--out=FILE"):
        rows.density(people, section, path)
    with pytest.raises(ConfigError, match=r"new.csv is there already"):
        rows.density(people, section, path, str(other))


def test_samples_for_conditions(conditional, section, tmp_path):
    path = write(tmp_path / "who.csv", ["height", "share", "age"], slice(0, 3))
    paths = rows.sample(conditional, section, path, seed=3, each=50)
    folder = conditional / "samples"
    names = ["given_who.npz", "given_who.csv", "given_who_run_1.csv"]
    assert paths == [folder / name for name in names]
    head, found = read(paths[1])
    assert head == ["row", "sample", *BESIDE, *OWN]
    assert found[:, 0].tolist() == np.repeat(range(3), 50).tolist()
    assert found[:, 1].tolist() == [*range(50)] * 3
    np.testing.assert_array_equal(
        found[:, 2:4], np.repeat(matrix(BESIDE, slice(0, 3)), 50, axis=0)
    )
    assert (found[:, 4] > 0).all()
    assert ((found[:, 5] >= 0) & (found[:, 5] <= 1)).all()
    with np.load(paths[0]) as archive:
        assert archive["run_1"].shape == (3, 50, 2)
        np.testing.assert_array_equal(archive["run_0"].reshape(-1, 2), found[:, 4:])
        assert np.abs(archive["run_0"] - archive["run_1"]).max() > 0.1
        # The condition counts.
        means = np.log(archive["run_0"][..., 0]).mean(1)
        assert np.ptp(means) > 0.01
    # As many as eval.samples in all, where it is not said how many of each.
    section.samples = 7
    paths = rows.sample(conditional, section, path, seed=3, out=str(tmp_path / "a.csv"))
    assert paths[1] == tmp_path / "a.csv"
    assert read(paths[1])[1][:, 1].tolist() == [0, 1] * 3
    # The place is that of samples now.
    whole = write(tmp_path / "whole.csv", [*OWN, *BESIDE])
    with pytest.raises(ConfigError, match=r"a\.csv is there already"):
        rows.density(conditional, section, whole, str(tmp_path / "a.csv"))
    told = rows.density(conditional, section, whole)
    head, found = read(conditional / "density" / "whole.csv")
    assert head == ["row", "log_prob_0", "log_prob_1"]
    assert "run 1: mean " in told
    trained = given.load(conditional, section)
    part = slice(0, 7)
    expected = trained.log_prob(matrix(OWN, part), matrix(BESIDE, part), 1)
    np.testing.assert_array_equal(found[:, 2], expected)


def npy(path, array):
    np.save(path, array)
    return str(path)


def test_arrays_without_names(conditional, section, tmp_path):
    """By place: the columns of the flow, then those of its condition."""
    part = slice(0, 7)
    both = matrix([*OWN, *BESIDE], part)
    np.savez(tmp_path / "b.npz", cond=both[:, 2:], x=both[:, :2])
    npy(tmp_path / "a.npy", both)
    found = []
    for name in ("a.npy", "b.npz"):
        rows.density(conditional, section, str(tmp_path / name), str(tmp_path / "out/"))
        found.append(read((tmp_path / "out" / name).with_suffix(".csv"))[1])
    np.testing.assert_array_equal(*found)


def test_a_model_that_was_saved_as_a_file(people, section, tmp_path):
    file = tmp_path / "model.npz"
    given.load(people, section).save(file)
    path = write(tmp_path / "rows.csv", OWN)
    rows.density(file, section, path)
    rows.density(people, section, path)
    ours, theirs = (read(p / "density" / "rows.csv")[1] for p in (tmp_path, people))
    np.testing.assert_array_equal(ours, theirs)


def without(name):
    left = [each for each in (*OWN, *BESIDE) if each != name]
    return lambda path: write(path / "new.csv", left)


WRONG = {
    "no file": (lambda path: str(path / "new.csv"), "No such data file: .*new.csv"),
    "a column": (without("share"), "no column 'share'.*income, age, height"),
    "a condition": (without("age"), "no column 'age'.*It has: income, share, height"),
    "missing values": (
        lambda path: write(
            path / "new.csv", OWN, age=np.full(7, np.nan), height=np.ones(7)
        ),
        "column 'age'",
    ),
    "another width": (
        lambda path: npy(path / "new.npy", np.ones((3, 5))),
        "new.npy",
    ),
    "no table": (lambda path: str(path), "is a directory"),
}


@pytest.mark.parametrize("name", WRONG)
def test_rows_that_are_none(name, conditional, section, tmp_path):
    make, says = WRONG[name]
    path = make(tmp_path)
    with pytest.raises(DataError, match=says):
        rows.density(conditional, section, path, str(tmp_path))
    if name not in ("a column", "another width"):
        with pytest.raises(DataError, match=says):
            rows.sample(conditional, section, path, 0, out=str(tmp_path))
    assert not list(tmp_path.glob("*.json"))


def test_wrong_models(people, section, tmp_path, monkeypatch):
    path = write(tmp_path / "new.csv", [*OWN, *BESIDE])
    with pytest.raises(ConfigError, match="trained without a condition: leave --cond"):
        rows.sample(people, section, path, 0)
    with pytest.raises(CheckpointError, match="does not exist"):
        rows.density(tmp_path / "nowhere", section, path)
    several = tmp_path / "study"
    for name in ("ilkd", "teacher"):
        (several / name / "checkpoints").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"several runs: .*study/ilkd or --workdir="):
        rows.density(several, section, path)
    for flow, prepared, says in (
        (
            ResNet(),
            Preprocess(levels=256),
            "ResNet, a feed-forward student, has no",
        ),
        (Affine(), SuperResolution(2, 8), "not for super-resolution and speech"),
    ):
        meta = {"event": (8, 8, 1), "preprocess": preprocess.describe(prepared)}
        trained = Trained(flow, {}, tiny.config(), meta)
        monkeypatch.setattr(given, "load", lambda *_, of=trained: of)
        with pytest.raises(ConfigError, match=says):
            rows.density(people, section, path)
        if prepared.windows:
            with pytest.raises(ConfigError, match="leave it out"):
                rows.sample(people, section, path, 0)


def test_samples_without_conditions_and_without_data(conditional, section, tmp_path):
    trained = given.load(conditional, section)
    trained.config.data = {"name": "npz", "args": {"path": str(tmp_path / "gone.npz")}}
    says = r"gone\.npz.* give others by --conditions=FILE, with age, height"
    with pytest.raises(DataError, match=says):
        vectors.sample(trained, tmp_path, 0)


def test_wrong_places(people, conditional, section, tmp_path):
    path = write(tmp_path / "new.csv", OWN)
    with pytest.raises(ConfigError, match=r"out.txt: expected a .csv file, or a dir"):
        rows.density(people, section, path, str(tmp_path / "out.txt"))
    # The rows themselves are something else, too.
    with pytest.raises(ConfigError, match=r"new.csv is there already"):
        rows.density(people, section, path, path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written .*--out=FILE.csv"):
        rows.density(people, section, path, str(tmp_path / "file" / "out.csv"))
    with pytest.raises(ConfigError, match="--samples=0: expected at least 1"):
        rows.sample(conditional, section, path, 0, each=0)


def images_of(**options):
    prepared = Preprocess(levels=2 ** options.get("bits", 8), **options)
    meta = {"event": (2, 2, 1), "preprocess": preprocess.describe(prepared)}
    return Trained(Affine(), {}, tiny.config(), meta)


def test_images_are_read(tmp_path):
    pixels = RNG.integers(0, 256, (5, 2, 2, 1)).astype(np.uint8)
    path = pathlib.Path(npy(tmp_path / "a.npy", pixels))
    np.testing.assert_array_equal(given.read(images_of(), path).x, pixels)
    labels = np.arange(5, dtype=np.int32)
    path = tmp_path / "a.npz"
    np.savez(path, images=pixels >> 3, labels=labels, levels=np.array(32))
    found = given.read(images_of(bits=5, classes=5), path)
    np.testing.assert_array_equal(found.x, pixels & 0b11111000)
    np.testing.assert_array_equal(found.cond, labels)
    alone = given.read(images_of(classes=5), path, rows=False)
    assert alone.x is None
    np.testing.assert_array_equal(alone.cond, labels)
    np.savez(path, images=pixels)
    with pytest.raises(DataError, match="no array 'labels'"):
        given.read(images_of(classes=5), path)
    # In the place of the test rows.
    both = Images("i", pixels, pixels, pixels, "made")
    new = rows.replaced(images_of(), both, str(tmp_path / "a.npz"))
    assert new.name == "a"
    np.testing.assert_array_equal(new.test, pixels)


def test_evaluation_on_other_rows_leaves_the_table(tmp_path):
    """Also where a checkpoint of old does not say what it was trained on."""
    config = tiny.affine()
    workdir = tiny.stored(config, tmp_path / "run")
    result = {"steps": 6, "skipped_steps": [0], "best_step": [6]}
    content = settings.to_dict(config)
    files.write_json(workdir / "finished.json", result | {"config": content})
    (workdir / "table.md").write_text("its own")
    new = npy(tmp_path / "new.npy", RNG.normal(size=(30, 3)))
    data = study.datasets.build(config.data)
    where = {"teacher": workdir}
    made = study.report(workdir, where, data, config.eval, new)
    assert (workdir / "table.md").read_text() == "its own"
    (place,) = (workdir / "other_data").iterdir()
    assert place.name.startswith("new-")
    assert (place / "table.md").read_text() == made
    assert "Affine on new" in made


def test_other_rows_without_a_density(people, section, tmp_path):
    path = write(tmp_path / "rows.csv", ["income"], share=np.full(7, 1.5))
    with pytest.raises(DataError, match=r"row 0 lies outside .*\(7 of 7 rows do\)"):
        rows.replaced(given.load(people, section), data(), path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mode=density"], "--mode=density needs the rows: --rows=FILE"),
        (["--mode=train", "--rows=a"], "--rows is for --mode=density and --mode=eval"),
        (["--mode=eval", "--conditions=a"], "--conditions is for --mode=sample"),
        (["--mode=export", "--out=a"], "--out is for --mode=density and --mode=sample"),
        (["--mode=sample", "--samples=3"], "--samples goes with --conditions=FILE"),
        (["--mode=sample", "--out=a.csv"], "--out goes with --conditions=FILE"),
        (["--mode=density", "--rows=a.csv"], "does not exist"),
    ],
)
def test_wrong_flags(arguments, says, tmp_path, capfd):
    config = pathlib.Path(__file__).parents[3] / "configs" / "maf_gas.py"
    workdir = f"--workdir={tmp_path / 'run'}"
    assert flagged.run(f"--config={config}:smoke", workdir, *arguments) == 2
    assert says in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_command(people, tmp_path, capfd):
    config = pathlib.Path(__file__).parents[3] / "configs" / "maf_gas.py"
    path = write(tmp_path / "mine.csv", OWN)
    arguments = (f"--workdir={people}", "--mode=density", f"--rows={path}")
    assert flagged.run(f"--config={config}:smoke", *arguments) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"log p of 7 rows of {path}, in nats:\n  mean ")
    assert out.endswith("density/mine.csv\n")
