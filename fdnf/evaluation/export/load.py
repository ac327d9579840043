"""Runs the model in this folder; needs jax and numpy and nothing else.

    import numpy as np
    import load  # This file, with its folder on the path.

    sample = load.program("folder")
    x = sample(np.array([0, 7], np.uint32))  # Of seed 7.
    log_prob = load.program("folder", "density")
    p = log_prob(x)  # In nats, where the model has a density.
    exact = load.exact("folder")
    y = exact(7, 1000)  # Of its teacher, where a student was exported with one.

`sampler.json` says what the programs are: their inputs in order, with shapes and
dtypes, and what they return. The `.stablehlo` files are portable StableHLO, lowered by
`jax.export`; the function `main` in each takes the index of the platform in
`platforms` (int32; only if there are several), the weights in the order of
`weights.arrays`, then the inputs.

A program is code, and so is this file: run those of people you trust. What is read
here are files of this folder alone, each with the sum that `sampler.json` has of it;
entries that are damaged or unknown are refused, and so are programs that call anything
outside of StableHLO but the routines in `CALLS`. A program may still take all memory or
never end, and the sums tell damage, not who wrote the folder.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

MANIFEST = "sampler.json"
FORMAT = 1
# Draws of a student and what they weigh under its teacher, and the teacher's density.
PROPOSALS, TEACHER_DENSITY = "proposals", "teacher_density"
# Which weights programs take; the others take those of the model.
TAKES = {PROPOSALS: ("weights", "teacher"), TEACHER_DENSITY: ("teacher",)}
# Stands in shapes for a batch of any size.
ANY = "batch"
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
# What programs may call outside of StableHLO: triangular systems, LU, random bits, and
# the look at sizes that are known when it runs.
CALLS = frozenset(
    {f"lapack_{kind}{name}_ffi" for kind in "sd" for name in ("trsm", "getrf")}
    | {"LuDecomposition", "cusolver_getrf_ffi", "hipsolver_getrf_ffi"}
    | {f"{maker}_lu_pivots_to_permutation" for maker in ("cu", "hip")}
    | {f"{maker}_threefry2x32_ffi" for maker in ("cu", "hip")}
    | {"shape_assertion"}
)
_DTYPES = ("bool", "float16", "bfloat16", "float32", "float64") + tuple(
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
)
_DAMAGE = (
    *(ValueError, TypeError, KeyError, OSError, EOFError, MemoryError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error),
)


class DamagedError(ValueError):
    """A folder that does not hold what was written into it."""


def read(folder: str | pathlib.Path) -> dict[str, Any]:
    """The contents of `sampler.json`, after a look at every file's sha256.

    Raises:
        DamagedError: for an entry that is damaged or unknown, or a file that is
            missing or not as it was written.
    """
    folder = pathlib.Path(folder)
    manifest = folder / MANIFEST
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
        version = told["format"]
    except FileNotFoundError as error:
        raise DamagedError(f"{folder} holds no {MANIFEST}: export it again") from error
    except (*_DAMAGE, RecursionError) as error:
        raise DamagedError(
            f"{manifest} is damaged ({type(error).__name__}: {error}): copy or export "
            "it again"
        ) from error
    if version != FORMAT:
        raise DamagedError(
            f"{manifest} has format {version!r}, this reads {FORMAT}: use the load.py "
            "that was written beside it"
        )
    if fault := _fault(told):
        raise DamagedError(f"{manifest} is damaged: {fault}: copy or export it again")
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


def _fault(told: dict[str, Any]) -> str | None:
    """What is wrong with the entries that are used; others are for people."""
    if lost := {"files", "platforms", "programs", "weights"} - told.keys():
        return f"it does not tell {sorted(lost)}"
    files, programs = told["files"], told["programs"]
    if not isinstance(files, dict) or not all(
        _plain(name)
        and isinstance(sha256, str)
        and re.fullmatch("[0-9a-f]{64}", sha256)
        for name, sha256 in files.items()
    ):
        return "'files' is no table of plain names, without folders, and sha256"
    platforms = told["platforms"]
    if (
        not isinstance(platforms, list)
        or not platforms
        or set(map(str, platforms)) - set(PLATFORMS)
    ):
        return f"'platforms' is {platforms!r}"
    if not isinstance(programs, dict) or not programs:
        return "'programs' is no table of programs"
    for name, entry in programs.items():
        expected = {"file", "inputs", "outputs", *_NUMBERS}
        if not isinstance(entry, dict) or entry.keys() != expected:
            return f"program {name!r} does not have just the entries {sorted(expected)}"
        if entry["file"] not in list(files):
            return f"program {name!r} names a file that has no sum in 'files'"
        if not all(isinstance(entry[key], kind) for key, kind in _NUMBERS.items()):
            return f"program {name!r} has other values than {sorted(_NUMBERS)} take"
        for key, fields in (("inputs", _INPUT), ("outputs", _OUTPUT)):
            given = entry[key]
            if not isinstance(given, list) or not all(
                _is_array(each, fields) for each in given
            ):
                return f"program {name!r} has {key} that are no arrays"
        if name == PROPOSALS and len(entry["outputs"]) != 2:
            return f"program {name!r} has not just two outputs"
        if name != PROPOSALS and len(entry["outputs"]) != 1:
            return f"program {name!r} has not just one output"
        if lost := set(TAKES.get(name, ())) - told.keys():
            return f"program {name!r} takes weights that it does not tell: {lost}"
    if PROPOSALS in programs:
        steps = told.get("exact", {}) if isinstance(told.get("exact"), dict) else {}
        if type(steps.get("steps")) is not int or steps["steps"] < 1:
            return "'exact' does not have the 'steps' of its chains"
    for name in ("weights", "teacher"):
        if name in told and (fault := _fault_of_weights(name, told[name], files)):
            return fault
    return None


def _fault_of_weights(name: str, weights: Any, files: Any) -> str | None:
    if not isinstance(weights, dict) or weights.keys() != {"file", "arrays"}:
        return f"{name!r} does not have just the entries ['arrays', 'file']"
    if weights["file"] not in list(files):
        return f"{name!r} names a file that has no sum in 'files'"
    arrays = weights["arrays"]
    if not isinstance(arrays, dict) or not all(
        _is_array(each, set()) and ANY not in each["shape"] for each in arrays.values()
    ):
        return f"{name!r} has entries that are no arrays"
    return None


_NUMBERS = {"calling_convention_version": int, "uses_global_constants": bool}
_INPUT, _OUTPUT = {"name", "meaning"}, {"name"}


def _plain(name: str) -> bool:
    """Whether it names a file in the folder itself, whatever the system."""
    kinds = (pathlib.PurePosixPath, pathlib.PureWindowsPath)
    whole = all(kind(name).parts == (name,) for kind in kinds)
    return whole and name not in ("..", MANIFEST) and name.isprintable()


def _is_array(told: Any, further: set[str]) -> bool:
    """Whether it is a shape and a type, and further strings."""
    if not isinstance(told, dict) or told.keys() != {"shape", "dtype", *further}:
        return False
    if told["dtype"] not in _DTYPES or not isinstance(told["shape"], list):
        return False
    sizes = all(n == ANY or (type(n) is int and 0 <= n < 2**31) for n in told["shape"])
    return sizes and all(isinstance(told[key], str) for key in further)


def check(folder: str | pathlib.Path) -> dict[str, Any]:
    """Verifies entries, sums, calls of programs, and that they have the shapes told.

    Nothing is run. That a folder passes means that it is whole, not that its author
    means well: a program is code, see above.

    Args:
        folder: what was written, `sampler.json` and its files.

    Returns:
        The contents of `sampler.json`.

    Raises:
        DamagedError: naming the file and what is wrong.
    """
    told = read(folder)
    for name, entry in told["programs"].items():
        held = _weights(folder, told, name)
        inputs = [_spec(spec, 2) for spec in entry["inputs"]]
        try:
            called = jax.jit(_rebuilt(folder, told, name).call)
            platform = told["platforms"][0]
            called.trace(held, *inputs).lower(lowering_platforms=(platform,))
        except DamagedError:
            raise
        # What MLIR says of a program that is not as it is called.
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DamagedError(
                f"{entry['file']} in {folder} does not have the inputs and outputs "
                f"that {MANIFEST} tells ({reason}): export it again"
            ) from error
    return told


def program(folder: str | pathlib.Path, name: str = "sampler") -> Callable[..., Any]:
    """A compiled program of a folder.

    Args:
        folder: what was written, `sampler.json` and its files.
        name: "sampler", from a key to data; "decoder", from latents to data; "density",
            from data to log p in nats, of a model that has one. Of a student that was
            exported with its teacher also "teacher_density", and "proposals", from a
            key to data and the logarithms of their weights, see `exact`.

    Returns:
        A function of the inputs that `sampler.json` lists under the name, in their
        order, that gives an array, or two. It can be called under `jax.jit`, and not
        differentiated.

    Raises:
        DamagedError: for a file that is missing or damaged, and a program with calls
            that are not in `CALLS`.
        KeyError: for another name.
    """
    told = read(folder)
    if name not in told["programs"]:
        raise KeyError(f"no program {name!r}; there are {sorted(told['programs'])}")
    held = jax.device_put(_weights(folder, told, name))
    return functools.partial(jax.jit(_rebuilt(folder, told, name).call), held)


def exact(folder: str | pathlib.Path) -> Callable[..., np.ndarray]:
    """Samples of the teacher, which the student proposes and the teacher weighs.

    Each row is the end of a chain of its own, which starts at its first proposal and
    moves from x to the next, y, with probability min(1, w(y) / w(x)), w the teacher's
    density over the student's (independence Metropolis-Hastings). How many proposals
    that takes was measured when it was exported: "exact" in `sampler.json`.

    Args:
        folder: what was written, of a student with its teacher.

    Returns:
        A function (seed, n, cond=None, steps=None) to an array of n rows, as the
        sampler gives them; `cond` is of each row, or of all; `steps` are more
        proposals a row than were found to be needed, or fewer.

    Raises:
        KeyError: there is no teacher in the folder.
        DamagedError: as of `program`.

    Warns:
        UserWarning: the weights were found to be too wide to trust.
    """
    told = read(folder)
    if PROPOSALS not in told["programs"]:
        raise KeyError(
            f"{folder} was exported without a teacher: it has no exact draws"
        )
    propose, about = program(folder, PROPOSALS), told["exact"]
    entry = told["programs"][PROPOSALS]
    size, inputs = entry["outputs"][0]["shape"][0], entry["inputs"]
    if about.get("told"):
        doubts = "; ".join(map(str, about["told"]))
        warnings.warn(f"exact draws are not to be trusted: {doubts}", stacklevel=2)

    def draw(seed: int, n: int, cond: Any = None, steps: int | None = None):
        taken = about["steps"] if steps is None else steps
        if n < 1 or taken < 1:
            raise ValueError(f"n={n}, steps={taken}: expected at least 1 of each")
        if (cond is None) != (len(inputs) == 1):
            needs = "no" if cond is not None else "a"
            raise ValueError(f"this sampler takes {needs} condition")
        near = []
        if cond is not None:
            shape = (n, *inputs[-1]["shape"][1:])
            near = [np.broadcast_to(np.asarray(cond, inputs[-1]["dtype"]), shape)]
        found = []
        for i, start in enumerate(range(0, n, size)):
            # The last batch is filled up.
            picked = np.minimum(np.arange(start, start + size), n - 1)
            rng = np.random.default_rng([seed, i])
            x = _chains(propose, rng, taken, [c[picked] for c in near])
            found.append(x[: n - start])
        return np.concatenate(found)

    return draw


def _chains(propose: Any, rng: Any, steps: int, near: list[np.ndarray]) -> np.ndarray:
    """Where as many chains end as the program proposes rows."""
    x = log_w = np.full(1, -np.inf)
    for step in range(steps):
        key = rng.integers(2**32, size=2, dtype=np.uint32)
        y, log_y = map(np.asarray, propose(key, *near))
        if not step:
            x, log_w = y.copy(), log_y.copy()
            continue
        log_u = np.log1p(-rng.random(len(y)))
        with np.errstate(invalid="ignore"):
            moved = (log_y > -np.inf) & (log_u < log_y - log_w)
        x[moved], log_w[moved] = y[moved], log_y[moved]
    if (log_w == -np.inf).any():
        raise ValueError(
            f"{(log_w == -np.inf).sum()} rows had no proposal with a density under the "
            f"teacher in {steps} steps: give more steps"
        )
    return x


def _weights(
    folder: str | pathlib.Path, told: dict[str, Any], program: str
) -> dict[str, np.ndarray]:
    """What a program takes; names of the teacher's begin with "teacher/"."""
    found = {}
    for name in TAKES.get(program, ("weights",)):
        found |= _archive(pathlib.Path(folder) / told[name]["file"], told[name])
    return found


def _archive(path: pathlib.Path, expected: dict[str, Any]) -> dict[str, np.ndarray]:
    try:
        # They are written as they are. A file that is packed may hold any amount.
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > path.stat().st_size:
            raise ValueError(f"{size:,} bytes of arrays in {path.stat().st_size:,}")
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise DamagedError(f"{path} is damaged ({reason}): export it again") from error
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

    Why not `Exported.serialize` and `jax.export.deserialize`: they need the package
    flatbuffers, which jax does not bring and a reader would have to install; and they
    wrap the program in a form of jax's own, promised for six months, where StableHLO
    is for five years and can be read without jax. So a stand-in with the same inputs
    and outputs is exported, and gets the program that was written.
    """
    entry = told["programs"][name]

    @jax.custom_vjp
    def stand_in(weights: Any, *inputs: Any) -> Any:
        made = []
        for each in entry["outputs"]:
            sizes = [inputs[0].shape[0] if n == ANY else n for n in each["shape"]]
            made.append(jnp.zeros(sizes, each["dtype"]))
        return made[0] if len(made) == 1 else tuple(made)

    def refuse(*_: Any) -> Any:
        raise TypeError(f"{entry['file']} was exported without derivatives")

    stand_in.defvjp(refuse, refuse)
    (size,) = export.symbolic_shape(ANY)
    arrays: dict[str, Any] = {}
    for each in TAKES.get(name, ("weights",)):
        arrays |= told[each]["arrays"]
    weights = {each: _spec(array, size) for each, array in arrays.items()}
    inputs = [_spec(spec, size) for spec in entry["inputs"]]
    jitted = jax.jit(stand_in, keep_unused=True)
    made = export.export(jitted, platforms=told["platforms"])(weights, *inputs)
    rebuilt = dataclasses.replace(
        made,
        fun_name=name,
        mlir_module_serialized=(pathlib.Path(folder) / entry["file"]).read_bytes(),
        calling_convention_version=entry["calling_convention_version"],
        uses_global_constants=entry["uses_global_constants"],
    )
    try:
        text = rebuilt.mlir_module()
        if "@main(" not in text:
            raise ValueError("it has no function main")
        foreign = foreign_calls(text)
    # What MLIR says of bytes that are no program.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedError(
            f"{entry['file']} in {folder} is no program ({reason}): export it again"
        ) from error
    if foreign:
        raise DamagedError(
            f"{entry['file']} in {folder} calls {foreign}, which is outside of "
            "StableHLO: it was not written by this package, or was changed"
        )
    return rebuilt


def foreign_calls(text: str) -> list[str]:
    """What a program calls outside of StableHLO that is not in `CALLS`.

    Such a call runs what the process holds under its name, with arguments that the
    program chooses.

    Args:
        text: the program, as `Exported.mlir_module` gives it.
    """
    found = re.findall(r"stablehlo\.custom_call @([\w.$]+)\(", text)
    # Names that need quotes, other ways to write a call, and what looks like one.
    others = text.count("custom_call") - len(found)
    return sorted(set(found) - CALLS) + ["something by a quoted name"] * bool(others)


def _spec(told: dict[str, Any], size: Any) -> jax.ShapeDtypeStruct:
    """What is told of an array, with `size` rows where any number would do."""
    shape = [size if n == ANY else n for n in told["shape"]]
    return jax.ShapeDtypeStruct(shape, told["dtype"])
