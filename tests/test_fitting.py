"""Flows in a few lines of Python: fitted, distilled, saved and loaded."""

import inspect

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdnf
from fdnf.data.tabular import DataError
from fdnf.flows.continuous import ContinuousFlow
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.nice import NICE
from fdnf.flows.realnvp import RealNVP
from fdnf.students.resnet import ResNet
from fdnf.train import in_memory, interruption, loop
from fdnf.train.preprocess import Preprocess
from fdnf.train.rules import ConfigError
from fdnf.train.stored import CheckpointError
from fdnf.types import Encoding, ExternalFlow

RNG = np.random.default_rng(0)
SCALE = np.array([1e4, 1.0, 1e-3])
COND = RNG.normal(size=(300, 1))
X = SCALE * (RNG.gamma(3.0, size=(300, 3)) + COND)
FLOW = MAF(steps=2, hidden=(4,))
# Traced fastest.
QUICK = NICE(steps=2, hidden=(4,))
PATH = {"hidden": (4,), "time_features": 2, "steps": 2, "levels": 1}
FEW = {"steps": 20, "batch_size": 32}


def path():
    """A continuous flow and its first variables."""
    flow = ContinuousFlow(**PATH)
    return flow, flow.init(jax.random.key(0), jnp.zeros((2, 3)))


class Mine(MAF):
    """A user's own class."""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("fit")


@pytest.fixture(scope="module")
def trained(workdir):
    return fdnf.fit(QUICK, X, COND, np.arange(300.0), workdir=workdir, lr=0.01, **FEW)


def again(workdir, x=X, **changes):
    given = {"workdir": workdir, "lr": 0.01, **FEW, **changes}
    return fdnf.fit(QUICK, x, COND, np.arange(300.0), **given)


def test_what_comes_out_is_in_the_users_units(trained):
    density = trained.log_prob(X, COND)
    assert density.shape == (300,)
    # Of a column a thousand times wider the density is a thousandth.
    columns = trained.preprocess.columns
    y, log_det = columns.encode(jax.random.key(0), columns.store(X))
    assert np.allclose(log_det, -np.log([c.std for c in columns.columns]).sum())
    assert abs(np.asarray(y).std() - 1) < 0.5
    drawn = trained.sample(jax.random.key(1), 200, cond=[0.0])
    assert drawn.shape == (200, 3)
    assert np.all(drawn.std(0) / X.std(0) < 10)
    assert np.all(drawn.std(0) / X.std(0) > 0.1)


def test_the_log_says_how_it_went(trained):
    log = trained.meta["log"]
    assert [row["step"] for row in log] == list(range(1, 21))
    assert all("val_log_prob" in row for row in log)
    best = max(row["val_log_prob"][0] for row in log)
    assert np.isclose(-trained.meta["best"]["value"][0], best, rtol=1e-5)
    assert best > log[0]["val_log_prob"][0]


def test_the_same_call_goes_on_from_its_workdir(trained, workdir, monkeypatch):
    def refuse(*_):
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(loop, "train_together", refuse)
    found = again(workdir)
    jax.tree.map(np.testing.assert_array_equal, found.variables, trained.variables)
    assert fdnf.load(workdir).flow == QUICK
    with pytest.raises(CheckpointError, match="the data changed since step 20"):
        again(workdir, x=2 * X + RNG.normal(size=X.shape))
    with pytest.raises(ConfigError, match=r"another config; different: optim.lr"):
        again(workdir, lr=0.02)


def test_its_parts_are_at_hand(trained):
    flow, variables = trained.of_run()
    y = trained.preprocess.columns.store(X)
    cond = trained.preprocess.condition_columns.store(COND)
    encoding = flow.apply(variables, y, cond, method="encode")
    scales = np.log([c.std for c in trained.preprocess.columns.columns]).sum()
    expected = trained.log_prob(X, COND) + scales
    np.testing.assert_allclose(encoding.log_prob, expected, atol=1e-3)
    said = repr(trained)
    assert said.startswith("Trained(NICE( steps = 2 hidden = (4,)")
    assert "rows of shape (3,), 1 run(s), best validation loss [" in said
    with pytest.raises(ValueError, match="run=1: there are 1, counted from 0"):
        trained.of_run(1)


def test_saved_and_loaded(trained, tmp_path):
    fdnf.save(trained, tmp_path / "nice.npz")
    found = fdnf.load(tmp_path / "nice.npz")
    np.testing.assert_array_equal(found.log_prob(X, COND), trained.log_prob(X, COND))
    assert found.meta["log"] == trained.meta["log"]


def test_a_student_sees_what_its_teacher_sees(trained):
    student = fdnf.distil(
        trained, NICE(steps=2, hidden=(2,)), X, COND, loss={"fade": (0.5, 1.0)}, **FEW
    )
    assert student.preprocess == trained.preprocess
    assert student.config.loss.method == "ilkd"
    assert student.config.loss.fade == (0.5, 1.0)
    assert "ilkd" in student.meta["log"][0]
    assert np.isfinite(student.log_prob(X, COND)).all()


def test_a_class_of_ones_own_from_the_arrays_of_any_library(tmp_path):
    """In place of torch: numpy, two blocks that are affine maps."""
    x = RNG.normal(size=(400, 2)) * [1.0, 30.0]
    first = (x - x.mean(0)) / x.std(0)
    second = np.stack([2 * first[:, 0] - first[:, 1], first[:, 1]], 1)
    taught = fdnf.from_arrays(second, (first, second))
    student = fdnf.distil(
        taught,
        Mine(steps=2, hidden=(4,)),
        x,
        loss={"args.weights": (0.0, 1.0, 0.0)},
        **(FEW | {"steps": 200, "lr": 0.03}),
    )
    log = student.meta["log"]
    assert log[-1]["ilkd"][0] < 0.3 * log[0]["ilkd"][0]
    student.save(tmp_path / "mine")
    with pytest.raises(CheckpointError, match=r"flow=Mine\(\.\.\.\)"):
        fdnf.load(tmp_path / "mine")
    found = fdnf.load(tmp_path / "mine", Mine(steps=2, hidden=(4,)))
    np.testing.assert_array_equal(found.log_prob(x), student.log_prob(x))


def test_a_density_of_distrax_teaches_a_sampler():
    base = distrax.MultivariateNormalDiag(jnp.array([1.0, -1.0]), jnp.array([2.0, 0.5]))
    x = np.asarray(base.sample(seed=jax.random.key(0), sample_shape=300))
    student = fdnf.distil(
        fdnf.from_distrax(base),
        IAF(steps=1, hidden=(4,)),
        x,
        method="kl",
        **(FEW | {"steps": 200, "lr": 0.03}),
    )
    assert student.preprocess.stored(x)[0].dtype == np.float32
    log = student.meta["log"]
    assert log[-1]["kl"][0] < 0.2 * log[0]["kl"][0]


def test_samples_of_another_librarys_flow():
    def decode(shift, z, cond):
        return fdnf.types.Decoding(z[0] + shift, None, ())

    teacher = ExternalFlow(encode=shifted, decode=decode), jnp.array([3.0, -3.0])
    x = RNG.normal(size=(200, 2))  # Other rows: those of the teacher count.
    student = fdnf.distil(
        teacher,
        IAF(steps=1, hidden=(4,)),
        x,
        method="oracle",
        samples=500,
        **(FEW | {"steps": 200, "lr": 0.03}),
    )
    assert student.config.teacher.samples == 500
    assert np.abs(student.sample(0, 2000).mean(0) - [3.0, -3.0]).max() < 0.3


def test_a_continuous_flow_is_fitted_by_flow_matching():
    flow = ContinuousFlow(**PATH)
    fitted = fdnf.fit(flow, X, steps=4, batch_size=32, progress=False)
    assert fitted.config.loss.method == "flow_matching"
    log = fitted.meta["log"]
    assert np.isfinite([row["loss"] for row in log]).all()
    assert "val_loss" in log[-1]
    assert fitted.log_prob(X[:5]).shape == (5,)


# In CI a continuous flow is fitted above, and `test_samples_of_another_librarys_flow`
# has pairs of a teacher.
@pytest.mark.slow
def test_a_continuous_flow_teaches_couplings_by_pairs():
    couplings = RealNVP(1, (4,))
    rows = X / SCALE
    given = dict(steps=4, batch_size=32, progress=False)
    # Its paths are solved once.
    given["options"] = {"teacher.once": True}
    student = fdnf.distil(path(), couplings, rows, method="x", **given)
    assert student.meta["log"][-1]["x"][0] > 0


def test_images_with_labels():
    grey = RNG.integers(0, 256, (40, 2, 2, 1)).astype(np.uint8)
    flow = fdnf.flows.NICE(steps=1, hidden=(4,))
    given = {"steps": 2, "batch_size": 8, "transforms": {"flip": True, "n_bits": 5}}
    trained = fdnf.fit(flow, grey, np.arange(40) % 3, **given)
    assert trained.preprocess == Preprocess(32, 5, True, 0.0, 3)
    assert trained.config.loss.units == "bits_per_dim"
    drawn = trained.sample(0, 4, cond=[0, 1, 2, 2])
    assert drawn.shape == (4, 2, 2, 1)
    assert np.isfinite(trained.log_prob(grey[:4], np.arange(4) % 3)).all()


def shifted(variables, x, cond=None):
    """An external flow: z = x - shift."""
    z = x - variables
    prior = -0.5 * jnp.sum(z**2 + jnp.log(2 * jnp.pi), axis=1)
    return Encoding((z,), jnp.zeros(len(z)), (z,), prior)


FULL = np.where(np.arange(900).reshape(300, 3) == 7, np.nan, X)
GREY = np.zeros((30, 4, 4, 1), np.uint8)
WRONG = {
    "one dimension": (
        lambda: fdnf.fit(FLOW, X[:, 0]),
        r"x of shape \(300,\): expected vectors \[rows, columns\].*x\[:, None\]",
    ),
    "missing values": (
        lambda: fdnf.fit(FLOW, FULL),
        r"x: row 2, column 'x1' is nan \(1 of 300 rows.*remove or fill",
    ),
    "infinite conditions": (
        lambda: fdnf.fit(FLOW, X, COND / 0.0),
        "cond: row 0, column 'c0' is .*inf",
    ),
    "few rows": (lambda: fdnf.fit(FLOW, X[:5]), "x has 5 rows: expected at least 20"),
    "text": (
        lambda: fdnf.fit(FLOW, np.array([["a", "1"]] * 30)),
        "x: column 'x0' has no real numbers",
    ),
    "a constant column": (
        lambda: fdnf.fit(FLOW, np.ones((30, 2))),
        "x, column 'x0': .*constant",
    ),
    "an unknown transform": (
        lambda: fdnf.fit(FLOW, X, transforms={"x1": "sqrt"}),
        "column 'x1': unknown kind 'sqrt'",
    ),
    "a column that is not there": (
        lambda: fdnf.fit(FLOW, X, transforms={"z": "log"}),
        "transforms names 'z', which is no column here",
    ),
    "conditions of other rows": (
        lambda: fdnf.fit(FLOW, X, COND[:7]),
        "cond has 7 rows, x has 300",
    ),
    "negative weights": (
        lambda: fdnf.fit(FLOW, X, weights=-np.ones(300)),
        "weights of 'train' are negative",
    ),
    "no validation": (
        lambda: fdnf.fit(FLOW, X, validation=1.0),
        r"validation=1.0 of 300 rows: expected a fraction",
    ),
    "validation of another width": (
        lambda: fdnf.fit(FLOW, X, validation=X[:9, :2]),
        r"validation rows of shape \(2,\): expected \(3,\)",
    ),
    "validation without conditions": (
        lambda: fdnf.fit(FLOW, X, COND, validation=X[:9]),
        "validation without cond",
    ),
    "grey levels that are not": (
        lambda: fdnf.fit(FLOW, GREY / 255),
        "images of float64: expected grey levels, uint8",
    ),
    "labels that are not": (
        lambda: fdnf.fit(FLOW, GREY, np.ones((30, 2))),
        r"cond of shape \(30, 2\).*of images expected labels",
    ),
    "vectors' flow on images": (
        lambda: fdnf.fit(FLOW, GREY),
        r"MAF cannot take x, rows of shape \(4, 4, 1\)",
    ),
    "a transform of images": (
        lambda: fdnf.fit(FLOW, GREY, transforms="log"),
        "of images expected some of",
    ),
    "a condition for a flow that has none": (
        lambda: fdnf.fit(fdnf.flows.Affine(), X, COND),
        "Affine takes no condition",
    ),
    "a student to fit": (
        lambda: inspect.unwrap(fdnf.fit)(ResNet(), X),
        r"fit\(ResNet, ...\): expected a flow.*fdnf.distil",
    ),
    "a class": (
        lambda: inspect.unwrap(fdnf.fit)(MAF, X),
        r"fit\(the class MAF, ...\): expected a flow, such as fdnf.flows.MAF\(\)",
    ),
    "no steps": (
        lambda: fdnf.fit(FLOW, X, steps=0),
        "train.steps=0: expected a whole number from 1",
    ),
    "an option that is none": (
        lambda: fdnf.fit(FLOW, X, options={"optim.lrate": 1.0}),
        "unknown config key: optim.lrate; near it are optim.lr",
    ),
    "flow matching of a flow without a velocity": (
        lambda: fdnf.fit(FLOW, X, method="flow_matching"),
        "fits a velocity, which MAF does not have",
    ),
    "a method that takes a teacher": (
        lambda: fdnf.fit(FLOW, X, method="lkd"),
        "method='lkd': expected one of .*flow_matching",
    ),
    "a path without blocks as a guide": (
        lambda: fdnf.distil(path(), IAF(1, (8,)), X, method="guided"),
        "loss.method='guided'.*ContinuousFlow does not tell how far its blocks",
    ),
    "an unknown method": (
        lambda: fdnf.distil((FLOW, {}), FLOW, X, method="ikld"),
        "method='ikld'; known: lkd, ilkd",
    ),
    "a teacher that is none": (
        lambda: inspect.unwrap(fdnf.distil)(FLOW, FLOW, X),
        "MAF as a teacher: expected what fit",
    ),
    "a student that is none": (
        lambda: inspect.unwrap(fdnf.distil)((FLOW, {}), "maf", X),
        r"distil\(teacher, str, ...\): expected a flow or a student",
    ),
    "arrays that decode": (
        lambda: fdnf.distil(fdnf.from_arrays(X), FLOW, X, method="skd"),
        "method='skd' asks the teacher for more than arrays",
    ),
    "arrays without levels": (
        lambda: fdnf.distil(fdnf.from_arrays(X), FLOW, X),
        r"method='ilkd' compares levels: from_arrays\(z, levels\)",
    ),
    "arrays of other rows": (
        lambda: fdnf.distil(fdnf.from_arrays(X[:50]), FLOW, X, method="lkd"),
        "from_arrays has 50 rows, x has 300",
    ),
    "levels of other rows": (
        lambda: fdnf.from_arrays(X, (X[:4],)),
        r"levels of shape \(4, 3\): expected one row for each of the 300",
    ),
    "levels that are not finite": (
        lambda: fdnf.from_arrays(FULL),
        "z: some values are not finite",
    ),
    "levels that do not pair": (
        lambda: fdnf.distil(
            fdnf.from_arrays(X, (X, X, X)), MAF(steps=4), X, transforms=None
        ),
        "loss.method='ilkd': student has 4 levels, more than the teacher's 3",
    ),
    "latents of another width": (
        lambda: fdnf.distil(
            (ExternalFlow(encode=lambda v, x, c: shifted(v, x[:, :2])), jnp.zeros(2)),
            FLOW,
            X,
            method="lkd",
        ),
        "loss.method='lkd'.*shapes",
    ),
    "transforms beside a teacher's": (
        lambda: fdnf.distil((FLOW, {}), FLOW, X, transforms="log"),
        "the student sees what its teacher sees",
    ),
    "a network for likelihood": (
        lambda: fdnf.distil((FLOW, {}), ResNet(), X, method="lkd"),
        "needs a density, which ResNet",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_uses(case):
    call, says = WRONG[case]
    with np.errstate(divide="ignore", invalid="ignore"):
        with pytest.raises((DataError, ConfigError, TypeError), match=says):
            call()


def test_numbers_of_numpy_are_numbers():
    given = in_memory.options(1, 2, 0.1, None, 0, {"train.keep": np.int64(2)})
    assert type(given["train.keep"]) is int
    assert given["train.early_stop"] == 0


def test_rows_unlike_the_teachers_are_refused(trained):
    for x, cond, says in (
        (
            X[:, :2],
            COND,
            r"trained on rows of shape \(3,\), x has rows of shape \(2,\)",
        ),
        (X, None, "trained with a condition: give cond"),
    ):
        with pytest.raises(ConfigError, match=says):
            fdnf.distil(trained, FLOW, x, cond)


def test_ctrl_c_is_what_it_is_elsewhere(monkeypatch):
    def stopped(*_):
        interruption._state.received = "SIGINT"
        raise interruption.StoppedBySignalError("stopped by SIGINT at step 3")

    monkeypatch.setattr(loop, "train_together", stopped)
    with pytest.raises(KeyboardInterrupt, match="SIGINT at step 3"):
        fdnf.fit(FLOW, X, **FEW)
    assert not interruption.requested()


def test_external_flows_are_sampled_by_what_they_decode():
    flow = ExternalFlow(decode=lambda v, z, c: fdnf.types.Decoding(z[0] + v, None, ()))
    drawn = flow.apply(5.0, jax.random.key(0), (4, 2), 0.1, method="sample")
    expected = 5.0 + 0.1 * jax.random.normal(jax.random.key(0), (4, 2))
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
