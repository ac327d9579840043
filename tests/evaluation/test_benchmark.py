"""The cases of the benchmark, tiny: each trains, or gives what it says."""

import numpy as np
import pytest

from fdnf.evaluation import benchmark

slow = pytest.mark.slow
# Trained likewise.
OTHERS = ("maf", "glow", "nsf")


def arguments(case):
    return benchmark._arguments(
        [
            *(f"--case={case}", "--dim=3", "--hidden=4", "--layers=2", "--batch=8"),
            *("--size=8", "--levels=1", "--layers-per-level=1", "--steps-per-call=2"),
        ]
    )


@pytest.mark.parametrize(
    "case",
    [
        "ilkd_train",
        *(pytest.param(f"{name}_train", marks=slow) for name in OTHERS),
    ],
)
def test_steps_are_taken(case):
    call, steps = benchmark.build_train(arguments(case))
    assert steps == 2
    call()
    assert all(np.isfinite(leaf).all() for leaf in call().values())
    assert int(call.state["state"].step) == 4


@pytest.mark.parametrize(
    ("case", "shape"),
    [
        ("coupling_sample", (8, 3)),
        pytest.param("nsc_sample", (8, 3), marks=slow),
        ("nsf_logprob", (8,)),
        pytest.param("glow_sample", (8, 8, 8, 3), marks=slow),
        ("wavenet_sample", (8, 3, 1)),
    ],
)
def test_a_batch_is_drawn(case, shape):
    call, _ = benchmark.build_forward(arguments(case))
    assert call().shape == shape
