"""What a feed-forward student is: latents to data, without a density."""

import flax.linen as nn
from jaxtyping import Array, PRNGKeyArray

from fdnf.ops import latents
from fdnf.types import Context, Decoding, Events, Variables

Latents = tuple[Array, ...]


class Student(nn.Module):
    """A generator that a flow teaches; it need not be invertible.

    Subclasses give `__call__(z, cond) -> x`, with `z` the tuple of latents that the
    teacher's `decode` takes. `variables = student.init(key, z)`.

    Losses and samplers that only decode take a student where they take a flow:
    `decode` gives its output as a Decoding without a log-determinant.
    """

    def __call__(self, z: Latents, cond: Context | None = None) -> Events:
        """Data of latents."""
        raise NotImplementedError

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Shape of each latent for data of shape `event`; by default one, the same."""
        return (event,)

    def decode(self, z: Latents, cond: Context | None = None) -> Decoding:
        """The student's output; `log_det` is None and there are no levels."""
        return Decoding(self(z, cond), None, ())

    def encode(self, x: Events, cond: Context | None = None):
        """There is none.

        Raises:
          TypeError: always.
        """
        raise TypeError(
            f"{type(self).__name__} is a feed-forward student: it has no latents of "
            "data and no density. Losses that only decode (feed_forward, "
            "x_reconstruction, oracle, z_reconstruction) can train it"
        )

    def inherit(self, variables: Variables, teacher: Variables) -> Variables:
        """Variables with what the student has from its teacher; by default nothing.

        What is new in it stays as it is when the rest takes its statistics from data,
        so that whole subtrees of a collection are to be replaced.

        Args:
          variables: the student's own, as `init` made them; not changed.
          teacher: the teacher's.
        """
        del teacher
        return variables

    def draw(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        temperature: latents.Temperature = 1.0,
    ) -> Latents:
        """Latents for `decode`, those that a flow of the same latents draws.

        Args:
          key: randomness.
          shape: batch and event.
          temperature: standard deviation, see `latents.draw`.
        """
        parts = self.latent_shapes(tuple(shape[1:]))
        return latents.draw(key, shape[0], parts, temperature)

    def sample(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        temperature: latents.Temperature = 1.0,
        cond: Context | None = None,
    ) -> Events:
        """Draws data of shape `(batch, *event)`."""
        return self(self.draw(key, shape, temperature), cond)
