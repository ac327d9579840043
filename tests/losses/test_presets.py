"""Published settings are arguments that `combined` takes."""

import jax
import pytest

from fdnf.flows.nice import NICE
from fdnf.losses import distillation, presets
from tests import laws

METHODS = [(source, m) for source in presets.PRESETS for m in presets.PAPER]


@pytest.mark.parametrize(("source", "method"), METHODS)
def test_combined_takes_every_preset(source, method):
    case = laws.Case("nice", NICE(steps=2, hidden=(4,)), noise=0.2)
    settings = presets.preset(source, method)
    assert sum(settings["weights"]) == pytest.approx(1.0)
    loss, aux = jax.eval_shape(
        lambda v, x: distillation.combined(
            case.module, case.module, v, v, x, (x,), **settings
        ),
        case.variables,
        case.data(),
    )
    assert loss.shape == ()
    expected = {"nll", "lkd"} if method == "lkd" else {"nll", "ilkd"}
    if method == "skd":
        expected |= {"skd", "rejected"}
    assert set(aux.terms) == expected


def test_papers_weights():
    assert presets.preset("paper", "skd")["weights"] == (0.85, 0.075, 0.075)
    assert presets.preset("official", "skd")["weights"] == (0.85, 0.05, 0.1)
    assert presets.preset("paper", "ilkd")["distance"] == "l1"
    assert presets.preset("official", "ilkd")["distance"] == "l2"
    # The released code: mean squares of latents, L1 of samples.
    assert presets.preset("official", "skd")["distance"] == "l2"
    assert presets.preset("official", "skd")["sample_distance"] == "l1"
    assert presets.preset("official", "skd")["pairs"] == "released"


def test_samples_may_have_a_distance_of_their_own():
    case = laws.Case("nice", NICE(steps=2, hidden=(4,)), noise=0.2)
    teacher = jax.tree.map(lambda leaf: 1.1 * leaf, case.variables)
    x = case.data()

    def terms(**settings):
        flows = case.module, case.module, case.variables, teacher
        weights = (0.0, 1.0, 1.0)
        loss = jax.jit(
            lambda: distillation.combined(*flows, x, (x,), weights=weights, **settings)
        )
        return loss()[1].terms

    both = terms(distance="l2", sample_distance="l1")
    l1, l2 = terms(distance="l1"), terms(distance="l2")
    assert float(both["ilkd"]) == float(l2["ilkd"]) != float(l1["ilkd"])
    assert float(both["skd"]) == float(l1["skd"]) != float(l2["skd"])


def test_a_preset_is_a_copy():
    presets.preset("paper", "lkd")["weights"] = None
    assert presets.preset("paper", "lkd")["weights"] is not None


@pytest.mark.parametrize(
    ("source", "method", "match"),
    [
        ("thesis", "lkd", r"unknown preset 'thesis'; known: \['official', 'paper'\]"),
        ("paper", "kd", "unknown method 'kd'"),
    ],
)
def test_errors(source, method, match):
    with pytest.raises(ValueError, match=match):
        presets.preset(source, method)
