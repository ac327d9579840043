import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.train import teachers
from fdnf.train.teachers import Trained
from tests import laws
from tests.train.test_transfer import small

MANY = 60


@pytest.fixture(scope="module")
def trained():
    config = small("x").teacher.config
    from fdnf.flows import build

    case = laws.Case("teacher", build.build(config.model), (3,), noise=0.1)
    params = jax.tree.map(lambda leaf: leaf[None], case.variables["params"])
    variables = {"params": params, "constants": {}}
    return Trained(case.module, variables, config, {"event": (3,), "preprocess": {}})


def draw(trained, where, monkeypatch=None, **changes):
    settings = {"rows": MANY, "seed": 0, "limit": 50.0} | changes
    return teachers.pool(trained, where, **settings)["generated"]


def test_a_pool_is_what_the_teacher_generates_and_is_drawn_once(
    trained, tmp_path, monkeypatch
):
    first = draw(trained, tmp_path)
    expected = teachers.generate(trained, MANY, 0, 50.0)["generated"]
    np.testing.assert_array_equal(first, expected)

    def refuse(*args, **kwargs):
        raise AssertionError("drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(teachers, "generate", refuse)
        np.testing.assert_array_equal(draw(trained, tmp_path), first)
        with pytest.raises(AssertionError, match="drawn again"):
            draw(trained, tmp_path, seed=1)
    assert len(list((tmp_path / teachers.POOLS).iterdir())) == 1


@pytest.mark.parametrize("changes", [{"seed": 1}, {"rows": 50}, {"limit": 2.0}])
def test_other_settings_are_another_pool(trained, tmp_path, changes):
    first = draw(trained, tmp_path)
    other = draw(trained, tmp_path, **changes)
    assert other.shape != first.shape or (other != first).any()
    np.testing.assert_array_equal(draw(trained, tmp_path), first)


def test_another_teacher_has_another_pool(trained, tmp_path):
    first = draw(trained, tmp_path)
    moved = jax.tree.map(lambda leaf: leaf + jnp.float32(0.01), trained.variables)
    other = draw(trained._replace(variables=moved), tmp_path)
    assert (other != first).any()
    np.testing.assert_array_equal(draw(trained, tmp_path), first)


def announcing():
    """An archive with an array that announces terabytes."""
    head, archive = io.BytesIO(), io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (10**14,)}
    np.lib.format.write_array_header_1_0(head, fields)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x.npy", head.getvalue())
    return archive.getvalue()


@pytest.mark.parametrize("damage", [b"", b"not a zip", None, announcing()])
def test_a_damaged_pool_is_drawn_anew(trained, tmp_path, damage):
    first = draw(trained, tmp_path)
    (path,) = (tmp_path / teachers.POOLS).iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_array_equal(draw(trained, tmp_path), first)
    assert path.read_bytes()[:2] == b"PK"


def test_where_nothing_can_be_written_the_pool_is_drawn_all_the_same(trained, tmp_path):
    (tmp_path / teachers.POOLS).write_text("a file, where the directory should be")
    assert len(draw(trained, tmp_path)) == MANY
