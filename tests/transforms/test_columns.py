import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdnf.transforms import KINDS, Column, Columns, choose
from tests.floats import assert_close

ROWS = 2000


def values():
    """A column of each kind, name: (values, what is told)."""
    draw = np.random.default_rng(0)
    return {
        "as_is": (draw.normal(size=ROWS), {"kind": "none"}),
        "far": (1e9 + draw.normal(size=ROWS), {"kind": "standardise"}),
        "still": (1e6 + 1e-3 * draw.normal(size=ROWS), {"kind": "standardise"}),
        "income": (draw.lognormal(9, 1, ROWS), {"kind": "log"}),
        "waiting": (
            np.where(draw.random(ROWS) < 0.1, 0.0, draw.lognormal(0, 1, ROWS)),
            {"kind": "log", "offset": 0.1},
        ),
        "share": (draw.beta(0.5, 0.8, ROWS), {"kind": "box", "low": 0, "high": 1}),
        "change": (5 + 3 * draw.standard_cauchy(ROWS), {"kind": "asinh"}),
        "children": (draw.poisson(1.8, ROWS), {"kind": "integer"}),
        "visits": (
            np.floor(draw.lognormal(3, 1, ROWS)),
            {"kind": "integer", "then": "log"},
        ),
        "price": (
            np.round(draw.normal(3, 0.3, ROWS), 2),
            {"kind": "integer", "step": 0.01},
        ),
        "die": (draw.integers(1, 7, ROWS), {"kind": "integer", "then": "box"}),
        "jump": (
            np.round(draw.standard_cauchy(ROWS) * 20),
            {"kind": "integer", "then": "asinh"},
        ),
        "angle": (
            np.mod(draw.normal(10, 30, ROWS), 360),
            {"kind": "periodic", "period": 360},
        ),
        "cell": (
            np.where(draw.random(ROWS) < 0.4, 0, 0.5 + draw.lognormal(1, 1, ROWS)),
            {"kind": "sparse", "least": 0.5},
        ),
    }


COLUMNS = {name: choose(name, x, **told)[0] for name, (x, told) in values().items()}
TABLE = Columns(tuple(COLUMNS.values()))
RAW = np.stack([x for x, _ in values().values()], axis=1)
encode = jax.jit(TABLE.dequantise)


def test_every_kind_is_tried():
    assert {column.kind for column in TABLE.columns} == {*KINDS}
    assert {c.then for c in TABLE.columns} >= {"standardise", "log", "box", "asinh"}


def test_a_flow_sees_standard_columns():
    noise = np.random.default_rng(1).random((ROWS, TABLE.noisy))
    y, log_det = encode(noise, TABLE.store(RAW))
    assert y.dtype == log_det.dtype == jnp.float32
    assert y.shape == (ROWS, len(TABLE))
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=0.05)
    # No spike far from the rest, Cauchy columns included.
    assert np.abs(y).max() < 12


def test_what_is_decoded_is_what_was_stored():
    noise = np.random.default_rng(1).random((ROWS, TABLE.noisy))
    found = TABLE.decode(encode(noise, TABLE.store(RAW))[0])
    assert found.dtype == np.float64
    for index, column in enumerate(TABLE.columns):
        x, back = RAW[:, index], found[:, index]
        if column.whole:
            # Decimals are no binary fractions.
            np.testing.assert_allclose(back, x, rtol=0, atol=1e-12, err_msg=column.name)
            continue
        # Digits are those of the spread, however large the numbers are.
        low, high = np.quantile(x, [0.25, 0.75])
        scale = np.abs(x) + (high - low) if column.shape != "linear" else high - low
        assert (np.abs(back - x) < 2e-5 * scale).all(), column.name


def test_log_det_is_the_log_of_the_slope():
    stored = TABLE.store(RAW[:200])
    noise = np.random.default_rng(1).random((200, TABLE.noisy)).astype(np.float32)
    noisy = iter(range(TABLE.noisy))
    total = 0.0
    for index, column in enumerate(TABLE.columns):
        x = RAW[:200, index]
        one = Columns((column,))
        if column.noisy:
            own = noise[:, [next(noisy)]]
            t = stored[:, [index]]

            def y_of(u, one=one, t=t):
                return one.dequantise(u, t)[0]

            slope = jax.jvp(y_of, (own,), (np.ones_like(own),))[1][:, 0]
            if column.whole:
                slope /= column.unit  # Of x + step * u.
            else:
                # Of 0 that of u, of what is above that of x.
                up, down = (y_of(own, t=t + h)[:, 0] for h in (1e-2, -1e-2))
                above = (up - down) / (2e-2 * column.unit)
                slope = jnp.where(x > 0, above, slope)
            log_det = one.dequantise(own, t)[1]
        else:
            h = 1e-6 * np.maximum(np.abs(x - np.median(x)), np.std(x[:50]) * 0.1)
            h = h if column.kind != "box" else np.minimum(h, 0.1 * np.minimum(x, 1 - x))
            h = h if column.kind != "log" else 1e-6 * (x - column.origin)
            up, down = column.store(x + h), column.store(x - h)
            slope = (up - down) / ((x + h) - (x - h))
            log_det = one.dequantise(noise[:, :0], stored[:, [index]])[1]
        np.testing.assert_allclose(
            log_det,
            np.log(np.abs(slope)),
            rtol=0,
            atol=3e-3 if column.kind == "sparse" else 2e-4,
            err_msg=column.name,
        )
        total = total + np.asarray(log_det, np.float64)
    assert_close(encode(noise, stored)[1], total, 1e-5)


@pytest.mark.parametrize("name", ["income", "share", "change", "angle", "far"])
def test_densities_integrate_to_one(name):
    column = COLUMNS[name]
    one = Columns((column,))
    at = column.decode(np.linspace(-7, 7, 20_001))
    at = np.unique(at[np.isfinite(at)])
    y, log_det = one.dequantise(np.zeros((len(at), 0)), one.store(at[:, None]))
    p = np.exp(stats.norm.logpdf(np.asarray(y[:, 0], np.float64)) + log_det)
    # Of the points x, which are 1e9 apart from 0 in one case.
    x = at - at[0]
    np.testing.assert_allclose(
        np.sum(0.5 * (p[1:] + p[:-1]) * np.diff(x)), 1, atol=0.01
    )


def test_probabilities_of_whole_numbers_add_up_to_one():
    column = COLUMNS["visits"]
    one = Columns((column,))
    levels = np.arange(0.0, 3000.0)[:, None]
    total = 0.0
    for u in (np.arange(8) + 0.5) / 8:
        noise = np.full((len(levels), 1), u, np.float32)
        y, log_det = one.dequantise(noise, one.store(levels))
        density = stats.norm.logpdf(np.asarray(y[:, 0], np.float64)) + log_det
        total += np.exp(density).sum() / 8
    np.testing.assert_allclose(total, 1, atol=0.02)


def test_a_zero_has_a_probability_and_what_is_above_a_density():
    column = COLUMNS["cell"]
    one = Columns((column,))
    assert one.names == ("cell",)

    def density(x, u):
        noise = np.full((len(x), 1), u, np.float32)
        y, log_det = one.dequantise(noise, one.store(x[:, None]))
        return np.exp(stats.norm.logpdf(np.asarray(y[:, 0], np.float64)) + log_det)

    at = column.unit * np.geomspace(1, 1e5, 4001)
    p = density(at, 0.5)
    above = np.sum(0.5 * (p[1:] + p[:-1]) * np.diff(at))
    zero = np.mean([density(np.zeros(1), u) for u in (np.arange(200) + 0.5) / 200])
    # By the map and a normal latent; what is left falls in the gap, or beyond noise 0.
    middle = 1 - 0.5 * column.gap
    ends = np.array([0.0, 1 - column.gap, middle, 1]) + column.shift
    ends = column.to_line(ends)
    ends = stats.norm.cdf((ends - column.mean) / column.std)
    np.testing.assert_allclose(above, 1 - ends[3], atol=1e-3)
    np.testing.assert_allclose(zero, ends[1] - ends[0], atol=1e-3)
    y = np.random.default_rng(0).normal(size=(4000, 1))
    x = one.decode(y)[:, 0]
    assert x[x > 0].min() >= column.unit
    np.testing.assert_allclose((x == 0).mean(), ends[2], atol=0.03)
    assert one.supports(x[:, None]).all()


def test_samples_are_in_the_users_bounds():
    y = 4 * np.random.default_rng(2).normal(size=(5000, len(TABLE)))
    x = dict(zip(TABLE.names, TABLE.decode(y).T, strict=True))
    assert (x["income"] > 0).all()
    assert (x["waiting"] >= 0).all()
    assert (x["share"] >= 0).all()
    assert (x["share"] <= 1).all()
    for name in ("children", "visits", "die", "jump"):
        assert (x[name] == np.round(x[name])).all()
    assert x["visits"].min() == x["children"].min() == 0
    assert x["jump"].min() < 0 <= x["price"].min()
    assert {*x["die"]} == {1, 2, 3, 4, 5, 6}
    steps = (x["price"] - COLUMNS["price"].origin) / 0.01
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert (x["angle"] >= 0).all()
    assert (x["angle"] < 360).all()
    # Both sides of the cut.
    assert x["angle"].min() < 20
    assert x["angle"].max() > 340
    # Samples have a density again; what is infinitely far out has none.
    inside = np.isfinite(TABLE.decode(y)).all(axis=1)
    assert TABLE.supports(TABLE.decode(y))[inside].mean() > 0.99


def test_samples_within_programs_agree():
    y = np.random.default_rng(2).normal(size=(50, len(TABLE))).astype(np.float32)
    with jax.enable_x64(True):
        inside = jax.jit(lambda y: TABLE.decode(y, jnp))(y.astype(np.float64))
    np.testing.assert_allclose(inside, TABLE.decode(y), rtol=1e-9, atol=1e-9)


def test_samples_in_the_gap_of_a_sparse_column_go_to_the_nearer_side():
    column = Column("a", "sparse", unit=2.0, shift=0.25, gap=0.5, mean=0.3, std=0.7)
    t = np.array([0.1, 0.49, 0.6, 0.74, 0.76, 0.9, 1.0, 1.3])
    y = (np.log(t + 0.25) - 0.3) / 0.7
    expected = 2.0 * np.array([0, 0, 0, 0, 1.24, 1.1, 1.0, 1.3])
    np.testing.assert_allclose(column.decode(y), expected, atol=1e-12)
    # What is blurred about the unit is spread above it as it was.
    blurred = np.random.default_rng(0).normal(1.0, 0.05, 100_000)
    x = column.decode((np.log(blurred + 0.25) - 0.3) / 0.7)
    assert x.min() >= 2.0
    np.testing.assert_allclose(x.mean(), 2 + 2 * 0.05 * np.sqrt(2 / np.pi), atol=1e-3)
    none = Column("a", "sparse", unit=2.0, shift=0.25)
    np.testing.assert_allclose(
        none.decode(np.log(t + 0.25)), np.where(t < 1, 0, 2 * t), atol=1e-12
    )


def test_a_periodic_column_is_cut_where_it_is_sparse():
    column = COLUMNS["angle"]
    # Around 10 with a spread of 30: the other side is empty.
    assert 120 < column.origin < 260
    turned = np.array([-350.0, 10.0, 370.0])
    assert_close(column.store(turned), column.store([10.0] * 3))


def test_json_holds_all_of_it():
    text = json.dumps(TABLE.to_json(), allow_nan=False)
    again = Columns.from_json(json.loads(text))
    assert again == TABLE
    assert hash(again) == hash(TABLE)
    assert json.dumps(again.to_json()) == text
    # To the last digit.
    assert (again.store(RAW) == TABLE.store(RAW)).all()


def test_columns_are_static_arguments():
    counted = []

    @jax.jit
    def step(stored):
        counted.append(0)
        return TABLE.encode(jax.random.key(0), stored)[0]

    stored = TABLE.store(RAW[:10])
    first, second = step(stored), step(stored)
    assert len(counted) == 1
    assert (first == second).all()
    other = TABLE.encode(jax.random.key(1), stored)[0]
    differs = (np.asarray(first) != np.asarray(other)).any(axis=0)
    assert differs[[c.whole for c in TABLE.columns]].all()
    # A sparse column has noise where it is 0 only.
    assert differs.tolist() == [c.noisy for c in TABLE.columns]
    zero = stored[:, -1] == 0
    assert ((np.asarray(first) != other)[:, -1] == zero).all()
    assert 0 < zero.sum() < 10


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("income", -1.0, "expected a value above 0"),
        ("waiting", -1.0, "expected a value of at least 0"),
        ("share", 1.5, "expected a value from 0 to 1"),
        ("children", 1.5, "expected a whole number"),
        ("die", 7.0, "expected a number from 1 to 6"),
        ("visits", -2.0, "expected a number from 0 up"),
        ("price", 3.005, "multiple of 0.01"),
        ("cell", 0.3, "expected 0, or a value of at least 0.5"),
        ("cell", -1.0, "expected 0, or a value of at least 0.5"),
        ("children", 1e9, "less than 16,777,216 steps"),
        ("far", np.nan, "expected a finite number"),
        ("change", np.inf, "expected a finite number"),
    ],
)
def test_rows_without_a_place_are_named(name, value, said):
    one = Columns((COLUMNS[name],))
    good = values()[name][0][:5].astype(float)
    rows = np.append(good, value)[:, None]
    with pytest.raises(ValueError, match=f"column '{name}'.*row 5 is.*{said}.*1 of 6"):
        one.store(rows)
    assert one.supports(rows).tolist() == [True] * 5 + [False]


def test_other_widths_and_names_are_refused():
    two = Columns((COLUMNS["far"], COLUMNS["die"]))
    for call in (two.store, two.decode, two.supports):
        with pytest.raises(ValueError, match="expected"):
            call(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="3 columns, expected 2"):
        two.dequantise(np.zeros((4, 1)), np.zeros((4, 3), np.float32))
    with pytest.raises(ValueError, match="columns of one name: die"):
        Columns((COLUMNS["die"], COLUMNS["die"]))
    with pytest.raises(ValueError, match="unknown kind 'cube'; known: none"):
        Column("a", "cube")
    with pytest.raises(ValueError, match="whole numbers take one of"):
        Column("a", "integer")
    with pytest.raises(ValueError, match="gap=1.0; expected from 0 to below 1"):
        Column("a", "sparse", gap=1.0)
    with pytest.raises(ValueError, match="others none"):
        Column("a", "log", "box")
    with pytest.raises(ValueError, match="std=0.0; expected a positive"):
        Column("a", std=0.0)
    for wrong in ({}, {"columns": [{"nome": "a"}]}, {"columns": 3}):
        with pytest.raises(ValueError, match="no description of columns"):
            Columns.from_json(wrong)
