"""Exported flows of tables: their programs take and give the user's units."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.evaluation.export import write as export
from fdnf.train import teachers
from tests import floats, tiny
from tests.evaluation.tasks.test_rows import BESIDE, OWN, matrix, stored


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("table"), "maf", conditional=True)


def test_densities_and_samples_are_in_the_users_units(workdir):
    config = tiny.config()
    export.write(config, workdir)
    folder = workdir / "export" / "run_0"
    trained = teachers.load(workdir)
    part = slice(0, 8)
    x, cond = (matrix(names, part).astype(np.float32) for names in (OWN, BESIDE))
    density = export.program(folder, "density")
    floats.assert_close(density(x, cond), trained.log_prob(x, cond), rtol=1e-5)
    drawn = np.asarray(export.program(folder)(np.array([0, 5], np.uint32), cond))
    flow, variables = teachers.run_of(trained)
    prepared = trained.preprocess
    y = flow.apply(
        variables,
        jax.random.key(5),
        (8, 2),
        1.0,
        prepared.condition(None, jnp.asarray(prepared.stored_condition(cond))),
        method="sample",
    )
    floats.assert_close(drawn, prepared.given_back(y), rtol=1e-5)
    assert (drawn[:, 0] > 0).all()
    assert ((drawn[:, 1] >= 0) & (drawn[:, 1] <= 1)).all()
    told = json.loads((folder / "sampler.json").read_text())
    assert (told["columns"], told["conditions"]) == (OWN, BESIDE)
    assert [each["name"] for each in told["programs"]["density"]["inputs"]] == [
        "x",
        "cond",
    ]


KINDS = ("standardise", "log", "asinh", "integer", "periodic", "box", "sparse")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_column_within_a_program(kind):
    """As `store` does in float64, outside of programs."""
    from fdnf.transforms.choose import choose
    from fdnf.transforms.columns import Columns

    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, 3.0, 200)
    options = {"periodic": {"period": 7.0}, "box": {"low": 0.0, "high": 60.0}}
    values = np.round(values) if kind == "integer" else values
    values = np.where(values > 4, values, 0) if kind == "sparse" else values
    column, _ = choose("a", values, kind=kind, **options.get(kind, {}))
    columns = Columns((column,))
    x = values[:50, None]
    found = export._stored(columns, x.astype(np.float32))
    floats.assert_close(found, columns.store(x), rtol=1e-5)
