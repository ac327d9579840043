"""Showers in a calorimeter: the energies of its cells, given energy and position.

A shower of an electron or photon of energy E, by Grindhammer and Peters (2000), in
units of a radiation length X0 along its axis and of a Moliere radius R_M across it,
with y = E / Ec:

    dE(t) ~ (b t)^(alpha - 1) exp(-b t) b dt,  b = (alpha - 1) / T
    (ln T, ln alpha) normal, correlated, with means and spreads linear in ln y
    f(r) = p 2 r Rc^2 / (r^2 + Rc^2)^2 + (1 - p) 2 r Rt^2 / (r^2 + Rt^2)^2
    Rc, Rt and p change with tau = t / <t>, the depth within this shower

The calorimeter is cut into layers, these into rings about its axis, and these into
sectors; the shower comes down parallel to the axis, beside it. A cell of mean energy m
measures a gamma variable of mean m and variance a^2 m, so that the sum of all has the
stochastic resolution a / sqrt(E) of a sampling calorimeter, beside which the response
to a whole shower varies by a constant term. What is below a threshold is 0.

So the truth is known: `mean_layers` is the longitudinal profile of given (T, alpha).

References: Grindhammer and Peters (2000), The parameterized simulation of
electromagnetic showers in homogeneous and sampling calorimeters, hep-ex/0001020; the
longitudinal numbers are those of HGCAL-FastShower (shower_cfg.py), the radial ones of
the paper, which GFlash in Geant4 has too. The segments of 368 cells are those of data
set 1, photons, of the CaloChallenge (Krause et al., 2024), arXiv:2410.21611.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from fdnf.data import tabular
from fdnf.data.tabular import DataError, Tabular

ROWS = 100_000
# Of the absorber: critical energy in GeV, and a mean charge for the radial profile.
CRITICAL, CHARGE = 5.36e-3, 74.0
# Mean of T and of alpha, and one over the spreads of their logarithms, each as
# (constant, slope in ln y); and the correlation.
MEAN_T, MEAN_ALPHA = (-1.396, 1.007), (-0.0433, 0.540)
SPREAD_T, SPREAD_ALPHA = (-2.506, 1.245), (-0.08442, 0.7904)
CORRELATION = (0.7858, -0.0232)
# Stochastic term a in sqrt(GeV), the constant term, and the threshold of a cell in GeV.
STOCHASTIC, CONSTANT, THRESHOLD = 0.1, 0.007, 5e-3
# Energies in GeV, log-uniform; the impact's square about the axis, half its side in
# R_M.
ENERGIES, REACH = (10.0, 100.0), 0.2
# Rows at once, so that what is in work stays in the cache.
_CHUNK = 2048
# Of the rule over the angle, a radian: the core is narrow beside the impact's reach.
POINTS = 6


class Layer(NamedTuple):
    """A slice of the calorimeter, cut into rings and these into sectors.

    Attributes:
        start: depth of its front, in X0.
        stop: of its back.
        edges: radii of its rings, from 0 on, in R_M.
        sectors: of each ring, the first beginning at the x axis.
    """

    start: float
    stop: float
    edges: tuple[float, ...]
    sectors: int

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return (len(self.edges) - 1) * self.sectors


class Showers(NamedTuple):
    """Showers and what they were made of.

    Attributes:
        cells: energies in GeV, float32 `[rows, cells]`, 0 below the threshold.
        energy: of the particle, in GeV, `[rows]`.
        position: of the impact in R_M, `[rows, 2]`.
        depth: T, of the maximum in X0, `[rows]`.
        shape: alpha, `[rows]`.
    """

    cells: np.ndarray
    energy: np.ndarray
    position: np.ndarray
    depth: np.ndarray
    shape: np.ndarray


def _rings(count: int, radius: float) -> tuple[float, ...]:
    """Finer towards the axis, where the energy is."""
    return tuple(radius * (k / count) ** 1.6 for k in range(count + 1))


def _even(count: int, depth: float, rings: tuple[float, ...], sectors: int):
    ends = [depth * k / count for k in range(count + 1)]
    return tuple(
        Layer(start, stop, rings, sectors)
        for start, stop in zip(ends[:-1], ends[1:], strict=True)
    )


# By the number of cells.
LAYOUTS: dict[int, tuple[Layer, ...]] = {
    28: _even(28, 26.0, (0.0, 4.0), 1),
    96: _even(12, 24.0, (0.0, 0.5, 4.0), 4),
    184: _even(23, 23.0, (0.0, 0.5, 4.0), 4),
    # Presampler, strips, middle, back, and the first layer behind.
    368: (
        Layer(0.0, 2.0, _rings(8, 4.0), 1),
        Layer(2.0, 6.5, _rings(16, 4.0), 10),
        Layer(6.5, 22.5, _rings(19, 5.0), 10),
        Layer(22.5, 25.0, _rings(5, 5.0), 1),
        Layer(25.0, 35.0, _rings(5, 5.0), 1),
    ),
}


def showers(
    data_dir: str | None = None,
    rows: int | None = None,
    cells: int = 28,
    energies: tuple[float | int, float | int] = ENERGIES,
    threshold: float | int = THRESHOLD,
    seed: int = 0,
) -> Tabular:
    """Energies of a calorimeter's cells in GeV, given energy and position of impact.

    The conditions are the energy of the particle in GeV, and x and y of its impact in
    R_M. A cell is 0 or at least the threshold; a flow sees the logarithm of its
    energy, or noise below the threshold in the place of 0 (`transforms`, sparse), and
    its samples are 0 below the threshold again. The density of a row is that of its
    cells above the threshold times the probability of the others' being 0, of which
    the noise gives a lower bound.

    Args:
        data_dir: Not used.
        rows: Training rows, 100,000 by default; val and test have a tenth as many.
        cells: How many, one of `LAYOUTS`.
        energies: Of the particles in GeV, from and to; log-uniform in between.
        threshold: Of a cell, in GeV.
        seed: Of the rows.

    Returns:
        The data set.

    Raises:
        DataError: For a number of cells without a layout, or numbers out of range.
    """
    del data_dir
    rows = ROWS if rows is None else rows
    if not tabular.is_whole(rows) or rows < 20:
        raise DataError(f"showers: rows={rows!r}; expected a whole number from 20 on")
    low, high = _energies(energies)
    if not 0 < threshold < low:
        raise DataError(
            f"showers: threshold={threshold!r} GeV; expected above 0 and below the"
            f" least energy, {low:g} GeV"
        )
    layers = layout(cells)
    tenth = -(-rows // 10)
    made = []
    for index, count in enumerate((rows, tenth, tenth)):
        rng = np.random.Generator(np.random.PCG64([seed, index]))
        energy = low * (high / low) ** rng.random(count)
        position = rng.uniform(-REACH, REACH, (count, 2))
        made.append(simulate(rng, energy, position, layers, threshold))
    # jax comes with it.
    from fdnf.transforms import choose, columns, fits

    given = [np.column_stack([part.energy, part.position]) for part in made]
    stored = columns.Columns(fits.sparse(names(layers), made[0].cells, threshold))
    kinds = {"energy": "log", "x": "standardise", "y": "standardise"}
    beside = columns.Columns(
        tuple(
            choose(name, given[0][:, i], kind=kind, condition=True)[0]
            for i, (name, kind) in enumerate(kinds.items())
        )
    )
    train, val, test = (stored.store(part.cells) for part in made)
    first, second, third = (beside.store(part) for part in given)
    return tabular.validate(
        Tabular(
            "showers",
            train,
            val,
            test,
            f"simulated showers in {cells} cells, {low:g} to {high:g} GeV, seed {seed},"
            " by Grindhammer and Peters's parametrisation; comparable with nothing"
            " published",
            conditions=(first, second, third),
            columns=stored,
            condition_columns=beside,
        )
    )


def layout(cells: int) -> tuple[Layer, ...]:
    """The layers of so many cells.

    Raises:
        DataError: If there are none.
    """
    if cells not in LAYOUTS:
        raise DataError(
            f"showers: cells={cells!r}; there are layouts of"
            f" {', '.join(map(str, LAYOUTS))} cells"
        )
    return LAYOUTS[cells]


def names(layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Of the cells: "l3_r1_s0", layer, ring and sector from 0 on."""
    return tuple(
        f"l{index}_r{ring}_s{sector}"
        for index, layer in enumerate(layers)
        for ring in range(len(layer.edges) - 1)
        for sector in range(layer.sectors)
    )


def places(
    layers: tuple[Layer, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the cells, each `[cells]`: layer, radius, angle, whether there are sectors.

    Radius (R_M) and angle (radians) are those of the middle of ring and sector.
    """
    found = [
        (index, 0.5 * (inner + outer), (sector + 0.5) * 2 * np.pi / layer.sectors)
        for index, layer in enumerate(layers)
        for inner, outer in zip(layer.edges[:-1], layer.edges[1:], strict=True)
        for sector in range(layer.sectors)
    ]
    index, radius, angle = (np.array(each) for each in zip(*found, strict=True))
    sectored = np.array([layer.sectors > 1 for layer in layers])
    return index, radius, angle, sectored[index]


def simulate(
    rng: np.random.Generator,
    energy: np.ndarray,
    position: np.ndarray,
    layers: tuple[Layer, ...],
    threshold: float = THRESHOLD,
) -> Showers:
    """Draws showers of given energies and positions.

    Args:
        rng: Randomness.
        energy: Of the particles in GeV, `[rows]`.
        position: Of the impacts in R_M, `[rows, 2]`.
        layers: Of the calorimeter.
        threshold: Of a cell, in GeV.

    Returns:
        The showers.
    """
    depth, shape = _profiles(rng, energy)
    response = np.exp(CONSTANT * rng.standard_normal(len(energy)))
    count = sum(layer.cells for layer in layers)
    cells = np.empty((len(energy), count), np.float32)
    quantum = STOCHASTIC**2
    for start in range(0, len(energy), _CHUNK):
        part = slice(start, start + _CHUNK)
        given = (energy[part], position[part], depth[part], shape[part])
        mean = mean_cells(*given, layers)
        mean *= response[part, None].astype(np.float32)
        drawn = quantum * rng.standard_gamma(mean / quantum, dtype=np.float32)
        cells[part] = np.where(drawn >= np.float32(threshold), drawn, 0)
    return Showers(cells, energy, position, depth, shape)


def profile_moments(energy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, spread and correlation of ln T and ln alpha at an energy.

    Args:
        energy: In GeV, `[rows]`.

    Returns:
        Means `[rows, 2]`, standard deviations `[rows, 2]`, correlations `[rows]`.
    """
    log = np.log(np.asarray(energy, np.float64) / CRITICAL)
    mean = [np.log(line[0] + line[1] * log) for line in (MEAN_T, MEAN_ALPHA)]
    spread = [1 / (line[0] + line[1] * log) for line in (SPREAD_T, SPREAD_ALPHA)]
    return (
        np.stack(mean, axis=1),
        np.stack(spread, axis=1),
        CORRELATION[0] + CORRELATION[1] * log,
    )


def mean_layers(
    energy: np.ndarray,
    depth: np.ndarray,
    shape: np.ndarray,
    layers: tuple[Layer, ...],
) -> np.ndarray:
    """Mean energy in each layer in GeV, `[rows, layers]`: that of the gamma density."""
    slope = (shape - 1) / depth
    ends = np.array([layers[0].start, *(layer.stop for layer in layers)])
    passed = special.gammainc(shape[:, None], slope[:, None] * ends)
    return energy[:, None] * np.diff(passed, axis=1)


def mean_cells(
    energy: np.ndarray,
    position: np.ndarray,
    depth: np.ndarray,
    shape: np.ndarray,
    layers: tuple[Layer, ...],
) -> np.ndarray:
    """Mean energy in each cell in GeV, float32 `[rows, cells]`; see `simulate`."""
    within = mean_layers(energy, depth, shape, layers)
    # Depths are counted in units of this shower's mean depth, <t> = T alpha / (alpha -
    # 1), times what that is on average, so that tau is t / T of a mean shower.
    usual = np.exp(profile_moments(energy)[0][:, 1])
    unit = depth * shape / (shape - 1) * (usual - 1) / usual
    found = []
    for index, layer in enumerate(layers):
        tau = 0.5 * (layer.start + layer.stop) / unit
        core, tail, share = _radial(energy, tau)
        parts = [_shares(position, radius, layer) for radius in (core, tail)]
        weight = share[:, None].astype(np.float32)
        shares = weight * parts[0] + (1 - weight) * parts[1]
        found.append(within[:, index, None].astype(np.float32) * shares)
    return np.concatenate(found, axis=1)


def _profiles(
    rng: np.random.Generator, energy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """T and alpha of each shower; alpha is kept above 1, where there is a maximum."""
    mean, spread, correlation = profile_moments(energy)
    first, second = rng.standard_normal((2, len(energy)))
    both, apart = np.sqrt((1 + correlation) / 2), np.sqrt((1 - correlation) / 2)
    depth = np.exp(mean[:, 0] + spread[:, 0] * (both * first + apart * second))
    shape = np.exp(mean[:, 1] + spread[:, 1] * (both * first - apart * second))
    return depth, np.maximum(shape, 1.1)


def _radial(
    energy: np.ndarray, tau: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radii of core and tail in R_M, and the core's share, at depth tau."""
    log, z = np.log(energy), CHARGE
    core = 0.0251 + 0.00319 * log + (0.1162 - 0.000381 * z) * tau
    slope = 0.3585 + 0.0421 * log
    tail = (0.659 - 0.00309 * z) * (
        np.exp(-2.59 * (tau - 0.645)) + np.exp(slope * (tau - 0.645))
    )
    place = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * log)
    share = (2.632 - 0.00094 * z) * np.exp(place - np.exp(place))
    # Far behind the maximum the fits leave what they were made for.
    return core, np.minimum(tail, 8.0), np.clip(share, 0, 1)


def _shares(position: np.ndarray, radius: np.ndarray, layer: Layer) -> np.ndarray:
    """Of one radial component, the share in each cell, float32 `[rows, cells]`.

    The density about the impact, radius^2 / (pi (d^2 + radius^2)^2), is that of a
    uniform sphere projected from its pole, so that a disk about the axis is a cap, and
    rings have their shares in closed form. Sectors share them by an integral in closed
    form over the distance from the axis, and by Gauss's rule over the angle.
    """
    away = np.sum(position**2, axis=1)[:, None]
    square, edges = (radius**2)[:, None], np.asarray(layer.edges)
    sum_of = edges**2 + away + square
    cap = (edges**2 - away - square) / np.sqrt(sum_of**2 - 4 * edges**2 * away)
    rings = np.diff(0.5 * cap, axis=1).astype(np.float32)
    if layer.sectors == 1:
        return rings
    wide = 2 * np.pi / layer.sectors
    nodes, weights = np.polynomial.legendre.leggauss(math.ceil(POINTS * wide))
    middles = wide * (np.arange(layer.sectors) + 0.5)
    angles = (middles[:, None] + 0.5 * wide * nodes).reshape(-1)
    # Along a ray from the axis the square of the distance to the impact is
    # r^2 - 2 b r + c.
    b = position @ np.stack([np.cos(angles), np.sin(angles)])
    b = b.astype(np.float32)[:, None]
    c = (square + away).astype(np.float32)[:, None]
    ends = edges.astype(np.float32)[:, None]
    rest = c - b * b
    root = np.sqrt(rest)
    along = (b * ends - c) / (ends * ends - 2 * b * ends + c)
    along += b / root * np.arctan((ends - b) / root)
    found = np.diff(along, axis=1) / rest
    shape = (*rings.shape, layer.sectors, len(nodes))
    found = found.reshape(shape) @ weights.astype(np.float32)
    found *= (rings / found.sum(axis=2))[..., None]
    return found.reshape(len(rings), -1)


def _energies(given: tuple[float | int, float | int]) -> tuple[float, float]:
    numbers = [float(each) for each in given]
    if len(numbers) != 2 or not 0.1 <= numbers[0] < numbers[1] <= 10_000:
        raise DataError(
            f"showers: energies={given!r}; expected two in GeV, the lesser first, from"
            " 0.1 to 10,000"
        )
    return numbers[0], numbers[1]
