"""Runs the sampler in this folder; needs jax and numpy and nothing else.

    import numpy as np
    import load  # This file, with its folder on the path.

    sample = load.program("folder")
    x = sample(np.array([0, 7], np.uint32))  # Of seed 7.

`sampler.json` says what the programs are: their inputs in order, with shapes and
dtypes, and what they return. The `.stablehlo` files are portable StableHLO, lowered by
`jax.export`; the function `main` in each takes the index of the platform in
`platforms` (int32; only if there are several), the weights in the order of
`weights.arrays`, then the inputs.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

MANIFEST = "sampler.json"
FORMAT = 1
# Stands in shapes for a batch of any size.
ANY = "batch"


class DamagedError(ValueError):
    """A folder that does not hold what was written into it."""


def read(folder: str | pathlib.Path) -> dict[str, Any]:
    """The contents of `sampler.json`, after a look at every file's sha256.

    Raises:
        DamagedError: for a file that is missing or not as it was written.
    """
    folder = pathlib.Path(folder)
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        version = told["format"]
    except FileNotFoundError as error:
        raise DamagedError(f"{folder} holds no {MANIFEST}: export it again") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(
            f"{folder / MANIFEST} is damaged ({type(error).__name__}: {error}): copy "
            "or export it again"
        ) from error
    if version != FORMAT:
        raise DamagedError(
            f"{folder / MANIFEST} has format {version}, this reads {FORMAT}: use the "
            "load.py that was written beside it"
        )
    lost = {"files", "platforms", "programs", "weights"} - told.keys()
    if lost:
        raise DamagedError(
            f"{folder / MANIFEST} is damaged: it does not tell {sorted(lost)}: copy or "
            "export it again"
        )
    for name, expected in told["files"].items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{path} is missing: copy or export it again")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise DamagedError(
                f"{path} is damaged: its sha256 is {found}, {MANIFEST} says "
                f"{expected}: copy or export it again"
            )
    return told


def check(folder: str | pathlib.Path) -> dict[str, Any]:
    """Verifies every file's sha256, and that the programs have the shapes told.

    Args:
        folder: what was written, `sampler.json` and its files.

    Returns:
        The contents of `sampler.json`.

    Raises:
        DamagedError: naming the file that is wrong.
    """
    told = read(folder)
    held = _weights(folder, told)
    for name, entry in told["programs"].items():
        inputs = [_spec(spec, 2) for spec in entry["inputs"]]
        try:
            called = jax.jit(_rebuilt(folder, told, name).call)
            called.trace(held, *inputs).lower(lowering_platforms=("cpu",))
        # What MLIR says of a program that is not as it is called.
        except Exception as error:
            raise DamagedError(
                f"{entry['file']} in {folder} does not have the inputs and outputs "
                f"that {MANIFEST} tells ({str(error).splitlines()[0]}): export it again"
            ) from error
    return told


def program(folder: str | pathlib.Path, name: str = "sampler") -> Callable[..., Any]:
    """A compiled program of a folder.

    Args:
        folder: what was written, `sampler.json` and its files.
        name: "sampler", from a key to data; or "decoder", from latents to data.

    Returns:
        A function of the inputs that `sampler.json` lists under the name, in their
        order, that gives an array. It can be called under `jax.jit`, and not
        differentiated.

    Raises:
        DamagedError: for a file that is missing or damaged.
        KeyError: for another name.
    """
    told = read(folder)
    if name not in told["programs"]:
        raise KeyError(f"no program {name!r}; there are {sorted(told['programs'])}")
    held = jax.device_put(_weights(folder, told))
    return functools.partial(jax.jit(_rebuilt(folder, told, name).call), held)


def _weights(folder: str | pathlib.Path, told: dict[str, Any]) -> dict[str, np.ndarray]:
    path, expected = pathlib.Path(folder) / told["weights"]["file"], told["weights"]
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path} is damaged ({error}): export it again") from error
    shapes = {
        name: {"shape": list(array.shape), "dtype": array.dtype.name}
        for name, array in found.items()
    }
    if shapes != expected["arrays"]:
        raise DamagedError(f"{path} does not hold the arrays that {MANIFEST} tells")
    return found


def _rebuilt(
    folder: str | pathlib.Path, told: dict[str, Any], name: str
) -> export.Exported:
    """The program as `jax.export` has it.

    `jax.export.deserialize` would need the package flatbuffers, which jax does not
    bring. So a stand-in with the same inputs and outputs is exported, and gets the
    program that was written.
    """
    entry = told["programs"][name]
    (output,) = entry["outputs"]

    @jax.custom_vjp
    def stand_in(weights: Any, *inputs: Any) -> Any:
        sizes = [inputs[0].shape[0] if n == ANY else n for n in output["shape"]]
        return jnp.zeros(sizes, output["dtype"])

    def refuse(*_: Any) -> Any:
        raise TypeError(f"{entry['file']} was exported without derivatives")

    stand_in.defvjp(refuse, refuse)
    (size,) = export.symbolic_shape(ANY)
    arrays = told["weights"]["arrays"]
    weights = {name: _spec(array, size) for name, array in arrays.items()}
    inputs = [_spec(spec, size) for spec in entry["inputs"]]
    jitted = jax.jit(stand_in, keep_unused=True)
    made = export.export(jitted, platforms=told["platforms"])(weights, *inputs)
    return dataclasses.replace(
        made,
        fun_name=name,
        mlir_module_serialized=(pathlib.Path(folder) / entry["file"]).read_bytes(),
        calling_convention_version=entry["calling_convention_version"],
        uses_global_constants=entry["uses_global_constants"],
    )


def _spec(told: dict[str, Any], size: Any) -> jax.ShapeDtypeStruct:
    """What is told of an array, with `size` rows where any number would do."""
    shape = [size if n == ANY else n for n in told["shape"]]
    return jax.ShapeDtypeStruct(shape, told["dtype"])
