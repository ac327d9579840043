import numpy as np
import pytest

from fdnf.transforms import Columns, choose
from tests.floats import assert_close

N = 3000
DRAW = np.random.default_rng(3)
# Name: values, kind, what follows on whole numbers, part of the reason.
CHOICES = {
    "normal": (DRAW.normal(size=N), "standardise", "", "no heavy tails"),
    "far": (1e9 + DRAW.normal(size=N), "standardise", "", "mean 1e+09"),
    "gamma": (DRAW.gamma(4, 1, N), "standardise", "", "skewness"),
    "two_peaks": (
        np.concatenate([DRAW.normal(-5, 0.1, N), DRAW.normal(5, 0.1, N)]),
        "standardise",
        "",
        "",
    ),
    "student_5": (DRAW.standard_t(5, N), "standardise", "", ""),
    "laplace": (DRAW.laplace(size=N), "standardise", "", ""),
    "income": (DRAW.lognormal(9, 1, N), "log", "", "all positive, skewness"),
    "tiny": (DRAW.lognormal(-8, 1, N), "log", "", "skewness"),
    "waiting": (DRAW.exponential(size=N), "log", "", "above 0"),
    "with_zeros": (
        np.where(DRAW.random(N) < 0.3, 0, DRAW.lognormal(0, 1, N)),
        "log",
        "",
        "% of the rows are 0, and the density of a value that repeats",
    ),
    "negative": (-DRAW.lognormal(0, 1, N), "asinh", "", "heavy tails"),
    "cauchy": (DRAW.standard_cauchy(N), "asinh", "", "heavy tails, kurtosis"),
    "student_2": (DRAW.standard_t(2, N), "asinh", "", ""),
    "one_outlier": (np.append(DRAW.normal(size=N), 1e9), "asinh", "", ""),
    "share": (DRAW.beta(0.5, 0.8, N), "box", "", "near both 0 and 1"),
    "uniform": (DRAW.uniform(3, 8, N), "box", "", "reaches near both"),
    "percent": (DRAW.uniform(0, 100, N), "box", "", "from 0 to 100"),
    "children": (DRAW.poisson(1.8, N), "integer", "standardise", "from 0 to"),
    "die": (DRAW.integers(1, 7, N), "integer", "box", "from 1 to 6"),
    "flag": (DRAW.random(N) < 0.2, "integer", "box", "from 0 to 1"),
    "visits": (np.floor(DRAW.lognormal(3, 1.5, N)), "integer", "log", "then log"),
    "large": (
        np.round(1e6 + 1e4 * DRAW.normal(size=N)),
        "integer",
        "standardise",
        "whole numbers",
    ),
    "tens": (10 * DRAW.poisson(4, N), "integer", "standardise", "multiples of 10"),
    "price": (
        np.round(DRAW.normal(3, 0.3, N), 2),
        "integer",
        "standardise",
        "multiples of 0.01",
    ),
    "price_32": (
        np.round(DRAW.normal(3, 0.3, N), 2).astype(np.float32),
        "integer",
        "standardise",
        "multiples of 0.01",
    ),
    "identity": (DRAW.integers(0, 2**40, N), "box", "", ""),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_choice_and_its_reason(name):
    x, kind, then, said = CHOICES[name]
    column, reason = choose(name, x)
    assert (column.kind, column.then) == (kind, then), reason
    assert reason.startswith(f"{name}: {kind} (")
    assert said in reason
    assert "\n" not in reason
    one = Columns((column,))
    noise = np.random.default_rng(4).random((len(x), one.noisy))
    y = np.asarray(one.dequantise(noise, one.store(np.asarray(x)[:, None]))[0])
    assert abs(y.mean()) < 0.1
    assert 0.8 < y.std() < 1.1


def test_a_condition_needs_no_noise():
    for name, kind in (("die", "standardise"), ("visits", "log"), ("share", None)):
        column, _ = choose(name, CHOICES[name][0] + 1, condition=True)
        assert not column.whole
        assert column.kind == kind or kind is None
        assert column.low is None or column.low == 0


def test_weights_are_as_good_as_repeated_rows():
    x = CHOICES["income"][0][:500]
    times = np.random.default_rng(0).integers(0, 4, 500)
    weighed, _ = choose("a", x, 0.3 * times, "standardise")
    repeated, _ = choose("a", np.repeat(x, times), None, "standardise")
    assert_close(weighed.origin, repeated.origin, 1e-12)
    assert_close(weighed.std, repeated.std, 1e-12)
    # Rows without weight are none: neither their size nor their faults count.
    assert choose("a", np.append(x, 1e140), np.append(times, 0))[0].kind == "log"


def test_ends_that_are_told_are_kept():
    x = DRAW.uniform(10, 20, N)
    assert choose("a", x, None, "box", low=0, high=50)[0].high == 50
    logit, reason = choose("a", x, None, "logit", low=0, high=50, margin=0.01)
    assert (logit.kind, logit.margin) == ("box", 0.01)
    assert "as told" in reason
    column, _ = choose("a", x - 15, None, "log", low=-5.5)
    assert (column.decode(np.linspace(-9, 9, 50)) >= -5.5).all()
    column, _ = choose("a", np.round(x), None, "integer", then="box", low=0, high=30)
    found = column.decode(np.linspace(-30, 30, 50))
    assert (found.min(), found.max()) == (0, 30)
    column, _ = choose("a", x, None, "periodic", period=24, low=-12, cut=-2)
    assert column.origin == -2
    assert column.decode(np.linspace(-9, 9, 50)).min() >= -12
    column, _ = choose("a", x, None, "asinh", centre=3, scale=2)
    assert (column.origin, column.unit) == (3, 2)
    column, reason = choose("a", np.maximum(x - 15, 0), None, "sparse", least=1e-6)
    assert (column.unit, column.gap) == (1e-6, 0.5)
    assert "0 in " in reason


GOOD = DRAW.normal(size=50)
MISSING = np.where(np.arange(50) == 7, np.nan, GOOD)
INFINITE = np.where(np.arange(50) == 7, np.inf, GOOD)


@pytest.mark.parametrize(
    ("x", "told", "said"),
    [
        (np.full(9, 3.5), {}, "is constant, 3.5 in all 9 rows"),
        (MISSING, {}, "missing values in 1 of 50 rows, the first is row 7"),
        (INFINITE, {}, "infinite in 1 of 50 rows, the first is row 7"),
        (np.array(["Rome", "Oslo"] * 5), {}, r"holds <U4 \(Rome, Oslo, \.\.\.\)"),
        (np.array(["Rome", 3.0], object), {}, "no numbers"),
        (GOOD[:1], {}, "1 rows are too few"),
        (GOOD[:0], {}, "0 rows are too few"),
        (GOOD[:, None], {}, r"expected \[rows\], got \[50, 1\]"),
        (GOOD * 1e200, {}, r"beyond 1e\+150: give it in other units"),
        (1e16 + np.arange(30) * 2.0 + 0.0, {"kind": "standardise"}, None),
        (1e15 + 0.125 * np.arange(9), {}, "float64 keeps 9 values: subtract"),
        (
            np.float32(1e4) + np.float32(0.01) * np.arange(9, dtype=np.float32),
            {},
            "float32 keeps .* values: subtract",
        ),
        (GOOD, {"kind": "log"}, "log needs values above 0, but .* of 50 rows have not"),
        (
            np.arange(9.0),
            {"kind": "log"},
            "1 of 9 rows have not, the least is 0: .*`offset`",
        ),
        (GOOD, {"kind": "log", "low": 0, "offset": 1}, "of at least 0"),
        (
            np.linspace(0, 2, 9),
            {"kind": "box", "low": 0, "high": 1},
            "4 of 9 rows are outside the box from 0 to 1",
        ),
        (
            np.array([1, 2, 2.5, 4]),
            {"kind": "integer"},
            r"is not whole: 2.5 \(1 of 4 rows\); give its `step`",
        ),
        (
            np.array([0.1, 0.25, 0.4]),
            {"kind": "integer", "step": 0.1},
            "not 0.1 and a multiple of 0.1: 0.25",
        ),
        (np.array([0, 5, 1e9]), {"kind": "integer"}, "more than 8,388,608"),
        (np.array([1, 2, 3]), {"kind": "integer", "high": 2}, "1 rows are beyond 2"),
        (np.array([1, 2, 3]), {"kind": "integer", "low": 2}, "1 rows are beyond 2"),
        (GOOD, {"kind": "periodic"}, "periodic needs its period"),
        (GOOD, {"kind": "logg"}, "unknown kind 'logg'; did you mean 'log'.*known"),
        (GOOD, {"kind": "log", "hight": 3}, "log takes no 'hight'; it takes low"),
        (GOOD, {"kind": "none", "low": 3}, "none takes no 'low'; it takes nothing"),
        (GOOD, {"kind": "box", "low": "a"}, "low='a'; expected a number"),
        (GOOD, {"kind": "box", "low": True}, "low=True; expected a number"),
        (GOOD, {"kind": "box", "low": 3, "high": 3}, "low=3 is not below high=3"),
        (GOOD, {"kind": "box", "margin": 0.7}, "margin=0.7; expected"),
        (GOOD, {"kind": "asinh", "scale": 0}, "scale=0; expected a positive"),
        (GOOD, {"kind": "periodic", "period": -1}, "period=-1; expected a positive"),
        (GOOD, {"kind": "integer", "then": "cube"}, "then='cube'; known: standardise"),
        (GOOD, {"low": 3}, "low given without a kind"),
        (GOOD, {"kind": "sparse"}, "sparse needs zeros and values above: they go from"),
        (
            np.array([0, 1, 2.0]),
            {"kind": "sparse", "least": 1.5},
            "1 rows are between 0 and least=1.5",
        ),
    ],
)
def test_wrong_columns_are_named(x, told, said):
    if said is None:
        choose("a column", x, **told)
        return
    with pytest.raises(ValueError, match=f"column 'a column'.*{said}"):
        choose("a column", x, **told)


@pytest.mark.parametrize("weights", [np.ones(3), -np.ones(50), np.full(50, np.nan)])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(ValueError, match="expected one weight of at least 0 a row"):
        choose("a", GOOD, weights)


def test_rows_of_no_weight_leave_too_few():
    with pytest.raises(ValueError, match="'a': 0 rows are too few"):
        choose("a", GOOD, np.zeros(50))
