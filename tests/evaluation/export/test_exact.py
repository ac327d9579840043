"""Chains of the loader's own: samples of a teacher from a folder of files."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdnf.evaluation.export import write as export
from fdnf.evaluation.export.programs import Teacher
from fdnf.evaluation.export.write import Sampler
from fdnf.flows.affine import Affine
from tests import floats
from tests.evaluation.export.test_write import edit, linear, resummed

ROWS = 1000
MIX = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
NEW = ("proposals.stablehlo", "teacher_density.stablehlo", "teacher.npz")


def affine(mu, R):
    return {"params": {"mu": jnp.asarray(mu, jnp.float32), "R": jnp.asarray(R)}}


STUDENT = affine([0.3, -0.2], 1.4 * np.eye(2, dtype=np.float32))
TEACHER = affine([0.0, 0.0], MIX)


def save(folder, **exact):
    sampler = Sampler(Affine(), STUDENT, (2,), encode=lambda key, x: (x, 0.0))
    about = {"steps": 15, "told": [], **exact}
    teacher = Teacher(Affine(), TEACHER, about)
    return export.save(folder, sampler, rows=ROWS, platforms=("cpu",), teacher=teacher)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    save(folder)
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def p_value(x):
    """Whether these are samples of the teacher, x = MIX z."""
    z = np.linalg.solve(MIX.astype(float), np.asarray(x, float).T)
    return 3 * min(
        stats.kstest(each, "norm").pvalue for each in (*z, z.sum(0) / 2**0.5)
    )


def test_samples_are_the_teachers(exported):
    draw = export.exact(exported)
    found = draw(7, 2500)
    assert found.shape == (2500, 2)
    assert len(np.unique(found, axis=0)) == 2500
    assert p_value(found) > 0.01
    assert p_value(draw(7, 2500, steps=1)) < 1e-20
    np.testing.assert_array_equal(draw(7, 2500), found)
    np.testing.assert_array_equal(draw(7, 10), found[:10])
    assert (draw(8, 10) != found[:10]).any()


def test_what_was_proposed_and_what_it_weighs(exported):
    x, log_w = export.program(exported, "proposals")(np.array([0, 5], np.uint32))
    expected = Affine().apply(TEACHER, x, method="log_prob")
    expected -= Affine().apply(STUDENT, x, method="log_prob")
    floats.assert_close(log_w, expected, rtol=1e-5)
    theirs = export.program(exported, "teacher_density")(x)
    floats.assert_close(theirs, Affine().apply(TEACHER, x, method="log_prob"))


def test_a_wrong_weight_would_be_seen(exported, monkeypatch):
    """As if p were omitted, or the sign were wrong."""
    real = export.load.program

    for factor in (0.0, -1.0, 0.5):

        def wrong(*given, factor=factor):
            propose = real(*given)

            def proposed(key):
                x, log_w = propose(key)
                return x, factor * log_w

            return proposed

        monkeypatch.setattr(export.load, "program", wrong)
        assert p_value(export.exact(exported)(7, 2500)) < 1e-6


def test_doubts_are_told(copy):
    edit(copy, lambda told: told["exact"].update(told=["k-hat is 0.9"]))
    with pytest.warns(UserWarning, match=r"not to be trusted: k-hat is 0\.9"):
        export.exact(copy)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((7, 0), "n=0, steps=15: expected at least 1 of each"),
        ((7, 5, None, 0), "n=5, steps=0: expected at least 1"),
        ((7, 5, np.zeros((5, 1))), "this sampler takes no condition"),
    ],
)
def test_what_cannot_be_drawn(exported, arguments, text):
    with pytest.raises(ValueError, match=text):
        export.exact(exported)(*arguments)


DAMAGED = {
    "no steps": lambda t: t["exact"].pop("steps"),
    "steps as text": lambda t: t["exact"].update(steps="15"),
    "no exact": lambda t: t.pop("exact"),
    "no teacher": lambda t: t.pop("teacher"),
    "a teacher as text": lambda t: t.update(teacher="teacher.npz"),
    "one output": lambda t: t["programs"]["proposals"]["outputs"].pop(),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_entries_are_found(copy, kind):
    edit(copy, DAMAGED[kind])
    with pytest.raises(export.DamagedError, match=r"sampler\.json is damaged"):
        export.check(copy)


def test_damaged_files_are_found(copy):
    for name in NEW:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-1])
        with pytest.raises(export.DamagedError, match=rf"{name} is damaged"):
            export.exact(copy)
        (copy / name).write_bytes(content)
    resummed(copy, "teacher.npz", (copy / "weights.npz").read_bytes())
    with pytest.raises(export.DamagedError, match="does not hold the arrays"):
        export.check(copy)


def test_an_export_without_takes_its_place(copy):
    export.save(copy, linear(), rows=2, platforms=("cpu",))
    assert not {*NEW} & {path.name for path in copy.iterdir()}
    with pytest.raises(KeyError, match="was exported without a teacher"):
        export.exact(copy)
