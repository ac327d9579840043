import numpy as np
import pytest

from fdnf.data import build, galaxies
from fdnf.data.tabular import DataError
from tests.floats import assert_close


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    draw = np.random.default_rng(0)
    z = draw.uniform(0.02, 2.28, 1000)
    x = np.column_stack([z, 22 + 2 * z[:, None] + draw.normal(size=(1000, 6))])
    place = tmp_path_factory.mktemp("galaxies")
    np.savez(place / "galaxies.npz", x=x.astype(np.float32))
    return place, x.astype(np.float32)


@pytest.mark.parametrize("of", galaxies.OF)
def test_one_given_the_others(folder, of):
    place, x = folder
    data = build.DATASETS["galaxies"](data_dir=str(place), of=of)
    assert [len(part) for part in (data.train, data.val, data.test)] == [800, 100, 100]
    names = ("redshift", "u", "g", "r", "i", "z", "y")
    own, given = (names[:1], names[1:]) if of == "redshift" else (names[1:], names[:1])
    assert data.columns.names == own
    assert data.condition_columns.names == given
    assert "Buzzard" in data.source
    # All rows once, whole.
    rows, beside = (
        columns.decode(np.concatenate(parts))
        for columns, parts in (
            (data.columns, (data.train, data.val, data.test)),
            (data.condition_columns, data.conditions),
        )
    )
    whole = np.column_stack([rows, beside] if of == "redshift" else [beside, rows])
    order, known = np.argsort(whole[:, 0]), np.argsort(x[:, 0])
    assert_close(whole[order], x[known], 1e-4)
    again = galaxies.galaxies(str(place), of=of)
    other = galaxies.galaxies(str(place), of=of, seed=1)
    assert (again.test == data.test).all()
    assert not (other.test == data.test).all()
    assert len(galaxies.galaxies(str(place), rows=50, of=of).conditions[0]) == 50


def test_samples_are_redshifts_of_the_simulation(folder):
    columns = galaxies.galaxies(str(folder[0])).columns
    found = columns.decode(np.linspace(-30, 30, 99)[:, None])
    assert (found.min(), found.max()) == (0, 2.3)


def test_what_is_missing_is_said(folder, tmp_path):
    with pytest.raises(DataError, match="there is no .*galaxies.npz.*pzflow 4.0.0"):
        galaxies.galaxies(str(tmp_path))
    np.savez(tmp_path / "galaxies.npz", x=np.zeros((5, 3)))
    with pytest.raises(DataError, match=r"shape \(5, 3\); expected .*\[rows, 7\]"):
        galaxies.galaxies(str(tmp_path))
    with pytest.raises(DataError, match="of='colour'; expected one of redshift, magn"):
        galaxies.galaxies(str(folder[0]), of="colour")
