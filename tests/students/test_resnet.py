import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.students.resnet import ResNet

KEY = jax.random.key(0)


def made(student, shape, cond=None):
    """The student with perturbed variables, and latents."""
    z = student.draw(KEY, shape)
    variables = student.init(KEY, z, cond)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(KEY, len(leaves))
    moved = [
        leaf + 0.1 * jax.random.normal(k, leaf.shape)
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved), z


def test_it_starts_as_the_identity():
    student = ResNet(hidden=4, blocks=1)
    z = student.draw(KEY, (3, 4, 4, 2))
    np.testing.assert_array_equal(student.apply(student.init(KEY, z), z), z[0])


def seen(student, height, width):
    """`[height, width]`: whether the output there depends on the first latents.

    What is not a number stays so whatever it is multiplied by.
    """
    variables, _ = made(student, (2, height, width, 1))
    z = jnp.zeros((1, height, width, 1)).at[0, 0, 0].set(jnp.nan)
    return np.isnan(student.apply(variables, (z,))[0, ..., 0])


@pytest.mark.parametrize("squeezes", [0, 1, 2])
def test_every_output_sees_the_farthest_latent(squeezes):
    assert seen(ResNet(hidden=2, blocks=3, squeezes=squeezes), 8, 8).all()


@pytest.mark.parametrize(("blocks", "squeezes"), [(1, 0), (2, 0), (1, 1), (1, 2)])
def test_reach_is_how_far_it_sees(blocks, squeezes):
    class Anywhere(ResNet):
        def __call__(self, z, cond=None):
            return self.unchecked(z[0], cond)

    student = Anywhere(hidden=2, blocks=blocks, squeezes=squeezes)
    row = seen(student, 2**squeezes, 32)[0]
    # The first latents are at one end of their square, which sees further to the other.
    assert row[: student.reach() + 1].all()
    assert not row[student.reach() + 2**squeezes :].any()


def test_images_beyond_its_reach_are_refused():
    with pytest.raises(ValueError, match="raise blocks or squeezes"):
        ResNet(hidden=2, blocks=1, squeezes=0).init(KEY, (jnp.ones((1, 8, 8, 1)),))
    with pytest.raises(ValueError, match="even"):
        ResNet(hidden=2, blocks=4, squeezes=2).init(KEY, (jnp.ones((1, 6, 6, 1)),))
    with pytest.raises(ValueError, match="of the shape of an image"):
        ResNet().init(KEY, (jnp.ones((1, 6)),))


def test_a_class_is_a_condition_and_rows_do_not_touch():
    student = ResNet(hidden=4, blocks=1)
    cond = jnp.eye(3)
    variables, z = made(student, (3, 4, 4, 1), cond)
    x = student.apply(variables, z, cond)
    other = student.apply(variables, z, cond[::-1])
    assert np.all(np.any(np.asarray(x != other), axis=(1, 2, 3)) == [True, False, True])
    alone = student.apply(variables, (z[0][:1],), cond[:1])
    np.testing.assert_allclose(alone, x[:1], rtol=1e-5, atol=1e-5)


def test_sampling_decodes_what_is_drawn():
    student = ResNet(hidden=4, blocks=1)
    variables, _ = made(student, (2, 4, 4, 1))
    drawn = student.apply(variables, KEY, (2, 4, 4, 1), 0.5, method="sample")
    z = student.draw(KEY, (2, 4, 4, 1), 0.5)
    decoding = student.apply(variables, z, method="decode")
    np.testing.assert_allclose(drawn, decoding.x, rtol=1e-6)
    assert decoding.log_det is None
    assert decoding.levels == ()
