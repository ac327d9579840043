"""Galaxies of a simulated survey: redshift and magnitudes in six bands."""

import numpy as np

from fdnf.data import npz, paths, tabular, transformed
from fdnf.data.tabular import DataError, Tabular

FILE = "galaxies.npz"
COLUMNS = ("redshift", "u", "g", "r", "i", "z", "y")
# What may be conditional on the rest, and where these columns are.
OF = {"redshift": slice(0, 1), "magnitudes": slice(1, 7)}
# The simulation ends at a redshift of 2.3.
TRANSFORMS = {"redshift": {"kind": "box", "low": 0.0, "high": 2.3}}
FRACTIONS = (0.8, 0.9)


def galaxies(
    data_dir: str | None = None,
    rows: int | None = None,
    of: str = "redshift",
    seed: int = 0,
) -> Tabular:
    """100,000 galaxies: their redshift given six magnitudes, or the other way round.

    Densities are in the user's units, samples of the redshift from 0 to 2.3.

    Args:
        data_dir: Where `galaxies.npz` is looked for: an array `x` of 7 columns,
            redshift and the magnitudes u, g, r, i, z, y.
        rows: Training rows to keep; all by default.
        of: Whose density is learned, "redshift", or "magnitudes"; the others are the
            condition.
        seed: Of the split, 80 / 10 / 10 %.

    Returns:
        The data set.

    Raises:
        DataError: If there is no such file, or it holds something else.

    Reference: Crenshaw et al. (2024), Probabilistic forward modeling of galaxy
    catalogs with normalizing flows, AJ 168 80 (pzflow); DeRose et al. (2019),
    arXiv:1901.02401 (Buzzard).
    """
    if of not in OF:
        raise DataError(f"galaxies: of={of!r}; expected one of {', '.join(OF)}")
    path = paths.data_dir(data_dir) / FILE
    if not path.is_file():
        raise DataError(
            f"galaxies: there is no {path}. It is made of the file"
            " pzflow/example_files/galaxy-data.pkl in the wheel of pzflow 4.0.0, a"
            f" table of 100,000 rows with the columns {', '.join(COLUMNS)}: save its"
            " values as the array `x` of galaxies.npz (float32) into the directory that"
            " FDNF_DATA_DIR names."
        )
    (x,) = npz.read_arrays(path, "x")
    if x.ndim != 2 or x.shape[1] != len(COLUMNS) or x.dtype.kind not in "fiu":
        raise DataError(
            f"galaxies: {path} holds {x.dtype} of shape {x.shape}; expected numbers"
            f" [rows, {len(COLUMNS)}]: {', '.join(COLUMNS)}"
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(x))
    ends = [int(part * len(x)) for part in FRACTIONS]
    parts = [x[part].astype(np.float64) for part in np.split(order, ends)]
    (given,) = (name for name in OF if name != of)
    used = {name: TRANSFORMS[name] for name in COLUMNS[OF[of]] if name in TRANSFORMS}
    data = transformed.fitted(
        "galaxies",
        [part[:, OF[of]] for part in parts],
        COLUMNS[OF[of]],
        [part[:, OF[given]] for part in parts],
        COLUMNS[OF[given]],
        transforms=used,
        source=f"{len(x):,} galaxies of the Buzzard simulation, from pzflow 4.0.0,"
        f" {of} given {given}, split by seed {seed}; compares with nothing published",
        where="galaxies",
    )
    return tabular.limit(data, rows)
