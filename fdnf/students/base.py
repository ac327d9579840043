"""What a feed-forward student is: latents to data, without a density."""

from typing import Any

from jaxtyping import Array, PRNGKeyArray

from fdnf.ops import entering
from fdnf.types import Context, Decoding, Events, Given, Variables

Latents = tuple[Array, ...]


class Student(entering.Model):
    """A generator that a flow teaches; it need not be invertible.

    Subclasses give `_generate(z, cond) -> x`, with `z` the tuple of latents that the
    teacher's `decode` takes. `variables = student.init(key, z)`. What enters is looked
    at and cast in `__call__`, see `entering.Model`.

    Losses and samplers that only decode take a student where they take a flow:
    `decode` gives its output as a Decoding without a log-determinant.
    """

    def _generate(self, z: Latents, cond: Context | None) -> Events:
        raise NotImplementedError

    def __call__(self, z: Given = (), cond: Given | None = None) -> Events:
        """Data of latents.

        Args:
          z: one array per latent.
          cond: context, of a student that was made with one.

        Raises:
          ValueError: for latents or a condition other than the student was made with.
        """
        z = self._given_latents(z)
        cond = self._given_condition(cond, self._rows(z))
        return self._generate(z, cond)

    def _rows(self, z: Latents) -> Any:
        return z[0].shape[0] if z else None

    def decode(self, z: Given, cond: Given | None = None) -> Decoding:
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
        """The student's variables, parts of them replaced by those of its teacher.

        By default nothing is replaced. A student that takes something over replaces
        whole subtrees: the caller tells by identity which subtrees are new, and keeps
        them when it makes the others anew from data.

        Args:
          variables: the student's own, as `init` made them; not changed.
          teacher: the teacher's.
        """
        del teacher
        return variables

    def sample(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        temperature: entering.Temperature = 1.0,
        cond: Given | None = None,
    ) -> Events:
        """Draws data of shape `(batch, *event)`."""
        return self(self.draw(key, shape, temperature), cond)
