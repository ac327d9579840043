"""Functions with a derivative rule of their own that loops do not lose.

`jax.custom_jvp` and `custom_vjp` are not enough for second derivatives. Where a
`lax.scan` is differentiated, what does not depend on the step is taken out of it, and
in that a custom_jvp is replaced by its body: the second derivative meets a LAPACK call
or a while_loop, and fails. A custom_vjp has no forward mode. A primitive is kept as it
is, so here is one that carries a function with its rule; the rule is made of
differentiable operations, and so has derivatives of every order in both modes.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jax.interpreters import ad, batching, mlir

# All take and give flat tuples of arrays; equal ones share compiled programs.
_ruled_p = core.Primitive("ruled")
_ruled_p.multiple_results = True


class Ruled:
    """A function of arrays, and how it is differentiated; see `ruled`."""

    def __init__(self, function: Callable, statics: int, one_by_one: bool):
        self._function, self._statics, self._one_by_one = function, statics, one_by_one
        self._rule: Callable | None = None
        functools.update_wrapper(self, function)

    def defjvp(self, rule: Callable) -> Callable:
        """Sets the rule: (*statics, primals, tangents) -> (value, its tangent).

        Arguments and results are those of `jax.custom_jvp`; a tangent of what is no
        float is not looked at.
        """
        self._rule = rule
        return rule

    def __call__(self, *args: Any) -> Any:
        """The value."""
        statics, trees = args[: self._statics], args[self._statics :]
        leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, trees))
        shapes = jax.eval_shape(functools.partial(self._function, *statics), *trees)
        found = _bind(
            leaves,
            _Flat(self._function, statics, tree),
            _FlatRule(self._rule, statics, tree),
            self._one_by_one,
        )
        return jax.tree.unflatten(jax.tree.structure(shapes), found)


def ruled(*, statics: int = 0, one_by_one: bool = False) -> Callable:
    """Makes a function one whose derivative is what `defjvp` says.

    It closes over no traced array, and its arguments are trees of floats. A second
    derivative is that of the rule, which may call the function itself.

    Args:
      statics: how many leading arguments are no arrays; they must be hashable.
      one_by_one: on CPU, `vmap` goes through its rows one after another.
    """
    return lambda function: Ruled(function, statics, one_by_one)


@dataclasses.dataclass(frozen=True)
class _Flat:
    function: Callable
    statics: tuple
    tree: Any

    def __call__(self, *leaves: Any) -> tuple:
        value = self.function(*self.statics, *jax.tree.unflatten(self.tree, leaves))
        return tuple(jax.tree.leaves(value))


@dataclasses.dataclass(frozen=True)
class _FlatRule:
    """(values, tangents of those that are floats)."""

    rule: Callable | None
    statics: tuple
    tree: Any

    def __call__(self, primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
        assert self.rule is not None, "defjvp has not been called"
        args = (jax.tree.unflatten(self.tree, each) for each in (primals, tangents))
        value, change = (
            jax.tree.leaves(each) for each in self.rule(*self.statics, *args)
        )
        floats = [d for v, d in zip(value, change, strict=True) if _is_float(v)]
        return tuple(value), tuple(floats)


@dataclasses.dataclass(frozen=True)
class _Mapped:
    function: Callable
    axes: tuple

    def __call__(self, *leaves: Any) -> tuple:
        return jax.vmap(self.function, in_axes=self.axes)(*leaves)


@dataclasses.dataclass(frozen=True)
class _MappedRule:
    rule: Callable
    axes: tuple

    def __call__(self, primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
        return jax.vmap(self.rule, in_axes=(self.axes, self.axes))(primals, tangents)


def _is_float(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.inexact)


def _bind(leaves: Any, function: Callable, rule: Callable, one_by_one: bool) -> Any:
    return _ruled_p.bind(
        *leaves,
        # For all who read programs: what is lowered, and what types come out.
        jaxpr=jax.make_jaxpr(function)(*leaves),
        function=function,
        rule=rule,
        one_by_one=one_by_one,
    )


@functools.partial(jax.jit, static_argnums=0)
def _run(function: Callable, *leaves: Any) -> tuple:
    return function(*leaves)


@_ruled_p.def_impl
def _impl(*leaves: Any, function: Callable, **_: Any) -> Any:
    return _run(function, *leaves)


@_ruled_p.def_abstract_eval
def _abstract_eval(*_: Any, jaxpr: core.ClosedJaxpr, **__: Any) -> Any:
    return jaxpr.out_avals


def _jvp(primals: Any, tangents: Any, *, rule: Callable, **_: Any) -> tuple:
    value, floats = rule(tuple(primals), tuple(map(ad.instantiate_zeros, tangents)))
    rest = iter(floats)
    change = [
        next(rest) if _is_float(one) else ad.Zero(jax.typeof(one).to_tangent_aval())
        for one in value
    ]
    return value, change


def _batch(leaves: Any, axes: Any, *, jaxpr, function, rule, one_by_one: bool) -> tuple:
    del jaxpr
    if one_by_one and jax.default_backend() == "cpu":
        moved = [
            None if axis is None else jnp.moveaxis(leaf, axis, 0)
            for leaf, axis in zip(leaves, axes, strict=True)
        ]

        def row(_: None, some: Any) -> tuple:
            pairs = zip(some, leaves, strict=True)
            args = [all_rows if one is None else one for one, all_rows in pairs]
            return None, _bind(args, function, rule, True)

        found = lax.scan(row, None, moved)[1]
    else:
        axes = tuple(axes)
        function, rule = _Mapped(function, axes), _MappedRule(rule, axes)
        found = _bind(leaves, function, rule, one_by_one)
    return found, (0,) * len(found)


def _lowered(*leaves: Any, jaxpr: core.ClosedJaxpr, **_: Any) -> Any:
    return core.jaxpr_as_fun(jaxpr)(*leaves)


ad.primitive_jvps[_ruled_p] = _jvp
batching.primitive_batchers[_ruled_p] = _batch
mlir.register_lowering(_ruled_p, mlir.lower_fun(_lowered, multiple_results=True))
