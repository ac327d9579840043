"""Trained flows as teachers, and the pools of samples that are kept beside them."""

import dataclasses
import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import build as flows
from fdnf.ops import mel
from fdnf.train import preprocess, settings, teachers, validation
from fdnf.train.checkpoint import Checkpointer, CheckpointError
from fdnf.train.preprocess import Preprocess, Speech, SuperResolution
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained
from tests import floats, laws, tiny
from tests.train.test_transfer import small

CONFIG = tiny.config()
FLOW = flows.build(CONFIG.model)
X = jax.random.normal(jax.random.key(9), (64, 3))


def variables(runs):
    """Runs that differ in where their samples lie: x is z + 10 r in the first run."""
    keys = jax.random.split(jax.random.key(0), runs)
    shifts = 10.0 * jnp.arange(runs)[:, None, None]
    return jax.vmap(FLOW.init)(keys, X + shifts)


META = {"event": [3], "preprocess": {}}
SHORT = mel.Settings(hop=128)


def trained(runs):
    return teachers.Trained(FLOW, variables(runs), CONFIG, META)


@pytest.mark.parametrize("runs", [1, 3])
def test_what_was_saved_is_loaded(tmp_path, runs):
    params = variables(runs)["params"]
    best = validation.first_best(params, {}, runs)
    meta = {"config": settings.to_dict(CONFIG), **META, "data": "synthetic"}
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(6, {"w": np.zeros(2)}, best, meta)
    loaded = teachers.load(tmp_path)
    assert loaded.flow == FLOW
    assert hash(loaded.flow) == hash(FLOW)
    assert (loaded.runs, loaded.event) == (runs, (3,))
    assert loaded.preprocess == Preprocess()
    jax.tree.map(np.testing.assert_array_equal, loaded.variables["params"], params)
    flow, one = teachers.run_of(loaded, runs - 1)
    expected = jax.tree.map(lambda leaf: leaf[-1], params)
    floats.assert_close(
        flow.apply(one, X, method="log_prob"),
        FLOW.apply({"params": expected}, X, method="log_prob"),
    )


def test_missing_workdir(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere does not exist: give the"):
        teachers.load(tmp_path / "nowhere")


def test_workdir_without_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no checkpoint"):
        teachers.load(tmp_path)


def test_one_run_teaches_all():
    given, by_run = teachers.match(trained(1), (3,), runs=4)
    assert not by_run
    shapes = jax.tree.map(jnp.shape, FLOW.init(jax.random.key(0), X))
    assert jax.tree.map(jnp.shape, given) == shapes


def test_as_many_runs_teach_one_by_one():
    given, by_run = teachers.match(trained(3), (3,), runs=3)
    assert by_run
    assert jax.tree.leaves(given)[0].shape[0] == 3


def test_another_number_of_runs():
    with pytest.raises(ConfigError, match=r"teacher has 3 runs, the student 2"):
        teachers.match(trained(3), (3,), runs=2)


def test_another_dimension():
    with pytest.raises(ConfigError, match=r"data of shape \(3,\), .* shape \(8,\)"):
        teachers.match(trained(1), (8,), runs=1)


@pytest.mark.parametrize(
    ("prepared", "event", "other", "unlike"),
    [
        (
            SuperResolution(scale=4, crop=32, flip=True),
            (32, 32, 3),
            {"crop": 16, "flip": False},
            {"scale": 8},
        ),
        (Speech(256, mel.DEFAULT), (256, 1), {"segment": 128}, {"mel": SHORT}),
    ],
)
def test_windows_of_another_size(prepared, event, other, unlike):
    meta = {"event": event, "preprocess": preprocess.describe(prepared)}
    teacher = trained(1)._replace(meta=meta)
    smaller = tuple(n // 2 if n > 3 else n for n in event)
    ours = dataclasses.replace(prepared, **other)
    _, by_run = teachers.match(teacher, smaller, 1, ours)
    assert not by_run
    with pytest.raises(ConfigError, match="give both the same `data` section"):
        teachers.match(teacher, event, 1, dataclasses.replace(prepared, **unlike))
    with pytest.raises(ConfigError, match="the teacher saw"):
        teachers.match(teacher, event, 1)


def test_generated_rows_come_from_every_run():
    drawn = teachers.generate(trained(2), 101, seed=0)["generated"]
    assert drawn.shape == (102, 3)  # equal shares
    assert np.isfinite(drawn).all()
    # The runs took their statistics from rows 10 apart.
    assert np.sum(drawn.mean(axis=1) > 5) == 51
    assert len(np.unique(drawn, axis=0)) == 102
    again = teachers.generate(trained(2), 101, seed=0)["generated"]
    np.testing.assert_array_equal(drawn, again)
    other = teachers.generate(trained(2), 101, seed=5)["generated"]
    assert not np.array_equal(drawn, other)


def test_generated_rows_that_are_not_finite_are_left_out():
    broken = variables(2)
    broken = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), broken)
    exploded = trained(2)._replace(variables=broken)
    drawn = teachers.generate(exploded, 20, seed=0)["generated"]
    assert drawn.shape == (10, 3)


MANY = 60


@pytest.fixture(scope="module")
def teacher_of_vectors():
    config = small("x").teacher.config
    from fdnf.flows import build

    case = laws.Case("teacher", build.build(config.model), (3,), noise=0.1)
    params = jax.tree.map(lambda leaf: leaf[None], case.variables["params"])
    variables = {"params": params, "constants": {}}
    return Trained(case.module, variables, config, {"event": (3,), "preprocess": {}})


def draw(teacher_of_vectors, where, monkeypatch=None, **changes):
    settings = {"rows": MANY, "seed": 0, "limit": 50.0} | changes
    return teachers.pool(teacher_of_vectors, where, **settings)["generated"]


def test_a_pool_is_what_the_teacher_generates_and_is_drawn_once(
    teacher_of_vectors, tmp_path, monkeypatch
):
    first = draw(teacher_of_vectors, tmp_path)
    expected = teachers.generate(teacher_of_vectors, MANY, 0, 50.0)["generated"]
    np.testing.assert_array_equal(first, expected)

    def refuse(*args, **kwargs):
        raise AssertionError("drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(teachers, "generate", refuse)
        np.testing.assert_array_equal(draw(teacher_of_vectors, tmp_path), first)
        with pytest.raises(AssertionError, match="drawn again"):
            draw(teacher_of_vectors, tmp_path, seed=1)
    assert len(list((tmp_path / teachers.POOLS).iterdir())) == 1


@pytest.mark.parametrize("changes", [{"seed": 1}, {"rows": 50}, {"limit": 2.0}])
def test_other_settings_are_another_pool(teacher_of_vectors, tmp_path, changes):
    first = draw(teacher_of_vectors, tmp_path)
    other = draw(teacher_of_vectors, tmp_path, **changes)
    assert other.shape != first.shape or (other != first).any()
    np.testing.assert_array_equal(draw(teacher_of_vectors, tmp_path), first)


def test_another_teacher_has_another_pool(teacher_of_vectors, tmp_path):
    first = draw(teacher_of_vectors, tmp_path)
    moved = jax.tree.map(
        lambda leaf: leaf + jnp.float32(0.01), teacher_of_vectors.variables
    )
    other = draw(teacher_of_vectors._replace(variables=moved), tmp_path)
    assert (other != first).any()
    np.testing.assert_array_equal(draw(teacher_of_vectors, tmp_path), first)


def announcing():
    """An archive with an array that announces terabytes."""
    head, archive = io.BytesIO(), io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (10**14,)}
    np.lib.format.write_array_header_1_0(head, fields)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x.npy", head.getvalue())
    return archive.getvalue()


@pytest.mark.parametrize("damage", [b"", b"not a zip", None, announcing()])
def test_a_damaged_pool_is_drawn_anew(teacher_of_vectors, tmp_path, damage):
    first = draw(teacher_of_vectors, tmp_path)
    (path,) = (tmp_path / teachers.POOLS).iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_array_equal(draw(teacher_of_vectors, tmp_path), first)
    assert path.read_bytes()[:2] == b"PK"


def test_where_nothing_can_be_written_the_pool_is_drawn_all_the_same(
    teacher_of_vectors, tmp_path
):
    (tmp_path / teachers.POOLS).write_text("a file, where the directory should be")
    assert len(draw(teacher_of_vectors, tmp_path)) == MANY
