"""Matrix products that decide a round trip ask for full precision, in every flow.

A GPU's default is TF32, of three digits. Networks whose outputs both directions compute
alike, from the same numbers (`NETWORKS`), may stay at the default: what they round goes
out as it came in. All else multiplies what one direction has to undo.
"""

import jax
import jax.extend
from jax import lax

from tests.flows import every_flow

# Names of modules that map one part of an event, or the condition, to shifts and
# scales of another part.
NETWORKS = ("conditioner", "embedder", "encoder", "upsampler", "priors_", "top")
# Kinds whose own products stand outside of those.
OWN = ("continuous", "maf", "iaf", "iresnet", "pixel", "mintnet", "affine", "glow")
PRODUCTS = ("dot_general", "conv_general_dilated")


def products(jaxpr, above=""):
    """(where, precision) of every product, those of loops and calls included."""
    for eqn in jaxpr.eqns:
        where = f"{above}/{eqn.source_info.name_stack}"
        if eqn.primitive.name in PRODUCTS:
            yield where, eqn.params["precision"]
        for inner in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            if isinstance(inner, jax.extend.core.ClosedJaxpr):
                yield from products(inner.jaxpr, where)
            elif isinstance(inner, jax.extend.core.Jaxpr):
                yield from products(inner, where)


def of(kind, method, x):
    variables = kind.shapes()

    def run(variables, x, cond):
        return kind.flow.apply(variables, x, cond, method=method)

    jaxpr = jax.make_jaxpr(run)(variables, x, kind.context())
    return list(products(jaxpr.jaxpr))


def is_full(precision):
    return precision in (
        lax.Precision.HIGHEST,
        (lax.Precision.HIGHEST, lax.Precision.HIGHEST),
    )


@every_flow.over_kinds
def test_own_products_are_of_full_precision(kind):
    for method, x in (("encode", kind.data()), ("decode", kind.latents())):
        found = of(kind, method, x)
        own = [
            (where, precision)
            for where, precision in found
            if not any(name in where for name in NETWORKS)
        ]
        short = [where for where, precision in own if not is_full(precision)]
        assert not short, f"{method}: {short}"
        # The networks are seen where they are, and flows without any have products.
        assert found, method
        if kind.name.startswith(OWN):
            assert own, method


def test_networks_are_told_from_the_flow():
    kind = next(kind for kind in every_flow.KINDS if kind.name == "glow_full")
    found = of(kind, "encode", kind.data())
    inside = [precision for where, precision in found if "conditioner" in where]
    assert inside
    assert not any(is_full(precision) for precision in inside)
