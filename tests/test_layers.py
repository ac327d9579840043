"""Imports go one way: every file of the package against the table of layers."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What each package may import, besides itself. `types` and `files` stand with `ops`,
# below all.
BELOW = {
    "types": set(),
    "files": set(),
    "ops": set(),
    "nets": {"types", "ops"},
    "bijectors": {"types", "ops", "nets"},
    "flows": {"types", "ops", "nets", "bijectors"},
    "students": {"types", "ops", "nets"},
    "metrics": {"types", "ops", "nets"},
    "losses": {"types", "ops", "metrics"},
    "corrected": {"types", "flows", "metrics"},
    "transforms": {"ops"},
    "data": {"types", "files", "ops", "transforms"},
}
for upper in ("train", "evaluation", "experiments", "misread", "main"):
    BELOW[upper] = {*BELOW}
# The Python API, of which the command line needs nothing.
BELOW["fitting"] = {*BELOW} - {"evaluation", "experiments", "misread", "main"}
# But a study of what it gives.
BELOW["experiments"].add("fitting")
# Of evaluation, each of which may import those before it; beside them stand others.
WITHIN = (
    *("core", "models", "scorers", "certificate"),
    *("tables", "pictures", "tasks", "report"),
)
BESIDE = {"export": {"core", "models", "certificate"}, "benchmark": {"models"}}
# Third parties of the pure layers; effects bring their own libraries.
PURE = {"jax", "jaxtyping", "numpy", "flax", "scipy", "dm_pix", "lazy_loader"}
PURE_LAYERS = {
    *(
        "types",
        "files",
        "ops",
        "nets",
        "bijectors",
        "flows",
        "students",
        "metrics",
        "losses",
        "corrected",
        "transforms",
    )
}
# The classifier two-sample test trains a network; SSIM is scikit-image's.
MORE = {
    "fdnf/metrics/c2st.py": {"optax"},
    "fdnf/metrics/image.py": {"skimage"},
    "fdnf/flows/as_distrax.py": {"distrax"},
    # Where it is installed; imported when it is asked for.
    "fdnf/flows/continuous.py": {"diffrax"},
    "fdnf/flows/flowjax_flows.py": {"flowjax", "equinox", "paramax"},
}
NEVER = {"tensorflow", "tensorflow_probability", "clu", "torch"}
NEEDED_BY_MAIN = {
    *("tensorflow", "distrax", "orbax", "tensorflow_datasets", "matplotlib")
}


def package_files():
    return sorted((ROOT / "fdnf").rglob("*.py"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def imports(path):
    """Dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(dotted):
    """`fdnf.losses.density` -> `losses`; the package itself is None."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else None


def layer_of_file(path):
    return path.relative_to(ROOT / "fdnf").with_suffix("").parts[0]


@pytest.mark.parametrize("path", package_files(), ids=name_of)
def test_imports_go_down(path):
    own = layer_of_file(path)
    found = set(imports(path))
    roots = {name.split(".")[0] for name in found}
    assert not roots & NEVER, f"{name_of(path)} imports {roots & NEVER}"
    assert "configs" not in roots
    if own == "__init__":
        assert "fdnf" not in roots, "importing fdnf must import nothing else of it"
        return
    assert own in BELOW, f"{name_of(path)} is in no layer; add it to the table"
    for name in found:
        if name.split(".")[0] != "fdnf" or layer(name) in (None, "__version__"):
            continue
        used = layer(name)
        assert used == own or used in BELOW[own], f"{own} may not import {name}"
    is_adapter = name_of(path) == "fdnf/flows/as_distrax.py"
    assert ("distrax" in roots) == is_adapter
    if own in PURE_LAYERS:
        foreign = roots - set(sys.stdlib_module_names) - PURE - {"fdnf"}
        assert foreign <= MORE.get(name_of(path), set())


@pytest.mark.parametrize(
    "path", sorted((ROOT / "fdnf" / "evaluation").rglob("*.py")), ids=name_of
)
def test_evaluation_is_in_layers(path):
    own = path.relative_to(ROOT / "fdnf" / "evaluation").with_suffix("").parts[0]
    if own == "__init__":
        return
    assert own in (*WITHIN, *BESIDE), f"{own} is in no layer; add it to the table"
    below = BESIDE[own] if own in BESIDE else {*WITHIN[: WITHIN.index(own)]}
    used = {
        name.split(".")[2]
        for name in imports(path)
        if name.startswith("fdnf.evaluation.")
    }
    assert used <= {own, *below}, f"{name_of(path)} imports of {used - {own, *below}}"


def circles(imported):
    """Groups of names that import each other in a circle, from who imports whom."""
    reached = {}
    for name in imported:
        found, left = set(), [name]
        while left:
            new = set(imported[left.pop()]) - found
            found |= new
            left.extend(new)
        reached[name] = found
    alike = {
        frozenset(other for other in found if name in reached[other])
        for name, found in reached.items()
        if name in found
    }
    return sorted(sorted(group) for group in alike)


def test_circles_are_found():
    imported = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}, "e": {"a", "d"}}
    assert circles(imported) == [["b", "c"], ["d"]]


def test_no_files_import_each_other_in_a_circle():
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in [*package_files(), *sorted((ROOT / "launch").rglob("*.py"))]
    }
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    # `fdnf.a.b` is a file, or a name in the file `fdnf.a`.
    imported = {
        own: {
            used
            for name in imports(path)
            for used in {name, name.rpartition(".")[0]} & files.keys() - {own}
        }
        for own, path in files.items()
    }
    assert circles(imported) == []


@pytest.mark.parametrize(
    "path", [*package_files(), *sorted((ROOT / "launch").rglob("*.py"))], ids=name_of
)
def test_files_are_small(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 450, f"{name_of(path)} has {lines} lines"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=name_of)
def test_configs_import_nothing_of_the_package(path):
    allowed = {"ml_collections", "configs", "typing", "collections", "difflib"}
    roots = {name.split(".")[0] for name in imports(path)}
    assert roots <= allowed, f"{name_of(path)} imports {roots - allowed}"


def test_launchers_import_nothing_of_the_package():
    for path in (ROOT / "launch").rglob("*.py"):
        assert "fdnf" not in {name.split(".")[0] for name in imports(path)}


def test_imports_bring_no_more_than_they_need():
    """Of a loss nothing of the trainer; of the command line no heavy library.

    What draws is among it, without matplotlib.
    """
    code = "import sys\nfor name in ('fdnf.losses.distillation', 'fdnf.main'):\n"
    code += "    __import__(name); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Top-level packages that a fresh interpreter has after the one, and after both.
    of_loss, of_main = (
        {name.split(".")[0] for name in line.split()}
        for line in done.stdout.splitlines()
    )
    assert not of_loss & (NEEDED_BY_MAIN | {"optax", "ml_collections"})
    assert not of_main & NEEDED_BY_MAIN
    for name in ("curves", "levels", "marginals"):
        assert f"fdnf.evaluation.pictures.{name}" in done.stdout.split()
