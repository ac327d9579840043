"""Densities and samples of arrays in memory, in the user's units."""

import jax
import numpy as np
import pytest

from fdnf.flows import build as flows
from fdnf.train import preprocess, teachers, units
from fdnf.train.preprocess import Preprocess
from fdnf.train.table import Table
from tests import floats, tiny

CONFIG = tiny.config()
FLOW = flows.build(CONFIG.model)
X = np.asarray(jax.random.normal(jax.random.key(9), (11, 3)), np.float32)
COND = np.asarray(jax.random.normal(jax.random.key(8), (11, 2)), np.float32)


def trained(prepared, *given):
    variables = jax.tree.map(
        lambda leaf: leaf[None], jax.jit(FLOW.init)(jax.random.key(0), *given)
    )
    variables = {"constants": {}, **variables}
    meta = {"event": [3], "preprocess": preprocess.describe(prepared)}
    return teachers.Trained(FLOW, variables, CONFIG, meta)


PLAIN = trained(Preprocess(), X)
GIVEN = trained(Table(conditions=2), X, COND)


def test_densities_are_those_of_the_flow_however_the_rows_are_cut():
    flow, variables = teachers.run_of(GIVEN)
    expected = flow.apply(variables, X, COND, method="log_prob")
    for size in (None, 4):
        found = GIVEN.log_prob(X, COND, batch_size=size)
        assert found.dtype == np.float64
        floats.assert_close(found, expected)
    one = GIVEN.log_prob(X, COND[0].tolist())
    both = flow.apply(variables, X, np.repeat(COND[:1], 11, 0), method="log_prob")
    floats.assert_close(one, both)


def test_rows_are_filled_up_to_few_sizes():
    before = units._log_prob._cache_size()
    for rows in (5, 6, 7, 8):
        assert PLAIN.log_prob(X[:rows]).shape == (rows,)
    assert units._log_prob._cache_size() - before == 1
    assert PLAIN.log_prob(X[:0]).shape == (0,)


def test_samples_follow_their_conditions_and_key():
    drawn = GIVEN.sample(3, 5, COND[:5])
    assert drawn.shape == (5, 3)
    np.testing.assert_array_equal(drawn, GIVEN.sample(jax.random.key(3), 5, COND[:5]))
    one = GIVEN.sample(3, 5, COND[0])
    np.testing.assert_array_equal(one[0], drawn[0])
    assert not np.allclose(one[1:], drawn[1:])
    assert np.ptp(GIVEN.sample(3, 4, COND[0], temperature=0.0), axis=0).max() == 0


@pytest.mark.parametrize(
    ("model", "args", "text"),
    [
        (GIVEN, (X,), "trained with a condition: give cond"),
        (PLAIN, (X, COND), "trained without: leave cond out"),
        (GIVEN, (X, COND[:, :1]), r"shape \(11, 1\): expected \[rows, 2\]"),
        (GIVEN, (X, COND[:3]), "3 conditions for 11 rows"),
        (GIVEN, (X, COND * np.nan), "conditions: row 0, column 0 is nan"),
        (PLAIN, (X[0],), r"give one row as a batch of one, x\[None\]"),
        (PLAIN, (X[:, :2],), r"rows of shape \(11, 2\): expected \(rows, 3\)"),
        (PLAIN, (X * np.inf,), "row 0, column 0 is"),
        (PLAIN, (X.astype(str),), "expected numbers"),
        (PLAIN, (X, None, 1), "run=1: there are 1"),
        (PLAIN, (X, None, 0, 0), "batch_size=0: expected at least 1"),
    ],
)
def test_what_the_flow_cannot_take_is_refused(model, args, text):
    with pytest.raises(ValueError, match=text):
        model.log_prob(*args)


def test_a_count_of_samples_is_whole():
    for n in (0, True):
        with pytest.raises(ValueError, match="expected how many rows"):
            PLAIN.sample(0, n)


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (np.full((2, 4, 4, 1), 9), [0, 1], "whole numbers from 0 to 7"),
        (np.full((2, 4, 4, 1), 0.5), [0, 1], "between grey levels"),
        (np.zeros((2, 4, 4, 1)), [0, 3], "label 3: expected 0 to 2"),
        (np.zeros((2, 4, 4, 1)), [0.5, 1], "expected labels"),
    ],
)
def test_images_are_grey_levels_and_their_conditions_labels(images, labels, text):
    prepared = Preprocess(levels=8, classes=3)

    def take():
        prepared.stored(images)
        prepared.stored_condition(labels)

    with pytest.raises(ValueError, match=text):
        take()


def test_a_table_survives_its_description():
    assert preprocess.restore(preprocess.describe(Table(conditions=2))) == Table(
        conditions=2
    )
