"""What is installed, and what `import fdnf` gives to those who look around in it."""

import importlib
import inspect
import pathlib
import subprocess
import sys

import pytest

import fdnf
from fdnf.flows import build as flows
from fdnf.losses import distillation
from fdnf.students import build as students

ROOT = pathlib.Path(__file__).parents[1]
FRONTS = ("bijectors", "flows", "losses", "metrics", "students")


def fresh(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_is_quick_and_brings_no_jax():
    code = (
        "import sys, time\nstart = time.perf_counter()\nimport fdnf\n"
        "print(time.perf_counter() - start, *sys.modules)"
    )
    runs = [fresh(code) for _ in range(3)]
    assert min(float(seconds) for seconds, *_ in runs) < 0.1
    modules = {name.split(".")[0] for name in runs[0][1:]}
    assert not modules & {"jax", "numpy", "flax"}


def test_public_names_are_there_at_the_first_use():
    code = "import fdnf\nprint(fdnf.flows.MAF.__module__, fdnf.losses.ilkd.__name__)"
    assert fresh(code) == ["fdnf.flows.maf", "ilkd"]
    assert fdnf.losses.ilkd is distillation.ilkd


def test_completion_shows_the_packages():
    packages = {path.parent.name for path in (ROOT / "fdnf").glob("*/__init__.py")}
    # Programs, started by name.
    assert packages - {"experiments"} <= set(dir(fdnf))


@pytest.mark.parametrize("front", FRONTS)
def test_every_public_name_is_what_it_says(front):
    package = getattr(fdnf, front)
    assert dir(package) == sorted(package.__all__)
    assert "__path__" not in dir(package)
    for name in dir(package):
        found = getattr(package, name)
        if inspect.ismodule(found):
            assert found is importlib.import_module(f"fdnf.{front}.{name}")
        else:
            assert found.__name__ == name
            assert found.__module__.startswith(f"fdnf.{front}.")
            assert found.__doc__


def test_no_public_name_hides_a_file():
    for front in FRONTS:
        files = {path.stem for path in (ROOT / "fdnf" / front).glob("*.py")}
        package = getattr(fdnf, front)
        for name in files & set(dir(package)):
            assert inspect.ismodule(getattr(package, name))


def test_models_that_configs_name_are_public():
    for package, table in (
        (fdnf.flows, flows.FLOWS),
        (fdnf.students, students.STUDENTS),
    ):
        for model in table.values():
            assert getattr(package, model.__name__) is model


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="MAFF"):
        _ = fdnf.flows.MAFF


def test_the_wheel_has_the_package_and_nothing_beside_it():
    builders = pytest.importorskip("hatchling.builders.wheel")
    wheel = builders.WheelBuilder(str(ROOT))
    files = {file.distribution_path for file in wheel.recurse_included_files()}
    assert {name.split("/")[0] for name in files} == {"fdnf"}
    assert {"fdnf/py.typed", "fdnf/flows/__init__.pyi", "fdnf/main.py"} <= files
    assert "fdnf/evaluation/report/page.html.j2" in files
    inside = (ROOT / "fdnf").rglob("*.py")
    assert {path.relative_to(ROOT).as_posix() for path in inside} <= files
