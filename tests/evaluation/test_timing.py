"""Latency of known calls, and parameter counts."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.evaluation import timing


def test_measure_times_a_sleep():
    found = timing.measure(time.sleep, 0.02, repeats=5, warmup=1)
    assert found.reps == 5
    assert found.p10_s <= found.median_s <= found.p90_s
    # The upper bound leaves room for a busy machine.
    assert 0.02 <= found.p10_s
    assert found.median_s < 0.2
    assert found.in_ms()[0] == pytest.approx(1000 * found.median_s)


def test_measure_calls_warmup_plus_repeats_times():
    calls = []
    timing.measure(calls.append, 1, repeats=3, warmup=2)
    assert len(calls) == 5


def test_measure_keeps_compilation_out_and_waits_for_the_result():
    @jax.jit
    def work(x):
        slow = jax.pure_callback(
            lambda value: (time.sleep(0.02), np.asarray(value))[1], x, x
        )
        return {"out": slow + 1}

    found = timing.measure(work, jnp.ones(3), repeats=3, warmup=1)
    # Without blocking, dispatch alone would be far below the callback's sleep.
    assert found.p10_s >= 0.02


def test_measure_reports_the_spread():
    naps = iter([0.0, *[0.001] * 9, 0.05, 0.05])
    found = timing.measure(lambda: time.sleep(next(naps)), repeats=11, warmup=1)
    assert found.p90_s >= 0.05
    assert found.median_s < found.p90_s


def test_measure_refuses_no_repeats():
    with pytest.raises(ValueError, match="repeats=0"):
        timing.measure(time.sleep, 0, repeats=0)


def test_parameter_count_is_of_params_only():
    variables = {
        "params": {"a": jnp.ones((3, 4)), "b": {"c": jnp.ones(5), "d": jnp.ones(())}},
        "constants": {"p": jnp.ones((100, 100))},
    }
    assert timing.parameter_count(variables) == 3 * 4 + 5 + 1
    shapes = jax.eval_shape(lambda: variables)
    assert timing.parameter_count(shapes) == 18


def test_parameter_count_of_a_bare_tree_says_what_to_do():
    with pytest.raises(ValueError, match='"params": params'):
        timing.parameter_count({"kernel": jnp.ones(3)})
