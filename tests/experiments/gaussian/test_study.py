"""The Gaussian study, tiny: what it trains, writes, redraws and refuses."""

import dataclasses
import json

import matplotlib.image
import numpy as np
import pytest

from fdnf.evaluation.core import stored
from fdnf.experiments.gaussian import numbers, study, training
from fdnf.experiments.gaussian.training import Settings, StudyError
from tests import floats
from tests.evaluation import whole

TINY = Settings(
    dimensions=(2, 3),
    losses=("kl", "z"),
    seeds=2,
    steps=20,
    samples=60,
    signal_rows=16,
    signal_every=10,
)
FIGURES = ("figure_2.png", "figure_3.png", "proposition_1.png")


@pytest.fixture(scope="module")
def quick():
    """Fewer random teachers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "TEACHERS", 4)
        patch.setattr(study, "DIMENSIONS", (2, 4))
        yield patch


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, quick):
    path = tmp_path_factory.mktemp("gaussian")
    study.run(TINY, path)
    return path


def results_of(workdir, loss, dim):
    """Metric to the values of all seeds."""
    results = whole.of_method(stored.read(workdir / study.RESULTS / f"T_{dim}"), loss)
    return {s.metric: [r.get(s.metric).value for r in results] for s in results[0][1]}


def test_files(workdir):
    assert {path.name for path in workdir.iterdir()} == {
        *FIGURES,
        *(study.RESULTS, study.ARRAYS, study.TABLE, study.SETTINGS),
    }
    for name in FIGURES:
        picture = matplotlib.image.imread(workdir / name)
        assert min(picture.shape[:2]) > 400
        assert picture[..., :3].std() > 0.05


def test_results_and_table(workdir):
    settings = json.loads((workdir / study.SETTINGS).read_text())
    assert settings == json.loads(json.dumps(dataclasses.asdict(TINY)))
    found = {(r.run.method, r.run.settings["T"]) for r in stored.read(workdir)}
    assert found == {(loss, dim) for loss in ("kl", "z") for dim in (2, 3)}
    table = (workdir / study.TABLE).read_text()
    cell = results_of(workdir, "z", 3)
    one, two = cell["difference"]
    # Of two seeds: t of one degree of freedom times |a - b| / 2.
    half_width = 12.7062 * abs(one - two) / 2
    assert f"{(one + two) / 2:+.2f} ± {half_width:.2f}" in table
    middle, low, high = (f(cell["reverse_kl"]) for f in (np.median, min, max))
    assert f"{middle:.2g} ({low:.2g} to {high:.2g})" in table
    assert f"{sum(v > 0 for v in cell['difference'])} of 2" in table
    assert "R_ij ~ N(0, 1/T)" in table


def test_arrays_are_what_the_numbers_say(workdir):
    with np.load(workdir / study.ARRAYS) as arrays:
        assert arrays["kl/3/student"].shape == (2, 60)
        for loss, dim in (("kl", 2), ("kl", 3), ("z", 2), ("z", 3)):
            name = f"{loss}/{dim}"
            gap = arrays[f"{name}/student"].mean(1) - arrays[f"{name}/teacher"].mean(1)
            cell = results_of(workdir, loss, dim)
            floats.assert_close(gap, cell["difference"], rtol=1e-3)
        # Before the first update, and every tenth.
        np.testing.assert_array_equal(arrays["kl/2/steps"], [0, 10, 20])
        for centre in ("teacher_mode", "student_mean"):
            signal = arrays[f"kl/2/signal/{centre}"]
            assert signal.shape == (3, 2)
            assert np.all((signal >= 0) & (signal <= 1))
        assert not [name for name in arrays if name.startswith("z/") and "sig" in name]


def test_again_draws_and_does_not_train(workdir, quick):
    def never(*_):
        raise AssertionError("trained again")

    (workdir / "figure_3.png").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", never)
        study.run(TINY, workdir, ("student_mean",))
        assert (workdir / "figure_3.png").exists()
        with pytest.raises(StudyError, match=r"steps=20.* 26: give another --workdir"):
            study.run(dataclasses.replace(TINY, steps=26), workdir)


def test_training_learns_and_pairs_the_losses():
    settings = dataclasses.replace(TINY, steps=600, signal_every=300, seed=3)
    found = {loss: training.train(settings, loss, 2) for loss in training.LOSSES}
    first = found["kl"]
    assert not np.allclose(first.teacher_R[0], first.teacher_R[1])
    floats.assert_close(first.teacher_mu, 2.0)
    start = numbers.kl(
        np.zeros((2, 2)),
        np.tile(np.eye(2), (2, 1, 1)),
        first.teacher_mu,
        first.teacher_R,
    )
    for trained in found.values():
        floats.assert_close(trained.teacher_R, first.teacher_R)
        floats.assert_close(trained.teacher_x, first.teacher_x)
        end = numbers.kl(
            *(trained.student_mu, trained.student_R),
            *(trained.teacher_mu, trained.teacher_R),
        )
        assert np.all(end < 0.2 * start)
        assert trained.loss.shape == (2, 2)
    assert set(found["kl_path"].signal) == {"teacher_mode", "student_mean"}


def test_a_diverged_seed_is_shown(tmp_path, quick):
    whole = training.train

    def one_lost(*arguments):
        trained = whole(*arguments)
        trained.student_R[1] = np.nan
        return trained

    settings = dataclasses.replace(TINY, dimensions=(2,), losses=("kl",), steps=15)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", one_lost)
        table = study.run(settings, tmp_path)
    assert "(n=1) (1 of 2)" in table
    assert np.isnan(results_of(tmp_path, "kl", 2)["ks"][1])
    with np.load(tmp_path / study.ARRAYS) as arrays:
        # After the last update, too.
        np.testing.assert_array_equal(arrays["kl/2/steps"], [0, 10, 15])


def test_command_line(workdir, quick, capsys):
    flags = [
        *(f"--workdir={workdir}", "--dimensions=2,3", "--losses=kl,z", "--seeds=2"),
        *("--steps=20", "--samples=60", "--signal_rows=16", "--signal_every=10"),
    ]
    assert study.main([*flags, "--centre=teacher_mode"]) == 0
    assert "# Gaussian teachers and students" in capsys.readouterr().out
    assert study.main([*flags, "--lr=0.1"]) == 2
    assert "lr=0.005" in capsys.readouterr().err
    assert study.main([*flags, "--centre=mode"]) == 2
    assert "teacher_mode" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        study.main(["--help"])
    assert left.value.code == 0
    assert "expansion signal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"losses": ("kl", "w")}, "expected some of .*'kl_path'"),
        ({"losses": ()}, "expected some of"),
        ({"init": "zeros"}, "'zeros'.*identity"),
        ({"seeds": 0}, "seeds=0"),
        ({"dimensions": (4, 0)}, "dimensions of at least 1"),
    ],
)
def test_settings_that_make_no_sense(changes, told):
    with pytest.raises(StudyError, match=told):
        dataclasses.replace(TINY, **changes)
