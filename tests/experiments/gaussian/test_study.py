"""The Gaussian study, tiny: what it trains, writes, redraws and refuses."""

import dataclasses
import json

import matplotlib.image
import numpy as np
import pytest

from fdnf.experiments.gaussian import numbers as gaussian_numbers
from fdnf.experiments.gaussian import proposition_1
from fdnf.experiments.gaussian import study as gaussian_study
from fdnf.experiments.gaussian import training as gaussian_training
from fdnf.experiments.gaussian.training import Settings, StudyError
from tests import floats

TINY = Settings(
    dimensions=(2, 3),
    losses=("kl", "z"),
    seeds=2,
    steps=25,
    samples=60,
    signal_rows=16,
    signal_every=10,
)
FIGURES = ("figure_2.png", "figure_3.png", "proposition_1.png")


@pytest.fixture(scope="module")
def quick():
    """Less of Proposition 1, which has tests of its own."""
    few = proposition_1.cases()[:4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposition_1, "cases", lambda seed: few)
        patch.setattr(gaussian_study, "PROPOSITION_ROWS", 2048)
        patch.setattr(gaussian_study, "PROPOSITION_TEACHERS", 4)
        patch.setattr(gaussian_study, "PROPOSITION_DIMENSIONS", (2, 4))
        yield patch


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, quick):
    path = tmp_path_factory.mktemp("gaussian")
    gaussian_study.run(TINY, path)
    return path


def results_of(workdir):
    return json.loads((workdir / gaussian_study.RESULTS).read_text())


def test_files(workdir):
    assert {path.name for path in workdir.iterdir()} == {
        *FIGURES,
        *(gaussian_study.RESULTS, gaussian_study.ARRAYS, gaussian_study.TABLE),
    }
    for name in FIGURES:
        picture = matplotlib.image.imread(workdir / name)
        assert min(picture.shape[:2]) > 400
        assert picture[..., :3].std() > 0.05


def test_results_and_table(workdir):
    results = results_of(workdir)
    assert results["settings"] == json.loads(json.dumps(dataclasses.asdict(TINY)))
    assert set(results["cells"]) == {
        f"{loss}/{dim}" for loss in ("kl", "z") for dim in (2, 3)
    }
    table = (workdir / gaussian_study.TABLE).read_text()
    cell = results["cells"]["z/3"]
    assert np.shape(cell["seeds"]["ks"]) == (2,)
    over = cell["over_seeds"]["difference"]
    assert f"{over['mean']:+.2f} ± {over['half_width']:.2f}" in table
    middle, low, high = (f(cell["seeds"]["reverse_kl"]) for f in (np.median, min, max))
    assert f"{middle:.2g} ({low:.2g} to {high:.2g})" in table
    for case in results["proposition_1"]["cases"]:
        assert abs(case["found"] - case["exact"]) <= 4 * case["error"] + 1e-9
        assert case["name"].replace("<", "&lt;") in table
    assert "0 of 2" in table


def test_arrays_are_what_the_numbers_say(workdir):
    cells = results_of(workdir)["cells"]
    with np.load(workdir / gaussian_study.ARRAYS) as arrays:
        assert arrays["kl/3/student"].shape == (2, 60)
        for name, cell in cells.items():
            gap = arrays[f"{name}/student"].mean(1) - arrays[f"{name}/teacher"].mean(1)
            floats.assert_close(gap, cell["seeds"]["difference"], rtol=1e-3)
        # Before the first update, every tenth, and after the last.
        np.testing.assert_array_equal(arrays["kl/2/steps"], [0, 10, 20, 25])
        for centre in ("teacher_mode", "student_mean"):
            signal = arrays[f"kl/2/signal/{centre}"]
            assert signal.shape == (4, 2)
            assert np.all((signal >= 0) & (signal <= 1))
        assert not [name for name in arrays if name.startswith("z/") and "sig" in name]


def test_again_draws_and_does_not_train(workdir, quick):
    def never(*_):
        raise AssertionError("trained again")

    (workdir / "figure_3.png").unlink()
    before = (workdir / gaussian_study.RESULTS).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaussian_training, "train", never)
        gaussian_study.run(TINY, workdir, ("student_mean",))
        assert (workdir / "figure_3.png").exists()
        with pytest.raises(StudyError, match=r"steps=25.* 26: give another --workdir"):
            gaussian_study.run(dataclasses.replace(TINY, steps=26), workdir)
    assert (workdir / gaussian_study.RESULTS).read_bytes() == before


def test_training_learns_and_pairs_the_losses():
    settings = dataclasses.replace(TINY, steps=600, signal_every=300, seed=3)
    found = {
        loss: gaussian_training.train(settings, loss, 2)
        for loss in gaussian_training.LOSSES
    }
    first = found["kl"]
    assert not np.allclose(first.teacher_R[0], first.teacher_R[1])
    floats.assert_close(first.teacher_mu, 2.0)
    start = gaussian_numbers.kl(
        np.zeros((2, 2)),
        np.tile(np.eye(2), (2, 1, 1)),
        first.teacher_mu,
        first.teacher_R,
    )
    for trained in found.values():
        floats.assert_close(trained.teacher_R, first.teacher_R)
        floats.assert_close(trained.teacher_x, first.teacher_x)
        end = gaussian_numbers.kl(
            *(trained.student_mu, trained.student_R),
            *(trained.teacher_mu, trained.teacher_R),
        )
        assert np.all(end < 0.2 * start)
        assert trained.loss.shape == (2, 2)
    assert set(found["kl_path"].signal) == {"teacher_mode", "student_mean"}


def test_a_diverged_seed_is_shown(tmp_path, quick):
    whole = gaussian_training.train

    def one_lost(*arguments):
        trained = whole(*arguments)
        trained.student_R[1] = np.nan
        return trained

    settings = dataclasses.replace(TINY, dimensions=(2,), losses=("kl",), steps=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaussian_training, "train", one_lost)
        table = gaussian_study.run(settings, tmp_path)
    assert "1 of 2 (seed 1)" in table
    assert "(n=1)" in table
    assert results_of(tmp_path)["cells"]["kl/2"]["seeds"]["ks"][1] is None


def test_command_line(workdir, quick, capsys):
    flags = [
        *(f"--workdir={workdir}", "--dimensions=2,3", "--losses=kl,z", "--seeds=2"),
        *("--steps=25", "--samples=60", "--signal_rows=16", "--signal_every=10"),
    ]
    assert gaussian_study.main([*flags, "--centre=teacher_mode"]) == 0
    assert "# Gaussian teachers and students" in capsys.readouterr().out
    assert gaussian_study.main([*flags, "--lr=0.1"]) == 2
    assert "lr=0.005" in capsys.readouterr().err
    assert gaussian_study.main([*flags, "--centre=mode"]) == 2
    assert "teacher_mode" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        gaussian_study.main(["--help"])
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
