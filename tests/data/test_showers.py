import numpy as np
import pytest
from scipy import stats

from fdnf.data import build, showers
from fdnf.data.tabular import DataError
from tests.floats import assert_close

ROWS = 6000


def drawn(cells, energy=None, position=(0.0, 0.0), rows=ROWS, **given):
    rng = np.random.default_rng(7)
    energies = np.full(rows, energy) if energy else 10 * 10 ** rng.random(rows)
    places = np.broadcast_to(position, (rows, 2))
    return showers.simulate(rng, energies, places, showers.layout(cells), **given)


def names(cells):
    return showers.names(showers.layout(cells))


@pytest.mark.parametrize("cells", showers.LAYOUTS)
def test_layouts_have_as_many_cells_as_they_say(cells):
    layers = showers.layout(cells)
    assert sum(layer.cells for layer in layers) == cells == len({*names(cells)})
    for layer, behind in zip(layers[:-1], layers[1:], strict=True):
        assert layer.start < layer.stop == behind.start
        assert layer.edges[0] == 0
        assert (np.diff(layer.edges) > 0).all()


def test_segments_of_the_largest_are_those_of_the_challenge():
    found = [(len(each.edges) - 1, each.sectors) for each in showers.layout(368)]
    assert found == [(8, 1), (16, 10), (19, 10), (5, 1), (5, 1)]


def test_mean_layers_follow_the_gamma_density():
    made = drawn(28, energy=40.0, threshold=1e-9)
    layers = showers.layout(28)
    # Given T and alpha, layer by layer: noise is a sqrt(m) in a layer, and the cells
    # reach to 4 R_M only.
    expected = showers.mean_layers(made.energy, made.depth, made.shape, layers)
    found = made.cells.sum(axis=0) / expected.sum(axis=0)
    assert (found[:20] > 0.95).all()
    assert (found <= 1.01).all()
    # Against scipy's density of t, at the middle of thin layers.
    slope = (made.shape - 1) / made.depth
    middle = np.array([0.5 * (each.start + each.stop) for each in layers])
    wide = layers[0].stop - layers[0].start
    density = stats.gamma.pdf(middle, made.shape[:, None], scale=1 / slope[:, None])
    mean = (40.0 * wide * density).mean(axis=0)
    np.testing.assert_allclose(expected.mean(axis=0)[2:], mean[2:], rtol=0, atol=0.03)
    # The maximum of a shower is at T.
    assert abs(middle[np.argmax(mean)] - made.depth.mean()) < wide


def test_parameters_fluctuate_together_as_the_paper_says():
    made = drawn(28, energy=50.0, rows=40_000)
    found = np.log([made.depth, made.shape])
    mean, spread, correlation = showers.profile_moments(made.energy[:1])
    log = np.log(50.0 / 5.36e-3)
    assert_close(mean[0, 0], np.log(-1.396 + 1.007 * log), 1e-12)
    assert_close(spread[0, 1], 1 / (-0.08442 + 0.7904 * log), 1e-12)
    np.testing.assert_allclose(found.mean(axis=1), mean[0], atol=0.003)
    np.testing.assert_allclose(found.std(axis=1) / spread[0], 1, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(found)[0, 1], correlation[0], atol=0.02)
    # Energies differ: so do depths.
    assert drawn(28, energy=100.0).depth.mean() > drawn(28, energy=10.0).depth.mean()


@pytest.mark.parametrize("cells", [28, 368])
def test_the_sum_of_all_cells_is_linear_in_the_energy(cells):
    shares = []
    for energy in (10.0, 30.0, 90.0):
        made = drawn(cells, energy=energy, rows=2000)
        total = made.cells.sum(axis=1, dtype=np.float64)
        shares.append(total.mean() / energy)
        # Sampling and constant term; what leaks fluctuates a little, too.
        least = np.hypot(showers.STOCHASTIC / energy**0.5, showers.CONSTANT)
        assert 0.9 * least < total.std() / total.mean() < 1.5 * least
    np.testing.assert_allclose(shares, 0.98, atol=0.015)
    # Below the threshold is more of a weak shower.
    assert np.ptp(shares) < 0.025


def test_shares_of_cells_are_those_of_drawn_points():
    layer = showers.layout(368)[1]
    position, radius = np.array([0.15, -0.1]), 0.2
    (found,) = showers._shares(position[None], np.array([radius]), layer)
    rng = np.random.default_rng(0)
    u, turn = rng.random(400_000), rng.uniform(0, 2 * np.pi, 400_000)
    away = radius * np.sqrt(u / (1 - u))
    x, y = position[0] + away * np.cos(turn), position[1] + away * np.sin(turn)
    angle = np.mod(np.arctan2(y, x), 2 * np.pi)
    ends = np.linspace(0, 2 * np.pi, layer.sectors + 1)
    counts, _, _ = np.histogram2d(np.hypot(x, y), angle, [layer.edges, ends])
    error = np.sqrt(np.maximum(counts, 1)).reshape(-1)
    assert (np.abs(found * len(u) - counts.reshape(-1)) < 5 * error).all()
    # Of sectors all together as of whole rings.
    (whole,) = showers._shares(
        position[None], np.array([radius]), layer._replace(sectors=1)
    )
    assert_close(found.reshape(-1, layer.sectors).sum(axis=1), whole, 1e-5)


def test_the_position_moves_the_centroid():
    def centroid(position):
        made = drawn(368, 50.0, position, rows=500)
        index = np.array([int(name.rsplit("s", 1)[1]) for name in names(368)])
        inner = np.zeros(368, bool)
        inner[8 : 8 + 160 + 190] = True
        angle = (index + 0.5) * 2 * np.pi / 10
        weights = made.cells.mean(axis=0) * inner
        return np.array([weights @ np.cos(angle), weights @ np.sin(angle)]) / sum(
            weights
        )

    np.testing.assert_allclose(centroid((0, 0)), 0, atol=0.02)
    right, up = centroid((0.2, 0)), centroid((0, 0.1))
    assert right[0] > 0.2 > 0.02 > abs(right[1])
    assert up[1] > 0.1 > 0.02 > abs(up[0])


@pytest.mark.parametrize(
    ("cells", "low", "high"), [(28, 0.01, 0.1), (96, 0.05, 0.2), (368, 0.2, 0.5)]
)
def test_cells_are_sparse_and_above_the_threshold(cells, low, high):
    made = drawn(cells, rows=1000)
    assert made.cells.dtype == np.float32
    assert made.cells[made.cells > 0].min() >= np.float32(showers.THRESHOLD)
    empty = (made.cells == 0).mean(axis=1)
    assert low < empty.mean() < high
    # The more energy, the fewer cells are empty.
    assert np.corrcoef(np.log(made.energy), empty)[0, 1] < -0.4
    # A higher threshold empties some, and changes none of the others.
    higher = drawn(cells, rows=1000, threshold=0.05).cells
    kept = higher > 0
    assert kept.mean() < (made.cells > 0).mean() - 0.05
    assert (higher[kept] == made.cells[kept]).all()


def test_the_data_set():
    data = build.DATASETS["showers"](rows=300, cells=96)
    assert [len(part) for part in (data.train, data.val, data.test)] == [300, 30, 30]
    assert data.event == (96,)
    assert data.columns.names == names(96)
    assert data.condition_columns.names == ("energy", "x", "y")
    assert "10 to 100 GeV" in data.source
    again = build.DATASETS["showers"](rows=300, cells=96)
    assert (again.train == data.train).all()
    assert (again.conditions[1] == data.conditions[1]).all()
    other = build.DATASETS["showers"](rows=300, cells=96, seed=1)
    assert not (other.val == data.val).all()
    assert not {row.tobytes() for row in data.val} & {r.tobytes() for r in data.train}
    # Stored in thresholds; 0 where there is none.
    assert data.train[data.train > 0].min() >= 1 - 1e-6
    assert (data.train == 0).any()
    noise = np.random.default_rng(0).random((300, 96))
    y, _ = data.columns.dequantise(noise, data.train)
    cells = data.columns.decode(y)
    assert ((cells == 0) == (data.train == 0)).all()
    np.testing.assert_allclose(cells, data.train * showers.THRESHOLD, rtol=1e-4, atol=0)
    assert np.abs(np.asarray(y).mean(axis=0)).max() < 0.1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cells": 100}, "cells=100; there are layouts of 28, 96, 184, 368 cells"),
        ({"rows": 5}, "rows=5; expected a whole number from 20"),
        ({"rows": True}, "rows=True; expected a whole"),
        ({"energies": (100, 10)}, "expected two in GeV, the lesser first"),
        ({"threshold": 0}, "threshold=0 GeV; expected above 0"),
    ],
)
def test_what_cannot_be_is_refused(given, said):
    with pytest.raises(DataError, match=said):
        showers.showers(**given)
