"""The command: its faults, each a few lines and no training, and its modes."""

import functools
import importlib
import os
import pathlib
import runpy
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from configs import maf_gas
from fdnf import main, misread
from fdnf.data.tabular import DataError
from fdnf.train import loop
from fdnf.train.checkpoint import CheckpointError
from fdnf.train.settings import ConfigError
from tests import flagged, tiny

ROOT = pathlib.Path(__file__).parents[1]
ROWS = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)


def command(*arguments, **environment):
    """Runs the command; exit status, output, and what it wrote to stderr."""
    cache = f"--compilation_cache={jax.config.jax_compilation_cache_dir}"
    return subprocess.run(
        [sys.executable, "-m", "fdnf.main", cache, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=400,
    )


def refused(status, out, err, workdir, *words):
    """Asserts one screen of text, with these words, and no training."""
    assert status == 2
    assert out == ""
    assert len(err.strip().splitlines()) <= 25
    assert "Traceback" not in err
    for word in words:
        assert word in err
    assert not (workdir / "checkpoints").exists()


@pytest.fixture
def refuses(capfd, tmp_path, monkeypatch):
    """Gives the command arguments, in this process, that it must refuse."""
    monkeypatch.chdir(ROOT)

    def refuses(arguments, *words):
        status = flagged.run(f"--workdir={tmp_path / 'run'}", *arguments)
        refused(status, *capfd.readouterr(), tmp_path / "run", *words)

    return refuses


def no_training(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("training started")

    monkeypatch.setattr(loop.program.step, "make_train_step", refuse)


def npz_config(path):
    config = tiny.config()
    config.data = {"name": "npz", "args": {"path": str(path)}}
    return config


def one_nan(split):
    rows = ROWS.copy()
    rows[7, 1] = np.nan
    return {"train": ROWS, "val": ROWS, "test": ROWS, split: rows}


def write(tmp_path, **arrays):
    path = tmp_path / "rows.npz"
    np.savez(path, **{"train": ROWS, "val": ROWS, "test": ROWS, **arrays})
    return path


def nan_row(tmp_path):
    return write(tmp_path, **one_nan("val")), r"'val': row 7, column 1 is nan \(1 of 40"


def wrong_dimension(tmp_path):
    path = write(tmp_path, test=ROWS[:, :2])
    return path, r"'test': has 2 columns, but 'train' has 3"


def empty_split(tmp_path):
    return write(tmp_path, val=ROWS[:0]), r"'val': is empty \(shape \(0, 3\)\)"


def corrupt(tmp_path):
    path = write(tmp_path)
    os.truncate(path, path.stat().st_size // 2)
    return path, r"rows.npz is damaged or cut short"


def corrupt_inside(tmp_path):
    path = write(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[400:420] = bytes(20)
    path.write_bytes(damaged)
    return path, r"rows.npz is damaged or cut short \(train"


def pickled(tmp_path):
    path = write(tmp_path, train=np.array([{"a": 1}], dtype=object))
    return path, r"holds pickled Python objects \(train\)"


def missing_file(tmp_path):
    return tmp_path / "nothing.npz", r"No such data file: .*nothing.npz"


@pytest.mark.parametrize(
    "fault",
    [
        nan_row,
        wrong_dimension,
        empty_split,
        corrupt,
        corrupt_inside,
        pickled,
        missing_file,
    ],
)
def test_faulty_data(fault, tmp_path, monkeypatch):
    no_training(monkeypatch)
    path, says = fault(tmp_path)
    with pytest.raises(DataError, match=says) as caught:
        main._one("train", npz_config(path), tmp_path / "run")
    assert isinstance(caught.value, main._EXPECTED)
    assert str(caught.value).count("\n") < 20


def test_unwritable_workdir(tmp_path, monkeypatch):
    no_training(monkeypatch)
    (tmp_path / "file").write_text("")
    for config in (tiny.config(), tiny.config("ilkd")):
        says = r"workdir .*file/run cannot be written .* another --workdir"
        with pytest.raises(CheckpointError, match=says):
            main._one("train", config, tmp_path / "file" / "run")


def test_missing_teacher(tmp_path, monkeypatch):
    no_training(monkeypatch)
    config = tiny.config("ilkd")
    config.teacher.workdir = str(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"nowhere does not exist"):
        main._one("train", config, tmp_path / "run")
    assert not (tmp_path / "run" / "student").exists()


def test_teacher_of_another_dimension(tmp_path, monkeypatch):
    no_training(monkeypatch)
    tiny.stored(tiny.config(), tmp_path / "taught", dim=5)
    config = tiny.config("skd")
    config.teacher.workdir = str(tmp_path / "taught")
    with pytest.raises(ConfigError, match=r"of shape \(5,\), .* have shape \(3,\)"):
        main._one("train", config, tmp_path / "run")
    assert not (tmp_path / "run" / "student").exists()


@pytest.mark.parametrize("mode", ["eval", "sample"])
def test_nothing_to_evaluate(mode, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no checkpoint"):
        main._one(mode, tiny.config(), tmp_path)


def test_study_without_a_teacher(tmp_path):
    with pytest.raises(ConfigError, match=r"takes a config with a teacher"):
        main._one("study", tiny.config(), tmp_path)


def test_no_network(tmp_path, monkeypatch):
    no_training(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FDNF_DATA_DIR", raising=False)
    # Nothing answers there, with or without a network.
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    begun = time.monotonic()
    with pytest.raises(DataError) as caught:
        main._one("train", maf_gas.get_config(), tmp_path / "run")
    assert time.monotonic() - begun < 60
    text = str(caught.value)
    assert "Could not download" in text
    assert f"put that file at {tmp_path}" in text
    assert "FDNF_DATA_DIR" in text
    assert "run without it: --config=configs/maf_patches.py" in text
    assert text.count("\n") < 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--config=configs/maf_gas.py:smok"],
            ["maf_gas.py: unknown word 'smok'; did you mean 'smoke'?", "student"],
        ),
        (
            ["--config=configs/maf_gaz.py"],
            ["No such file: configs/maf_gaz.py; did you mean maf_gas?", "srflow_div2k"],
        ),
        (
            ["--config=configs/maf_gas.py", "--config.train.stepz=3"],
            ["unknown config key", "train.stepz; near it are train.steps"],
        ),
        (
            ["--config=configs/maf_gas.py:smoke", "--config.model.args.hiden=(3,)"],
            ["model.args.hiden: 'maf' has no such key; it has hidden, "],
        ),
        (
            ["--config=configs/maf_gas.py:smoke", "--config.data.args.row=3"],
            ["data.args.row: 'synthetic' has no such key; it has rows, "],
        ),
        (
            ["--config=configs/maf_gas.py", "--config.train.steps=3.5"],
            ["train.steps=3.5"],
        ),
        ([], ["--config must have a value"]),
        (
            [
                *("--config=configs/maf_gas.py:smoke", "--config.seed=-1"),
                *("--config.eval.samples=0", "--config.label=../a"),
            ],
            ["3 faults", "seed=-1", "eval.samples=0", "label='../a'"],
        ),
        (["--config=configs/maf_gas.py", "eval"], ["unknown arguments ['eval']"]),
    ],
)
def test_faulty_flags(arguments, words, refuses):
    refuses(arguments, *words)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("maf_gas_distill.py:smoke", "maf_gas.py:ilkd,smoke"),
        ("glow_cifar10_distill.py:skd,official", "glow_cifar10.py:skd,official"),
        ("iaf_bsds300_pdd.py:kl", "maf_bsds300.py:iaf,kl"),
        ("pixelcnn_mnist_pdd.py:x,small", "pixelcnn_mnist.py:iaf,x,small"),
        ("pixelcnn_mnist_pdd.py:resnet_noise_l1", "pixelcnn_mnist.py:resnet,noise,l1"),
        ("srflow_div2k_student.py:x8", "srflow_div2k.py:student,x8"),
        (
            "srflow_bsds300_student.py:srflow_student_l1",
            "srflow_bsds300.py:student,l1",
        ),
        ("waveglow_asterisk_student.py:v1", "waveglow_asterisk.py:student,v1"),
    ],
)
def test_a_file_of_its_own_for_a_student(given, meant):
    file, _, words = given.partition(":")
    message = misread.no_such_file(ROOT / "configs" / file, words)
    assert message.endswith(f"--config={ROOT}/configs/{meant}")
    meant_file, _, meant_words = meant.partition(":")
    module = importlib.import_module(f"configs.{meant_file.removesuffix('.py')}")
    assert module.get_config(meant_words).role == "student"


def test_a_config_away_from_its_clone(tmp_path, monkeypatch):
    # As where the package alone is installed.
    monkeypatch.setitem(sys.modules, "configs", None)
    file = tmp_path / "maf.py"
    file.write_text("from configs import common")
    with pytest.raises(ModuleNotFoundError) as caught:
        runpy.run_path(str(file))
    message = misread.of(caught.value, [f"--config={file}"])
    assert "imports `configs`, which lies in a clone of fdnf" in message


FILES = {
    "syntax.py": ("def get_config(:", "syntax.py, line 1: invalid syntax"),
    "empty.py": ("", "empty.py is no config file: expected a function get_config(arg)"),
    "none.py": ("def get_config(arg=''):\n    pass", "it returns None"),
    "dict.py": (
        "def get_config(arg=''):\n    return {}",
        "an ml_collections.ConfigDict",
    ),
    "absent.py": (
        "\nimport no_such_module_x",
        "absent.py, line 2: ModuleNotFoundError",
    ),
    "fails.py": (
        "def get_config(arg=''):\n    return 1 / 0",
        "line 2: ZeroDivisionError",
    ),
    "binary.py": ("\0", "null bytes"),
    "other.py": (
        "from ml_collections import ConfigDict\n"
        "def get_config(arg=''):\n"
        "    return ConfigDict({'learning_rate': 0.1, 'model': 'resnet'})",
        "learning_rate: there is no such key",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_config(name, tmp_path, refuses):
    content, says = FILES[name]
    (tmp_path / name).write_text(content)
    refuses([f"--config={tmp_path / name}"], says, "See --help.")


@functools.cache
def help_text():
    return command("--help").stdout


@pytest.mark.parametrize(
    "word",
    [
        *("train ", "study ", "eval ", "sample ", "--workdir", "--config", "--mode"),
        *("optim.lr [0.003]: learning rate", "eval.samples", "loss.args.weights"),
        *("--print_config", "train.early_stop"),
    ],
)
def test_help(word):
    assert word in help_text()


def test_the_config_is_printed_and_nothing_done(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ROOT / "configs" / "maf_gas.py"
    given = (f"--config={config}:smoke", "--config.optim.lr=0.25", "--print_config")
    assert flagged.run(*given) == 0
    out, err = capfd.readouterr()
    assert "optim.lr = 0.25  " in out
    assert "# learning rate after the warm-up." in out
    assert err == ""
    # What is wrong is said beside it.
    assert flagged.run(*given, "--config.optim.lr=-1.0") == 2
    out, err = capfd.readouterr()
    assert "optim.lr = -1.0 " in out
    assert "optim.lr=-1.0: expected a finite number above 0" in err
    assert not list(tmp_path.iterdir())


def test_faults_through_the_command(tmp_path):
    """One of the data; the words before it are in `test_faulty_flags`."""
    path, _ = nan_row(tmp_path)
    run = tmp_path / "run"
    done = command(
        *("--config=configs/maf_patches.py:smoke", f"--workdir={run}"),
        *("--config.data.name=npz", f"--config.data.args={{'path': '{path}'}}"),
    )
    words = ("DataError", "'val'", "row 7", "column 1")
    refused(done.returncode, done.stdout, done.stderr, run, *words)


def test_a_whole_run_says_little(tmp_path, monkeypatch, caplog):
    arguments = (
        "--config=configs/maf_patches.py:student,smoke",
        f"--workdir={tmp_path / 'run'}",
        *("--config.model.name=affine", "--config.model.args={}"),
    )
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert "### Affine on synthetic" in done.stdout
    assert len(done.stderr.splitlines()) < 12, done.stderr
    assert "orbax" not in done.stderr
    assert "student 20/20" in done.stderr
    assert str(tmp_path / "run") in done.stderr
    # Again, in this process, without the evaluation.
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(main.study, "report", lambda *_: "")
    with caplog.at_level("INFO", "fdnf"):
        assert flagged.run(*arguments, "--compilation_cache=") == 0
    assert "is finished; nothing to train" in caplog.text
