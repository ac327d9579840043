"""What is installed, and what `import fdnf` gives to those who look around in it."""

import importlib
import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
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


@pytest.fixture(scope="module")
def wheel():
    """Files of the wheel, by their places in it."""
    builders = pytest.importorskip("hatchling.builders.wheel")
    found = builders.WheelBuilder(str(ROOT)).recurse_included_files()
    return {file.distribution_path: pathlib.Path(file.path) for file in found}


def test_the_wheel_has_the_package_and_nothing_beside_it(wheel):
    files = set(wheel)
    assert {name.split("/")[0] for name in files} == {"fdnf"}
    assert {"fdnf/py.typed", "fdnf/flows/__init__.pyi", "fdnf/main.py"} <= files
    assert "fdnf/evaluation/report/page.html.j2" in files
    inside = (ROOT / "fdnf").rglob("*.py")
    assert {path.relative_to(ROOT).as_posix() for path in inside} <= files


TEN_LINES = """
import numpy, fdnf
x = numpy.random.default_rng(0).gamma(2.0, size=(600, 3)) * [1e3, 1.0, 1e-3]
teacher = fdnf.fit(fdnf.flows.MAF(steps=1, hidden=(4,)), x, steps=20)
drawn = teacher.sample(0, 1000)
print(teacher.log_prob(x).mean(), *(drawn.mean(axis=0) / x.mean(axis=0)))
small = fdnf.flows.MAF(steps=1, hidden=(2,))
student = fdnf.distil(teacher, small, x, method="ilkd", steps=20)
student.save("student.npz")
print(abs(fdnf.load("student.npz").log_prob(x) - student.log_prob(x)).max())
print(fdnf.__file__, *student.log_prob(x[:5]))
"""


# In CI the files of the wheel are looked at above, and the README's lines run in the
# clone (`test_readme`).
@pytest.mark.slow
def test_ten_lines_of_python_in_an_empty_folder_with_the_wheel_alone(wheel, tmp_path):
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    for place, path in wheel.items():
        (installed / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, installed / place)
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", TEN_LINES],
        cwd=empty,
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # Nothing but what was asked for, on either stream: no terminal, no bar.
    assert done.stderr == ""
    numbers, difference, last = done.stdout.splitlines()
    place, *densities = last.split()
    density, *means = map(float, numbers.split())
    # The entropy of such a gamma variable is 1.577 nats, and units cancel.
    assert -8 < density < -4
    assert all(0.8 < mean < 1.25 for mean in means)
    assert float(difference) == 0
    assert pathlib.Path(place).is_relative_to(installed)
    assert [path.name for path in empty.iterdir()] == ["student.npz"]
    # Another process reads what that one wrote.
    x = np.random.default_rng(0).gamma(2.0, size=(600, 3)) * [1e3, 1.0, 1e-3]
    here = fdnf.load(empty / "student.npz").log_prob(x[:5])
    np.testing.assert_allclose(here, np.array(densities, float), atol=1e-4)


USERS_FILE = """
import numpy as np
import fdnf
from fdnf.train.teachers import Trained
from typing import assert_type

x = np.zeros((600, 3))
trained = fdnf.fit(fdnf.flows.MAF(steps=2, hidden=(16,)), x, steps=100)
assert_type(trained, Trained)
density: np.ndarray = trained.log_prob(x)
drawn: np.ndarray = trained.sample(0, 10)
student = fdnf.distil(trained, fdnf.flows.MAF(), x, method="ilkd")
assert_type(student, Trained)
assert_type(fdnf.load("student.npz"), Trained)
assert_type(fdnf.flows.MAF().steps, int)
fdnf.distil(fdnf.from_arrays(x, (x, x)), fdnf.flows.MAF(), x)
"""
WRONG_LINES = {
    "fdnf.fit('maf', x)": "reportArgumentType",
    "fdnf.fit(fdnf.flows.MAF(), x, step=3)": "reportCallIssue",
    "fdnf.fitt": "reportAttributeAccessIssue",
    "fdnf.flows.MAF(step=3)": "reportCallIssue",
}


def test_a_users_type_checker_sees_the_types(wheel, tmp_path):
    pytest.importorskip("basedpyright")
    text = USERS_FILE + "".join(f"{line}\n" for line in WRONG_LINES)
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"extraPaths": [str(ROOT)], "typeCheckingMode": "basic"})
    )
    command = [sys.executable, "-m", "basedpyright", "--outputjson"]
    command += ["--pythonpath", sys.executable, "mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [e for e in found if e["severity"] == "error"]
    first = USERS_FILE.count("\n")
    rules = {e["range"]["start"]["line"]: e.get("rule") for e in errors}
    expected = dict(enumerate(WRONG_LINES.values(), start=first))
    assert rules == expected, errors
