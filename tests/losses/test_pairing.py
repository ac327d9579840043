"""Which level is compared with which."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.losses import pairing


def test_index_pairs_equal_numbers():
    assert pairing.pairs_of("index", 3, 3) == ((0, 0), (1, 1), (2, 2))


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
    assert pairing.pairs_of("ratio", student, teacher) == pairs


def test_ratio_rises_to_the_last_level():
    for student in range(1, 12):
        for teacher in range(student, 40):
            chosen = pairing.pairs_of("ratio", student, teacher)
            assert [s for s, _ in chosen] == list(range(student))
            seconds = [t for _, t in chosen]
            assert seconds == sorted(set(seconds))
            assert seconds[-1] == teacher - 1


def test_explicit_pairs_count_from_either_end():
    assert pairing.pairs_of(((0, 1), (-1, -1)), 2, 4) == ((0, 1), (-1, -1))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("index", 3, 6), 'student has 3 levels, teacher 6.*pairs="ratio"'),
        (("ratio", 6, 3), "student has 6 levels, more than the teacher's 3"),
        (("nearest", 3, 6), "unknown pairs 'nearest'"),
        ((((0, 6),), 3, 6), r"pair \(0, 6\) is out of range for 3 student and 6"),
        ((((-4, 0),), 3, 6), r"pair \(-4, 0\) is out of range"),
    ],
)
def test_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        pairing.pairs_of(*arguments)


@pytest.fixture(name="levels")
def multiscale_levels():
    """Three levels of a flow on 8x8x1: 4 and 8 channels, halves passed on, the top."""
    shapes = ((2, 4, 4, 4), (2, 2, 2, 8), (2, 1, 1, 16))
    sizes = [int(np.prod(shape)) for shape in shapes]
    return tuple(
        jnp.arange(size, dtype=jnp.float32).reshape(shape)
        for size, shape in zip(sizes, shapes, strict=True)
    )


def test_parts_of_levels(levels):
    for i, passed in enumerate((2, 4, 16)):
        whole = np.asarray(levels[i])
        np.testing.assert_array_equal(pairing.part_of(levels, i, "both"), whole)
        leading = pairing.part_of(levels, i, "passed")
        np.testing.assert_array_equal(leading, whole[..., :passed])
        if i < 2:
            rest = pairing.part_of(levels, i, "split")
            np.testing.assert_array_equal(rest, whole[..., passed:])


def test_flow_that_splits_nothing_is_passed_on_whole():
    levels = (jnp.ones((2, 5)), jnp.zeros((2, 5)))
    assert pairing.part_of(levels, 0, "passed").shape == (2, 5)
    with pytest.raises(ValueError, match=r"level 0 of shape \(5,\) splits nothing"):
        pairing.part_of(levels, 0, "split")


def test_parts_of_latents(levels):
    assert pairing.latents_of(levels, "both") == levels
    assert pairing.latents_of(levels, "passed") == levels[-1:]
    assert pairing.latents_of(levels, "split") == levels[:-1]
    with pytest.raises(ValueError, match="one latent, nothing split off"):
        pairing.latents_of(levels[:1], "split")


def test_unknown_parts(levels):
    with pytest.raises(ValueError, match="unknown parts 'half'"):
        pairing.part_of(levels, 0, "half")
    with pytest.raises(ValueError, match="unknown parts 'half'"):
        pairing.latents_of(levels, "half")
