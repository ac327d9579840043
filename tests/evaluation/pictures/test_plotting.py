"""Figures are written, hold something, and refuse what they cannot draw.

Curves, levels and marginals, and what all figures share.
"""

import functools
import math
import xml.etree.ElementTree as xml

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fdnf.evaluation.pictures import curves, levels, marginals, plotting

RNG = np.random.default_rng(0)


def pixels(path, width, height):
    """Grey pixels of a PNG of the given size in inches, which must not be blank."""
    image = Image.open(path)
    assert image.format == "PNG"
    assert image.size == pytest.approx(
        (width * plotting.DPI, height * plotting.DPI), abs=2
    )
    grey = np.asarray(image.convert("L"), np.float64)
    assert grey.std() > 8
    return grey


def has_color(path, color):
    """Whether some pixel is of a colour given as #rrggbb."""
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    image = np.asarray(Image.open(path).convert("RGB"), int)
    return bool((np.abs(image - wanted).max(axis=-1) <= 2).any())


def test_training_curves(tmp_path):
    steps = np.arange(0, 1000, 10)
    rise = -np.exp(-steps / 100.0)
    given = {
        "teacher": (steps, rise),
        "ilkd": (steps, rise - 0.1 + 0.01 * RNG.normal(size=(3, 100))),
        "skd": (jnp.asarray(steps), jnp.asarray(np.where(steps > 500, np.nan, rise))),
    }
    path = curves.training_curves(given, tmp_path / "new" / "c.png", title="MAF")
    assert path == tmp_path / "new" / "c.png"
    pixels(path, 7.2, 4.0)
    for label in given:
        assert has_color(path, plotting.COLORS[label])


def test_training_curves_zoom_past_the_start():
    steps = np.arange(100)
    values = np.where(steps < 5, -1e6, steps / 100.0)[None]
    low, high = curves.late_range([(steps, values)])
    assert -0.1 < low < 0.15
    assert 0.95 < high < 1.1
    values[0, 50] = 1e9
    assert curves.late_range([(steps, values)])[1] < 10


def test_one_evaluation_is_a_curve(tmp_path):
    curves.training_curves({"a": ([100], [1.0])}, tmp_path / "c.png")
    pixels(tmp_path / "c.png", 7.2, 4.0)


def test_level_distances(tmp_path):
    given = {"student": ([0.6, 0.7, 0.8], [0.1, 0.1, 0.1]), "ilkd": [0.3, 0.2, 0.1]}
    path = levels.draw(given, tmp_path / "l.png", levels=["1", "2", "3"])
    pixels(path, 6.4, 4.0)
    for label in given:
        assert has_color(path, plotting.COLORS[label])


def test_marginals(tmp_path):
    data = RNG.normal(size=(2000, 5))
    exploded = np.where(data > 1, np.inf, data)
    samples = {"data": data, "teacher": jnp.asarray(data), "student": exploded}
    path = marginals.marginals(samples, tmp_path / "m.png", pairs=[(0, 1), (4, 2)])
    pixels(path, 1.1 + 1.9 * 3, 0.7 + 1.9 * 2)


def test_one_feature_has_a_histogram(tmp_path):
    rng = np.random.default_rng(0)
    samples = {"data": rng.normal(size=(400, 1)), "teacher": np.full((9, 1), np.nan)}
    path = marginals.marginals(samples, tmp_path / "m.png", title="title")
    # Something is drawn in the grey of the data.
    image = np.asarray(Image.open(path).convert("RGB"), int)
    assert (np.abs(image - 0xBB).max(axis=-1) < 2).mean() > 0.02
    # A constant column has limits, too.
    marginals.marginals({"data": np.ones((4, 1))}, path)


def test_densities_are_heat_maps_beside_the_data(tmp_path):
    def normal(shift):
        def log_prob(x):
            return -0.5 * ((x - shift) ** 2).sum(1) - np.log(2 * np.pi)

        return log_prob

    points = np.random.default_rng(0).normal(size=(20_000, 2))
    path = marginals.density_maps(
        points,
        {"teacher": normal(0), "student": normal(np.array([0, 3.0]))},
        tmp_path / "density.png",
        box=((-4, 4), (-4, 4)),
        names=("height", "weight"),
    )
    grey = pixels(path, 1.0 + 2.5 * 3, 2.9)
    # How high the light is in each: the student's mass lies above the middle.
    panels = np.split(np.where(grey < 235, grey, 0)[40:370, 70:1240], 3, axis=1)
    heights = [np.average(np.arange(330), weights=panel.sum(1)) for panel in panels]
    assert abs(heights[0] - heights[1]) < 15
    assert heights[2] < heights[1] - 50


def test_marginals_choose_pairs_over_the_features():
    assert marginals._spread_pairs(63) == [(0, 1), (30, 31), (61, 62)]
    assert marginals._spread_pairs(2) == [(0, 1)]


def test_pixel_patches(tmp_path):
    samples = {"data": RNG.normal(size=(40, 63)), "teacher": RNG.normal(size=(7, 63))}
    path = marginals.pixel_patches(samples, tmp_path / "p.png", columns=8, rows=2)
    pixels(path, 1.1 + 0.46 * 8, 0.4 + (0.46 * 2 + 0.16) * 2)


def test_mosaic_restores_the_last_pixel_and_the_order():
    patches = np.arange(4 * 3, dtype=float).reshape(4, 3)
    canvas = marginals.mosaic(patches[:3], side=2, rows=2, columns=2)
    assert canvas.shape == (5, 5)
    # Patch 1 is 3, 4, 5 and minus their sum, to the right of patch 0.
    np.testing.assert_array_equal(canvas[:2, 3:], [[3, 4], [5, -12]])
    np.testing.assert_array_equal(canvas[3:, :2], [[6, 7], [8, -21]])
    assert np.isnan(canvas[3:, 3:]).all()
    assert np.isnan(canvas[2]).all()


def test_long_lines_of_an_svg_are_thinned():
    steps = np.arange(10_000.0)
    values = np.where(steps < 5, np.nan, steps)
    at, kept = curves.thinned(steps, values, 50)
    assert len(at) == 50
    assert (at[0], at[-1]) == (5, 9999)
    np.testing.assert_array_equal(at, kept)


def test_a_run_is_its_column_of_a_log():
    rows = [{"nll": [1.0, 2.0]}, {"nll": [None, 3.0]}, {"nll": math.inf}, {"nll": []}]
    nan, inf = math.nan, math.inf
    np.testing.assert_array_equal(curves.values(rows, "nll", 0), [1, nan, inf, nan])
    np.testing.assert_array_equal(curves.values(rows, "nll", 1), [2, 3, inf, nan])


def test_svg_has_a_panel_for_what_is_finite_and_comes_again():
    steps, gone = np.arange(3.0), np.full(3, np.nan)
    lines = [curves.Line(steps, steps, "#123456"), curves.Line(steps, gone, "#654321")]
    panels = {"up (nats)": lines, "lost (nats)": lines[1:]}
    svg = curves.svg(panels)
    assert xml.fromstring(svg).tag.endswith("svg")
    assert b">up (nats)<" in svg
    assert b">training step<" in svg
    assert b"lost" not in svg
    assert svg == curves.svg(panels)


def test_colors_that_come_again_are_dashed():
    found = curves.looks([f"w={n}" for n in range(12)] + ["student"])
    assert len(set(found.values())) == 13


@pytest.mark.parametrize("count", [1, 2, 9])
def test_end_labels_do_not_overlap(tmp_path, count):
    ends = {f"run {i}": (0.5 + 1e-3 * i, "#000000") for i in range(count)}
    with plotting.saved(tmp_path / "e.png", 6.0, 3.0) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1])
        plotting.label_ends(figure, axes, ends)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axes.texts]
    middles = [(box.y0 + box.y1) / 2 for box in boxes]
    assert middles == sorted(middles)
    assert all(np.diff(middles) >= 12 * figure.dpi / 72)
    assert axes.bbox.y0 <= middles[0]
    assert middles[-1] <= axes.bbox.y1 + 1


def test_known_labels_keep_their_color():
    first = plotting.colors(["student", "mine", "Teacher"])
    second = plotting.colors(["teacher", "student"])
    assert first["student"] == second["student"]
    assert first["Teacher"] == second["teacher"]
    assert len(set(first.values())) == 3
    assert plotting.colors(["ILKD student"])["ILKD student"] == plotting.COLORS["ilkd"]


@pytest.mark.parametrize(
    ("draw", "given", "message"),
    [
        (curves.training_curves, {}, "empty"),
        (curves.training_curves, {"a": ([1, 2], [1.0])}, "curve 'a'"),
        (levels.draw, {}, "0 students"),
        (levels.draw, {"a": [1.0], "b": [1.0, 2.0]}, "levels"),
        (marginals.marginals, {}, "shapes"),
        (marginals.marginals, {"data": np.ones((4, 0))}, "at least one feature"),
        (
            functools.partial(marginals.density_maps, None, box=((0, 1), (0, 1))),
            {},
            "0 densities, points of shape",
        ),
        (marginals.pixel_patches, {"data": np.ones((4, 60))}, "square less one"),
        (
            marginals.pixel_patches,
            {"data": np.ones((4, 63)), "b": np.ones((4, 8))},
            "equally many features",
        ),
    ],
)
def test_wrong_inputs_are_refused(tmp_path, draw, given, message):
    with pytest.raises(ValueError, match=message):
        draw(given, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
