"""Samplers as files: what is written, read back, and refused."""

import hashlib
import io
import json
import zipfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.evaluation.export import write as export
from fdnf.evaluation.export.write import Sampler
from fdnf.flows.maf import MAF
from fdnf.flows.pixelcnn import PixelCNN
from fdnf.students.base import Student
from tests import floats

KEY = np.array([0, 5], np.uint32)
FILES = ("sampler.stablehlo", "decoder.stablehlo", "weights.npz", "load.py")


def perturbed(variables):
    """No layer is left at zero, where whole networks would drop out."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32),
        variables,
    )


class Linear(Student):
    """x = z W + b."""

    @nn.compact
    def __call__(self, z, cond=None):
        return nn.Dense(z[0].shape[-1])(z[0])


class Enlarged(Student):
    """No latents: the condition, twice as large, with a weight."""

    def latent_shapes(self, event):
        return ()

    @nn.compact
    def __call__(self, z, cond=None):
        scale = self.param("scale", nn.initializers.constant(0.5), ())
        return scale * cond.repeat(2, axis=1).repeat(2, axis=2)


def linear():
    model = Linear()
    variables = perturbed(jax.jit(model.init)(jax.random.key(0), (jnp.zeros((1, 3)),)))
    return Sampler(model, variables, (3,))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("linear")
    export.save(folder, linear(), rows=4, temperature=0.7, about={"name": "a line"})
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(folder, change):
    path = folder / "sampler.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def test_manifest_tells_what_there_is(exported):
    told = export.check(exported)
    assert {path.name for path in exported.iterdir()} == {*FILES, "sampler.json"}
    assert set(told["files"]) == set(FILES)
    assert (told["name"], told["temperature"]) == ("a line", 0.7)
    assert told["platforms"] == ["cpu", "cuda", "tpu"]
    assert told["jax"] == jax.__version__
    sampler, decoder = told["programs"]["sampler"], told["programs"]["decoder"]
    (key,) = sampler["inputs"]
    assert (key["name"], key["shape"], key["dtype"]) == ("key", [2], "uint32")
    assert sampler["outputs"] == [{"name": "x", "shape": [4, 3], "dtype": "float32"}]
    assert decoder["inputs"][0]["shape"] == ["batch", 3]
    assert decoder["outputs"][0]["shape"] == ["batch", 3]
    assert told["weights"]["arrays"] == {
        "params/Dense_0/bias": {"shape": [3], "dtype": "float32"},
        "params/Dense_0/kernel": {"shape": [3, 3], "dtype": "float32"},
    }


def test_sampler_draws_what_the_model_draws(exported):
    model, variables, *_ = linear()
    expected = model.apply(variables, jax.random.key(5), (4, 3), 0.7, method="sample")
    drawn = export.program(exported)(KEY)
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
    assert not np.allclose(export.program(exported)(KEY + 1), drawn)


def test_decoder_takes_any_number_of_rows(exported):
    model, variables, *_ = linear()
    decode = export.program(exported, "decoder")
    for rows in (1, 5):
        z = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
        expected = model.apply(variables, (z,))
        np.testing.assert_allclose(decode(z), expected, atol=1e-6)


def test_no_derivatives(exported):
    decode = export.program(exported, "decoder")
    with pytest.raises(TypeError, match="without derivatives"):
        jax.grad(lambda z: decode(z).sum())(jnp.zeros((2, 3)))


def test_unknown_program(exported):
    with pytest.raises(KeyError, match="decoder"):
        export.program(exported, "encoder")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(export.DamagedError, match=rf"{name} is damaged: its sha256"):
        export.check(copy)
    with pytest.raises(export.DamagedError, match="copy or export it again"):
        export.program(copy)


def test_a_missing_file_is_found(copy):
    (copy / "weights.npz").unlink()
    with pytest.raises(export.DamagedError, match=r"weights\.npz is missing"):
        export.check(copy)
    (copy / "sampler.json").unlink()
    with pytest.raises(export.DamagedError, match=r"holds no sampler\.json"):
        export.check(copy)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "a line"}', '{"format": 1}'])
def test_a_damaged_manifest_is_found(copy, text):
    (copy / "sampler.json").write_text(text)
    with pytest.raises(export.DamagedError, match=r"sampler\.json is damaged"):
        export.check(copy)


def test_another_format_is_refused(copy):
    edit(copy, lambda told: told.update(format=2))
    with pytest.raises(export.DamagedError, match="has format 2, this reads 1"):
        export.check(copy)


def resummed(folder, name, content):
    """Writes a file with the sum that it is to have."""
    (folder / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit(folder, lambda told: told["files"].update({name: digest}))


def renamed(told, where, name):
    """Names another file, and gives it the old one's sum."""
    entry = told["weights"] if where == "weights" else told["programs"]["decoder"]
    told["files"][name] = told["files"].pop(entry["file"])
    entry["file"] = name


@pytest.mark.parametrize("where", ["weights", "decoder"])
@pytest.mark.parametrize(
    "name",
    [
        *("../outside", "sub/inside", "{absolute}", "..", "", "C:file"),
        *("sub\\inside", "new\nline", "sampler.json"),
    ],
)
def test_files_of_other_folders_are_not_read(copy, tmp_path, where, name):
    name = name.format(absolute=tmp_path.parent / "outside")
    old = copy / ("weights.npz" if where == "weights" else "decoder.stablehlo")
    (copy / "sub").mkdir()
    for place in (copy.parent / "outside", copy / "sub" / "inside"):
        place.write_bytes(old.read_bytes())
    edit(copy, lambda told: renamed(told, where, name))
    with pytest.raises(export.DamagedError, match="no table of plain names"):
        export.check(copy)
    with pytest.raises(export.DamagedError, match="no table of plain names"):
        export.program(copy)


@pytest.mark.parametrize("where", ["weights", "decoder"])
def test_files_without_a_sum_are_not_read(copy, where):
    def drop(told):
        entry = told["weights"] if where == "weights" else told["programs"]["decoder"]
        del told["files"][entry["file"]]

    edit(copy, drop)
    with pytest.raises(export.DamagedError, match="a file that has no sum in 'files'"):
        export.program(copy)


def entry(told):
    return told["programs"]["decoder"]


DAMAGED = {
    "files as a list": lambda t: t.update(files=list(t["files"])),
    "a sum that is none": lambda t: t["files"].update({"load.py": None}),
    "platforms as text": lambda t: t.update(platforms="cpu"),
    "no platform": lambda t: t.update(platforms=[]),
    "an unknown platform": lambda t: t.update(platforms=["cpu", "toaster"]),
    "no programs": lambda t: t.update(programs={}),
    "programs as a list": lambda t: t.update(programs=[t["programs"]]),
    "a program as text": lambda t: t["programs"].update(decoder="decoder.stablehlo"),
    "a file as a list": lambda t: entry(t).update(file=["decoder.stablehlo"]),
    "an unknown entry": lambda t: entry(t).update(hook="load.py"),
    "a lost entry": lambda t: entry(t).pop("uses_global_constants"),
    "no version": lambda t: entry(t).update(calling_convention_version=None),
    "inputs as a table": lambda t: entry(t).update(inputs={}),
    "a negative size": lambda t: entry(t)["inputs"][0].update(shape=[-1, 3]),
    "a size as text": lambda t: entry(t)["inputs"][0].update(shape=["rows", 3]),
    "an unknown type": lambda t: entry(t)["inputs"][0].update(dtype="object"),
    "two outputs": lambda t: entry(t).update(outputs=2 * entry(t)["outputs"]),
    "no output": lambda t: entry(t).update(outputs=[]),
    "weights as text": lambda t: t.update(weights="weights.npz"),
    "weights in a list": lambda t: t["weights"].update(file=["weights.npz"]),
    "arrays as a list": lambda t: t["weights"].update(arrays=[]),
    "any number of weights": lambda t: t["weights"]["arrays"].update(
        more={"shape": ["batch"], "dtype": "float32"}
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_and_unknown_entries_are_found(copy, kind):
    edit(copy, DAMAGED[kind])
    for read in (export.check, export.program):
        with pytest.raises(export.DamagedError, match=r"sampler\.json is damaged: "):
            read(copy)


@pytest.mark.parametrize("text", [b"\xff\xfe\x00", b"[" * 100_000])
def test_a_manifest_that_is_no_text(copy, text):
    (copy / "sampler.json").write_bytes(text)
    with pytest.raises(export.DamagedError, match=r"sampler\.json is damaged"):
        export.check(copy)


def program_of(call):
    """A decoder that makes a call, in the form of the one that was exported."""

    def decode(weights, z):
        return call(z)

    weights = {
        "params/Dense_0/bias": jax.ShapeDtypeStruct((3,), jnp.float32),
        "params/Dense_0/kernel": jax.ShapeDtypeStruct((3, 3), jnp.float32),
    }
    (batch,) = jax.export.symbolic_shape("batch")
    z = jax.ShapeDtypeStruct((batch, 3), jnp.float32)
    lowered = jax.export.export(
        jax.jit(decode, keep_unused=True),
        platforms=("cpu", "cuda", "tpu"),
        disabled_checks=[
            jax.export.DisabledSafetyCheck.custom_call(name)
            for name in ("end_the_process", 'a "quoted" name')
        ],
    )(weights, z)
    return lowered.mlir_module_serialized


@pytest.mark.parametrize("name", ["end_the_process", 'a "quoted" name'])
def test_a_call_outside_of_stablehlo_is_refused(copy, name):
    def call(z):
        return jax.ffi.ffi_call(name, jax.ShapeDtypeStruct(z.shape, z.dtype))(z)

    resummed(copy, "decoder.stablehlo", program_of(call))
    told = "end_the_process" if name == "end_the_process" else "a quoted name"
    with pytest.raises(export.DamagedError, match=rf"decoder\.stablehlo .*{told}"):
        export.check(copy)
    with pytest.raises(export.DamagedError, match="outside of StableHLO"):
        export.program(copy, "decoder")


def test_linear_algebra_may_be_called(copy):
    def call(z):
        lower = jnp.eye(3, dtype=z.dtype)
        return jax.scipy.linalg.solve_triangular(lower, z.T, lower=True).T

    resummed(copy, "decoder.stablehlo", program_of(call))
    export.check(copy)
    z = jnp.arange(6.0, dtype=jnp.float32).reshape(2, 3)
    floats.assert_close(export.program(copy, "decoder")(z), z)


@pytest.mark.parametrize("content", [b"", b"no program", b"ML\xefR\rStableHLO_v1.15"])
def test_bytes_that_are_no_program(copy, content):
    resummed(copy, "decoder.stablehlo", content)
    for read in (export.check, lambda folder: export.program(folder, "decoder")):
        with pytest.raises(export.DamagedError, match=r"decoder\.stablehlo .*no prog"):
            read(copy)


def test_weights_that_are_packed_are_not_unpacked(copy):
    with np.load(copy / "weights.npz") as archive:
        arrays = {name: np.zeros_like(archive[name]) for name in archive.files}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays, bomb=np.zeros(1 << 20))
    resummed(copy, "weights.npz", buffer.getvalue())
    with pytest.raises(export.DamagedError, match=r"weights\.npz is damaged \(8,"):
        export.check(copy)


def test_an_array_that_announces_more_than_there_is(copy):
    def announcing(shape):
        head = io.BytesIO()
        fields = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(head, fields)
        return head.getvalue() + bytes(12)

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("params/Dense_0/bias.npy", announcing((10**14,)))
    resummed(copy, "weights.npz", buffer.getvalue())
    with pytest.raises(export.DamagedError, match=r"weights\.npz is damaged"):
        export.check(copy)


def test_a_program_for_another_platform_is_checked(tmp_path):
    export.save(tmp_path, linear(), rows=2, platforms=("cuda",))
    assert export.check(tmp_path)["platforms"] == ["cuda"]


@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_wrong_shapes_are_found(copy, where):
    edit(copy, lambda t: t["programs"]["decoder"][where][0].update(shape=["batch", 7]))
    with pytest.raises(export.DamagedError, match=r"decoder\.stablehlo in .* not have"):
        export.check(copy)


def test_wrong_weights_are_found(copy):
    edit(
        copy,
        lambda t: t["weights"]["arrays"]["params/Dense_0/bias"].update(shape=[2]),
    )
    with pytest.raises(export.DamagedError, match=r"weights\.npz does not hold"):
        export.check(copy)


def test_a_second_export_takes_the_place_of_the_first(copy):
    model, variables, *rest = linear()
    other = jax.tree.map(lambda leaf: -leaf, variables)
    paths = export.save(copy, Sampler(model, other, *rest), rows=2, platforms=("cpu",))
    assert [path.name for path in paths] == [*FILES, "sampler.json"]
    assert {path.name for path in copy.iterdir()} == {*FILES, "sampler.json"}
    assert export.check(copy)["platforms"] == ["cpu"]
    expected = model.apply(other, jax.random.key(5), (2, 3), method="sample")
    np.testing.assert_allclose(export.program(copy)(KEY), expected, atol=1e-6)


def test_a_model_without_latents(tmp_path):
    model, cond = Enlarged(), jnp.ones((3, 2, 2, 1))
    variables = jax.jit(model.init)(jax.random.key(0), (), cond)
    sampler = Sampler(model, variables, (4, 4, 1), (2, 2, 1))
    export.save(tmp_path, sampler, rows=3, platforms=("cpu",))
    told = export.check(tmp_path)
    names = [each["name"] for each in told["programs"]["decoder"]["inputs"]]
    assert names == ["cond"]
    half = np.full((3, 4, 4, 1), 0.5)
    np.testing.assert_array_equal(export.program(tmp_path)(KEY, cond), half)
    decode = export.program(tmp_path, "decoder")
    np.testing.assert_array_equal(decode(cond[:2]), half[:2])


def test_weights_of_bfloat16_are_refused(tmp_path):
    model, variables, *rest = linear()
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables)
    with pytest.raises(ValueError, match=r"is bfloat16: convert it to float32"):
        export.save(tmp_path, Sampler(model, half, *rest))


def test_a_sequential_inverse(tmp_path):
    model = MAF(steps=2, hidden=(4,), unroll=1)
    x = jax.random.normal(jax.random.key(0), (8, 5))
    variables = perturbed(jax.jit(model.init)(jax.random.key(1), x))
    export.save(tmp_path, Sampler(model, variables, (5,)), rows=2)
    key = jax.random.key(5)
    expected = jax.jit(lambda v: model.apply(v, key, (2, 5), method="sample"))
    drawn = export.program(tmp_path)(KEY)
    np.testing.assert_allclose(drawn, expected(variables), atol=1e-5, rtol=1e-5)


def test_pixels_one_after_the_other(tmp_path):
    model = PixelCNN(features=2, blocks=1, stages=1)
    x = jax.ShapeDtypeStruct((8, 3, 2, 1), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(1), x)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    sampler = Sampler(model, variables, (3, 2, 1))
    export.save(tmp_path, sampler, rows=2, platforms=("cpu", "cuda"))
    (output,) = export.check(tmp_path)["programs"]["sampler"]["outputs"]
    assert output["shape"] == [2, 3, 2, 1]
