"""Latency of known calls, and parameter counts."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.evaluation.models import timing


def test_measure_times_a_sleep():
    found = timing.measure(time.sleep, 0.02, repeats=5, warmup=1)
    assert found.reps == 5
    assert found.p10_s <= found.median_s <= found.p90_s
    # The upper bound leaves room for a busy machine.
    assert 0.02 <= found.p10_s
    assert found.median_s < 2
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


def test_measure_stops_early_but_not_before_three_calls():
    assert timing.measure(time.sleep, 0.01, repeats=50, limit_s=0.0).reps == 3
    assert timing.measure(time.sleep, 0.01, repeats=50, warmup=1, limit_s=0.1).reps < 12


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


def test_peak_memory_by_hand():
    # An argument and a result of 4 MiB, and the product that both sums read.
    @jax.jit
    def work(x):
        product = x @ x
        return product - product.sum(axis=0)

    x = jnp.ones((1024, 1024), jnp.float32)
    found = timing.peak_mib(work, x)
    assert 8 <= found <= 12.1
    lowered = work.lower(jax.ShapeDtypeStruct(x.shape, x.dtype))
    assert timing.peak_mib(lowered) == found
    assert timing.peak_mib(lowered.compile()) == found


def test_peak_memory_grows_with_what_is_kept():
    weights = jnp.ones((20, 256, 256), jnp.float32)

    def loss(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w)
        return x.sum()

    x = jnp.ones((256, 256), jnp.float32)
    forward = timing.peak_mib(jax.jit(loss), weights, x)
    backward = timing.peak_mib(jax.jit(jax.grad(loss)), weights, x)
    # The gradient is as large as the weights, and keeps 20 activations of 1/4 MiB.
    assert backward > forward + 5 + 3


def test_no_plan_of_memory():
    class Silent:
        def memory_analysis(self):
            return None

    assert timing.peak_mib(Silent()) is None
