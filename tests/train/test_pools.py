"""Samples of a teacher, and the pools of them that are kept beside it."""

import importlib
import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.data.speech import Clips
from fdnf.flows.wavenet import GaussianWaveNet
from fdnf.ops import mel
from fdnf.train import pools, preprocess
from fdnf.train.preprocess import Speech
from fdnf.train.settings import Experiment
from fdnf.train.teachers import Source, Trained
from tests import laws
from tests.train.test_teachers import trained, variables
from tests.train.test_transfer import small


def test_generated_rows_come_from_every_run():
    drawn = pools.generate(trained(2), 101, seed=0)["generated"]
    assert drawn.shape == (102, 3)  # equal shares
    assert np.isfinite(drawn).all()
    # The runs took their statistics from rows 10 apart.
    assert np.sum(drawn.mean(axis=1) > 5) == 51
    assert len(np.unique(drawn, axis=0)) == 102
    again = pools.generate(trained(2), 101, seed=0)["generated"]
    np.testing.assert_array_equal(drawn, again)
    other = pools.generate(trained(2), 101, seed=5)["generated"]
    assert not np.array_equal(drawn, other)


def test_generated_rows_that_are_not_finite_are_left_out():
    broken = variables(2)
    broken = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), broken)
    exploded = trained(2)._replace(variables=broken)
    drawn = pools.generate(exploded, 20, seed=0)["generated"]
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
    return pools.pool(teacher_of_vectors, where, **settings)["generated"]


def test_a_pool_is_what_the_teacher_generates_and_is_drawn_once(
    teacher_of_vectors, tmp_path, monkeypatch
):
    first = draw(teacher_of_vectors, tmp_path)
    expected = pools.generate(teacher_of_vectors, MANY, 0, 50.0)["generated"]
    np.testing.assert_array_equal(first, expected)

    def refuse(*args, **kwargs):
        raise AssertionError("drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(pools, "generate", refuse)
        np.testing.assert_array_equal(draw(teacher_of_vectors, tmp_path), first)
        with pytest.raises(AssertionError, match="drawn again"):
            draw(teacher_of_vectors, tmp_path, seed=1)
    assert len(list((tmp_path / pools.POOLS).iterdir())) == 1


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
    (path,) = (tmp_path / pools.POOLS).iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_array_equal(draw(teacher_of_vectors, tmp_path), first)
    assert path.read_bytes()[:2] == b"PK"


def test_where_nothing_can_be_written_the_pool_is_drawn_all_the_same(
    teacher_of_vectors, tmp_path
):
    (tmp_path / pools.POOLS).write_text("a file, where the directory should be")
    assert len(draw(teacher_of_vectors, tmp_path)) == MANY


def test_sounds_are_drawn_given_spectrograms_of_the_data(tmp_path):
    settings = mel.Settings(rate=8000, n_fft=16, hop=8, window=16, mels=2, high=4000.0)
    tiles = np.random.default_rng(0).integers(-9999, 9999, (4, 32)).astype(np.int16)
    clips = Clips("tones", tiles, tiles[:1], (tiles[0],), ("a",), "", 8000)
    prepared = Speech(32, settings)
    config = importlib.import_module("configs.wavenet_asterisk").get_config("oracle")
    config.teacher.samples, config.seed = 6, 3
    args = dict(layers=1, cycles=1, channels=2, front=2, hop=8, upsampler_taps=16)
    flow = GaussianWaveNet(**args)
    spectra = np.asarray(prepared.condition(jnp.asarray(tiles)))
    variables = laws.drawn(flow, jnp.zeros((4, 32, 1)), spectra, noise=0.1)
    variables = jax.tree.map(lambda leaf: leaf[None], {"constants": {}, **variables})
    meta = {"event": (32, 1), "preprocess": preprocess.describe(prepared)}
    taught = Trained(flow, variables, config.teacher.config, meta)
    source = Source(taught, variables, False)
    member = Experiment(config, tmp_path, teacher=tmp_path)
    found = pools.feed(member, clips, prepared, source, 1.0)
    assert found.share == 0
    sounds, beside = found.arrays["train"], found.arrays["beside"]
    assert sounds.shape == (6, 32, 1)
    assert sounds.dtype == np.float32
    # Each beside the spectrogram that it was drawn given, one of the data's.
    gaps = np.abs(beside[:, None] - spectra).max(axis=(2, 3))
    assert gaps.min(axis=1).max() < 1e-4
    assert len(np.unique(gaps.argmin(axis=1))) > 1
    rows = {"x": jnp.asarray(sounds), "beside": jnp.asarray(beside)}
    batch = found.prepared.train(jax.random.key(0), rows)
    assert batch == {"x": rows["x"], "cond": rows["beside"]}
