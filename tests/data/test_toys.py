import numpy as np
import pytest

from fdnf.data import build, toys
from fdnf.data.tabular import DataError

TOYS = ("two_moons", "rings", "checkerboard", "eight_gaussians")


@pytest.mark.parametrize("name", TOYS)
def test_form_and_scale(name):
    data = build.DATASETS[name](rows=4000)
    assert [len(part) for part in (data.train, data.val, data.test)] == [
        *(4000, 1000, 1000)
    ]
    assert data.event == (2,)
    assert np.abs(data.train.mean(0)).max() < 0.1
    spread = data.train.std(0)
    assert 0.4 < spread.min() <= spread.max() < 2.1
    again = build.DATASETS[name](rows=4000)
    assert np.array_equal(again.train, data.train)
    other = build.DATASETS[name](rows=4000, seed=1)
    assert not np.array_equal(other.train, data.train)
    assert not {row.tobytes() for row in data.val} & {r.tobytes() for r in data.train}


def test_two_moons_lie_on_half_circles():
    x = toys.two_moons(rows=2000, noise=1e-4).train.astype(float)
    upper = np.hypot(x[:, 0] + 0.5, x[:, 1] + 0.25)
    lower = np.hypot(x[:, 0] - 0.5, x[:, 1] - 0.25)
    on_upper, on_lower = np.abs(upper - 1) < 1e-3, np.abs(lower - 1) < 1e-3
    assert (on_upper | on_lower).all()
    assert (x[on_upper & ~on_lower, 1] > -0.26).all()
    assert (x[on_lower & ~on_upper, 1] < 0.26).all()
    assert 0.4 < on_upper.mean() < 0.6


def test_rings_have_the_same_number_of_points():
    radius = np.linalg.norm(toys.rings(rows=8000, noise=0.01).train, axis=1)
    for each in toys.RADII:
        assert abs((np.abs(radius - each) < 0.1).mean() - 0.25) < 0.02


def test_checkerboard_is_uniform_on_half_of_the_squares():
    x = toys.checkerboard(rows=16_000).train
    assert np.abs(x).max() <= 2
    counts, _, _ = np.histogram2d(*x.T, bins=4, range=[[-2, 2], [-2, 2]])
    board = np.indices((4, 4)).sum(0) % 2 == 0
    assert (counts[~board] == 0).all()
    assert np.abs(counts[board] / len(x) - 1 / 8).max() < 0.01


def test_eight_gaussians_have_the_noise_asked_for():
    x = toys.eight_gaussians(rows=16_000, noise=0.1).train
    turn = np.round(np.arctan2(x[:, 1], x[:, 0]) / (np.pi / 4)) * np.pi / 4
    away = x - toys.CIRCLE * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    assert abs(away.std() - 0.1) < 0.005
    assert len(np.unique(np.round(turn / (np.pi / 4)) % 8)) == 8


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"noise": 0.0}, {"noise": np.nan}])
def test_wrong_numbers_are_refused(wrong):
    (key,) = wrong
    with pytest.raises(DataError, match=f"rings: {key}="):
        toys.rings(**wrong)
