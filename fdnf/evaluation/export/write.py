"""Trained models as files that run without this package: StableHLO and weights.

Two programs are written, of vectors, tables and images also a third, the density; all
of them functions of the weights, which lie in a file of their own: a program with its
weights inside takes longer to load and compile and twice the memory, runs no faster,
and each would hold them anew. A student of vectors or a table gets its teacher beside
it, by which a reader draws exact samples, and whatever learned from a teacher a
certificate of how far it is from it.

The choices that layers make for the kind of device (such as convolutions as matrix
products on CPU) are those of the machine that exports: the programs run everywhere,
and fastest on what they were exported on (`traced_on`).
"""

import contextlib
import hashlib
import io
import logging
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fdnf
from fdnf import corrected, files
from fdnf.data import build as datasets
from fdnf.data.tabular import DataError, Tabular
from fdnf.evaluation import certificate
from fdnf.evaluation.core import scores
from fdnf.evaluation.export import load, programs
from fdnf.evaluation.export.programs import Program, Sampler, Teacher, Temperature
from fdnf.evaluation.models import sampler as samplers
from fdnf.flows.base import FlowModule
from fdnf.ops import trees
from fdnf.train import preprocess, stored, teachers
from fdnf.train.settings import ConfigError

PLATFORMS = ("cpu", "cuda", "tpu")
WEIGHTS, LOADER = "weights.npz", "load.py"
TEACHER = "teacher.npz"
# What an older export may have left that the new one has not.
_OPTIONAL = (
    *(TEACHER, "density.stablehlo"),
    *(f"{name}.stablehlo" for name in load.TAKES),
)
# Chains by which it is looked at how exact they are.
CHAINS = 256
# The reader's snippets, kept in `sampler.json`; `load.py` lies beside it.
SNIPPET = """\
import numpy as np
import load
sample = load.program({folder!r})
x = sample({arguments})
"""
DENSITY = """\
log_prob = load.program({folder!r}, "density")
p = log_prob({arguments})  # In nats.
"""

EXACT = """\
exact = load.exact({folder!r})
y = exact({arguments})  # Samples of its teacher.
"""

check = load.check
exact = load.exact
program = load.program
DamagedError = load.DamagedError

_log = logging.getLogger(__name__)


def write(config: Any, workdir: str | pathlib.Path) -> list[pathlib.Path]:
    """Exports each run of a trained workdir to `<workdir>/export/run_<r>`.

    Args:
      config: of its `eval`, `time_batch` is the sampler's batch size, 1 where there is
        none, as of super-resolution; and `temperature`, of images the first of
        `temperatures`, is baked in. Conditional models of images and sound make
        events of shape `export_shape`, those they were trained on where it is ().
      workdir: of a trained flow or student.

    Returns:
      The files, see `save`; and `certificate.json` of what learned from a teacher.

    Raises:
      CheckpointError: if the workdir or a readable checkpoint in it is missing.
      ConfigError: for a batch size that is none.
    """
    workdir, evaluation = pathlib.Path(workdir), config.eval
    trained = teachers.load(workdir)
    rows = evaluation.get("time_batch", 1)
    if not isinstance(rows, int) or rows < 1:
        raise ConfigError(f"eval.time_batch={rows!r}: expected at least 1")
    temperature = evaluation.temperature
    if "temperatures" in evaluation:
        temperature = evaluation.temperatures[0]
    event = tuple(evaluation.get("export_shape", ())) or trained.event
    if len(event) != len(trained.event):
        raise ConfigError(
            f"eval.export_shape={event}: the model was trained on {trained.event}; "
            "give as many sides, or () for that"
        )
    prepared, paths = trained.preprocess, []
    for run in range(trained.runs):
        model, variables = teachers.run_of(trained, run)
        sampler = Sampler(
            model,
            variables,
            event,
            prepared.condition_shape(event),
            prepared.to_stored,
            _encode(model, prepared),
            prepared.noisy,
            _condition(prepared),
        )
        about = {
            "name": _name(trained.config),
            "run": run,
            "step": int(trained.meta["best"]["step"][run]),
            "model": trained.config.model.to_dict(),
            "preprocess": preprocess.describe(prepared),
            # Of a table, in their order.
            "columns": _names(prepared, "columns"),
            "conditions": _names(prepared, "condition_columns"),
        }
        folder = workdir / "export" / f"run_{run}"
        paths += save(
            folder,
            sampler,
            rows=rows,
            temperature=temperature,
            about=about,
            teacher=_teacher(trained, run),
        )
        certified = certificate.write(folder, workdir, trained, run)
        paths += [] if certified is None else [certified]
    return paths


def _teacher(trained: teachers.Trained, run: int) -> Teacher | None:
    """What weighs a student's draws; None, and why, of what is exported without.

    Args:
      trained: the model.
      run: which of its runs.
    """
    model, prepared = trained.flow, trained.preprocess
    dense = isinstance(model, FlowModule) and not prepared.windows
    if not (trained.config.get("teacher") and dense and len(trained.event) == 1):
        return None
    try:
        judge = teachers.teacher_of(trained)
        taken, by_run = teachers.match(judge, trained.event, trained.runs, prepared)
        cond = _test_conditions(trained)
    except (ConfigError, DataError, stored.CheckpointError, OSError) as error:
        _log.warning("exported without a teacher for exact samples: %s", error)
        return None
    if not isinstance(judge.flow, FlowModule):
        return None
    variables = trees.take_run(taken, run) if by_run else taken
    with warnings.catch_warnings():
        # Whoever loads it hears of it.
        warnings.simplefilter("ignore", corrected.CorrectionWarning)
        found = corrected.corrected_sample(
            *(model, judge.flow, trained.of_run(run)[1], variables),
            *(trained.config.seed, CHAINS, cond),
            event=trained.event,
        )
    measured = {
        "steps": found.steps,
        "acceptance": found.acceptance,
        "ess_share": found.ess_share,
        "khat": found.khat,
        "total_variation": found.distance,
        "total_variation_uncorrected": found.uncorrected,
        "proposals": found.proposals,
        "told": list(found.told),
    }
    return Teacher(judge.flow, variables, scores.plain(measured))


def _test_conditions(trained: teachers.Trained) -> np.ndarray | None:
    """Conditions of test rows, as the flow sees them, if it takes any.

    Raises:
      DataError: the data cannot be had.
    """
    if trained.preprocess.condition_shape(trained.event) is None:
        return None
    data = datasets.build(trained.config.data)
    assert isinstance(data, Tabular)
    _, cond = samplers.rows_of(trained, data, 2, CHAINS, trained.config.seed)
    assert cond is not None
    return np.resize(cond, (CHAINS, *cond.shape[1:]))


def save(
    folder: str | pathlib.Path,
    sampler: Sampler,
    *,
    rows: int = 64,
    temperature: Temperature = 1.0,
    platforms: Sequence[str] = PLATFORMS,
    about: dict[str, Any] | None = None,
    teacher: Teacher | None = None,
) -> list[pathlib.Path]:
    """Writes the programs of a sampler, its weights and what a reader needs to know.

    Args:
      folder: made if it is not there; an older export in it is replaced, and is
        damaged, for a reader, until all of the new one is there.
      sampler: what is exported; it is folded where that is faster.
      rows: of what one call of the sampler draws. The decoder takes any number of
        rows, if the model's program can be written so, and otherwise this one.
      temperature: standard deviation of the latents, or one for each.
      platforms: that the programs can run on.
      about: further entries of `sampler.json`.
      teacher: of a student with a density, that which weighs its draws.

    Returns:
      `sampler.stablehlo` (key to data), `decoder.stablehlo` (latents to data),
      `density.stablehlo` (data to log p, in nats; if `sampler.encode` is there),
      `weights.npz`, `load.py` and `sampler.json`. With a teacher `proposals.stablehlo`
      (key to data and log of their weights), `teacher_density.stablehlo` and
      `teacher.npz`.

    Raises:
      ValueError: for weights of a type that an .npz cannot hold, and programs that
        call more than a reader runs.
    """
    folder = pathlib.Path(folder)
    model, variables = samplers.folded(sampler.model, sampler.variables)
    sampler = sampler._replace(model=model, variables=variables)
    weights, taught = stored.flatten(sampler.variables), {}
    if teacher is not None:
        leaves = stored.flatten(teacher.variables)
        taught = {programs.PREFIX + name: leaf for name, leaf in leaves.items()}
    for name, array in {**weights, **taught}.items():
        if array.dtype.kind not in "fiub":
            raise ValueError(f"weight {name} is {array.dtype}: convert it to float32")
    more = (rows, temperature, tuple(platforms), teacher)
    lowered = programs.lower(sampler, {**weights, **taught}, *more)
    for name, made in lowered.items():
        if foreign := load.foreign_calls(made.exported.mlir_module()):
            raise ValueError(
                f"the {name} of {type(sampler.model).__name__} calls {foreign} outside"
                f" of StableHLO, which {LOADER} refuses to run: export another model"
            )
    contents = {
        f"{name}.stablehlo": made.exported.mlir_module_serialized
        for name, made in lowered.items()
    }
    contents[WEIGHTS] = _archive(weights)
    if teacher is not None:
        contents[TEACHER] = _archive(taught)
    contents[LOADER] = pathlib.Path(load.__file__).read_bytes()
    told = {
        "format": load.FORMAT,
        **(about or {}),
        "fdnf": fdnf.__version__,
        "jax": jax.__version__,
        "temperature": temperature,
        "platforms": list(platforms),
        "traced_on": jax.default_backend(),
        "programs": {name: _described(name, made) for name, made in lowered.items()},
        "weights": _held(WEIGHTS, weights),
        "files": {
            name: hashlib.sha256(content).hexdigest()
            for name, content in contents.items()
        },
        "python": _snippet(lowered),
    }
    if teacher is not None:
        told |= {"teacher": _held(TEACHER, taught), "exact": teacher.exact}
    text = files.dumps(told, indent=1) + "\n"
    return _put(folder, {**contents, load.MANIFEST: text.encode()})


def _held(file: str, weights: dict[str, np.ndarray]) -> dict[str, Any]:
    # In the order of the programs' arguments.
    arrays = {name: _array(weights[name]) for name in sorted(weights)}
    return {"file": file, "arrays": arrays}


def _names(prepared: Any, of: str) -> list[str]:
    columns = getattr(prepared, of, None)
    return [] if columns is None else list(columns.names)


def _name(config: Any) -> str:
    name = f"{config.model.name}_{config.data.name}"
    return f"{name} {config.label or config.role}"


def _encode(model: Any, prepared: Any) -> Any:
    """How rows come to the density; None of what is exported without one."""
    # Rows of super-resolution and speech are windows of what models take.
    if not isinstance(model, FlowModule) or prepared.windows:
        return None
    columns = getattr(prepared, "columns", None)
    if columns is None:
        return prepared.plain.encode
    return lambda key, x: prepared.encode(key, _stored(columns, x))


def _condition(prepared: Any) -> Any:
    """From conditions in the user's units to the model's; of images as they are."""
    columns = getattr(prepared, "condition_columns", None)
    if columns is None:
        return lambda cond: cond
    return lambda cond: prepared.condition(None, _stored(columns, cond))


def _stored(columns: Any, x: Any) -> Any:
    """`Columns.store` within a program: in float32, without a look at the values."""
    found = []
    for i, column in enumerate(columns.columns):
        t = (x[:, i] - column.origin) / column.unit
        if column.kind == "periodic":
            t -= jnp.floor(t)
        if column.noisy:
            found.append(jnp.round(t) if column.whole else t)
        else:
            found.append((column.to_line(t, jnp) - column.mean) / column.std)
    return jnp.stack(found, axis=1)


_MEANINGS = {
    "key": "[seed // 2^32, seed % 2^32], as jax.random.key_data(jax.random.key(seed))",
    "cond": "condition of each row, of a table in its own units",
    "x": "rows as the sampler gives them; the key is of the noise on whole numbers",
}


# Of programs that do not give data alone.
_OUTPUTS = {
    "density": ("log_prob",),
    load.TEACHER_DENSITY: ("log_prob",),
    load.PROPOSALS: ("x", "log_weight"),
}


def _described(name: str, made: Program) -> dict[str, Any]:
    exported = made.exported
    # The weights, a dict, come first and flat.
    inputs = exported.in_avals[-len(made.names) :]
    return {
        "file": f"{name}.stablehlo",
        "inputs": [
            {
                "name": each,
                **_array(aval),
                "meaning": _MEANINGS.get(each, "latents, N(0, temperature^2)"),
            }
            for each, aval in zip(made.names, inputs, strict=True)
        ],
        "outputs": [
            {"name": each, **_array(aval)}
            for each, aval in zip(
                _OUTPUTS.get(name, ("x",)), exported.out_avals, strict=True
            )
        ],
        "calling_convention_version": exported.calling_convention_version,
        "uses_global_constants": exported.uses_global_constants,
    }


def _array(array: Any) -> dict[str, Any]:
    sizes = [n if isinstance(n, int) else load.ANY for n in array.shape]
    return {"shape": sizes, "dtype": np.dtype(array.dtype).name}


def _snippet(lowered: dict[str, Program]) -> str:
    key, made = "np.array([0, 7], np.uint32)", lowered["sampler"]
    cond = []
    if "cond" in made.names:
        shape = made.exported.in_avals[-1].shape
        cond = [f"np.zeros({tuple(shape)}, np.float32)"]
    text = SNIPPET.format(folder=".", arguments=", ".join([key, *cond]))
    if "density" in lowered:
        noise = [key] * ("key" in lowered["density"].names)
        arguments = ", ".join(["x", *noise, *cond])
        text += DENSITY.format(folder=".", arguments=arguments)
    if load.PROPOSALS in lowered:
        rows = made.exported.out_avals[0].shape[0]
        arguments = ", ".join(["7", str(rows), *cond])
        text += EXACT.format(folder=".", arguments=arguments)
    return text


def _archive(weights: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **weights)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def _put(folder: pathlib.Path, contents: dict[str, bytes]) -> list[pathlib.Path]:
    """Writes all beside, then puts each in its place, whole; the manifest last."""
    paths = [folder / name for name in contents]
    for name in _OPTIONAL:
        if name not in contents:
            (folder / name).unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        for path in reversed(paths):  # What is entered first is put in place last.
            stack.enter_context(files.replacing(path)).write(contents[path.name])
    return paths
