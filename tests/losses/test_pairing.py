"""Which level is compared with which."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import types
from fdnf.flows.glow import Glow
from fdnf.flows.realnvp import MultiScaleRealNVP
from fdnf.flows.waveglow import WaveGlow
from fdnf.losses import distillation, levels
from tests import laws


def test_index_pairs_equal_numbers():
    assert levels.pairs_of("index", 3, 3) == ((0, 0), (1, 1), (2, 2))


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (3, 3, ((0, 0), (1, 1), (2, 2))),
        (3, 6, ((0, 1), (1, 3), (2, 5))),
        (3, 5, ((0, 1), (1, 3), (2, 4))),
        (1, 7, ((0, 6),)),
        (2, 3, ((0, 1), (1, 2))),
    ],
)
def test_ratio_meets_at_the_ends(student, teacher, pairs):
    assert levels.pairs_of("ratio", student, teacher) == pairs


def test_ratio_rises_to_the_last_level():
    for student in range(1, 12):
        for teacher in range(student, 40):
            chosen = levels.pairs_of("ratio", student, teacher)
            assert [s for s, _ in chosen] == list(range(student))
            seconds = [t for _, t in chosen]
            assert seconds == sorted(set(seconds))
            assert seconds[-1] == teacher - 1


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        # Of tabular Glows of 3 and 5 steps, counted from 1: 2 and 3, 4 and 5.
        (3, 5, ((1, 3), (2, 4))),
        (1, 2, ((0, 1),)),
        (3, 3, ((0, 0), (1, 1), (2, 2))),
    ],
)
def test_released_pairs(student, teacher, pairs):
    assert levels.pairs_of("released", student, teacher) == pairs


def test_explicit_pairs_count_from_either_end():
    assert levels.pairs_of(((0, 1), (-1, -1)), 2, 4) == ((0, 1), (-1, -1))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("index", 3, 6), 'student has 3 levels, teacher 6.*pairs="ratio"'),
        (("released", 3, 12), r"compares levels \[1, 2\] of 3 with \[3, 7, 11\] of 12"),
        (("ratio", 6, 3), "student has 6 levels, more than the teacher's 3"),
        (("nearest", 3, 6), "unknown pairs 'nearest'"),
        ((((0, 6),), 3, 6), r"pair \(0, 6\) is out of range for 3 student and 6"),
        ((((-4, 0),), 3, 6), r"pair \(-4, 0\) is out of range"),
    ],
)
def test_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        levels.pairs_of(*arguments)


def encoding_of(shapes, channels=None):
    """An encoding of levels of these shapes, each with its own numbers."""
    levels = tuple(
        jnp.arange(int(np.prod(shape)), dtype=jnp.float32).reshape(shape)
        for shape in shapes
    )
    passed = None if channels is None else types.Passed(channels)
    return types.Encoding(levels, jnp.zeros(2), levels, jnp.zeros(2), passed)


SHAPES = ((2, 4, 4, 4), (2, 2, 2, 8), (2, 1, 1, 16))


@pytest.mark.parametrize(
    "channels", [((0, 2), (0, 4), (0, 16)), ((1, 4), (5, 8), (0, 16))], ids=str
)
def test_parts_of_levels_are_those_that_the_flow_names(channels):
    encoding = encoding_of(SHAPES, channels)
    for i, (start, stop) in enumerate(channels):
        whole = np.asarray(encoding.levels[i])
        np.testing.assert_array_equal(encoding.part(i, "both"), whole)
        passed = encoding.part(i, "passed")
        np.testing.assert_array_equal(passed, whole[..., start:stop])
        if i < 2:
            rest = encoding.part(i, "split")
            left = np.delete(whole, np.s_[start:stop], axis=-1)
            np.testing.assert_array_equal(rest, left)


def test_flow_that_names_nothing_passes_all_on():
    # Sizes that fall from level to level say nothing about which channels leave.
    encoding = encoding_of(SHAPES)
    assert encoding.part(0, "passed").shape == SHAPES[0]
    with pytest.raises(ValueError, match=r"level 0 of shape .* splits nothing"):
        encoding.part(0, "split")


def multiscale_flows():
    """Each with data, and what of a level reaches the next, by its own definition."""
    images = jnp.asarray(
        np.random.default_rng(0).normal(size=(3, 8, 8, 1)), jnp.float32
    )
    waves = images.reshape(3, 64, 1)

    def leading(level):
        return level[..., : level.shape[-1] // 2]

    return [
        (Glow(3, 1, 4), images, leading),
        (MultiScaleRealNVP(3, 1, 4, 1), images, leading),
        (
            WaveGlow(6, 2, 2, 8, layers=1, channels=4),
            waves,
            lambda level: level[..., 2:],
        ),
    ]


@pytest.mark.parametrize(
    ("flow", "x", "reaches"), multiscale_flows(), ids=lambda a: type(a).__name__
)
def test_what_is_passed_decides_what_follows(flow, x, reaches):
    """The next levels do not see what is split off, and see all that is passed on."""
    encoding, _ = jax.eval_shape(flow.init_with_output, jax.random.key(0), x)
    for i in range(len(encoding.levels) - 1):
        rng = np.random.default_rng(i)
        level = jnp.asarray(rng.normal(size=encoding.levels[i].shape), jnp.float32)
        levels = (*encoding.levels[:i], level, *encoding.levels[i + 1 :])
        passed = encoding._replace(levels=levels).part(i, "passed")
        np.testing.assert_array_equal(passed, reaches(level))
        # As many numbers as the following level has.
        assert passed.size == np.prod(encoding.levels[i + 1].shape)


def test_ilkd_of_waveglow_compares_what_is_passed_on():
    flow, x, reaches = multiscale_flows()[-1]
    pair = [laws.drawn(flow, x, noise=noise) for noise in (0.1, 0.2)]
    encode = jax.jit(flow.apply)
    made = [encode(v, x) for v in pair]
    mine, theirs = (each.levels for each in made)
    expected = [
        np.mean(np.abs(reaches(a) - reaches(b)))
        for a, b in zip(mine[:-1], theirs[:-1], strict=True)
    ]
    expected.append(np.mean(np.abs(mine[-1] - theirs[-1])))
    says = types.ExternalFlow(encode=lambda encoding, x, cond=None: encoding)
    loss, aux = distillation.ilkd(says, says, *made, x)
    np.testing.assert_allclose(aux.per_level, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-4, atol=1e-6)


def test_parts_of_latents():
    encoding = encoding_of(SHAPES)
    assert encoding.latents("both") == encoding.z
    assert encoding.latents("passed") == encoding.z[-1:]
    assert encoding.latents("split") == encoding.z[:-1]
    with pytest.raises(ValueError, match="one latent, none split off"):
        encoding_of(SHAPES[:1]).latents("split")


def test_unknown_parts():
    with pytest.raises(ValueError, match="unknown parts 'half'"):
        encoding_of(SHAPES).part(0, "half")
    with pytest.raises(ValueError, match="unknown parts 'half'"):
        encoding_of(SHAPES).latents("half")
