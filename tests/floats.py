"""Equality of floats up to rounding, measured on the scale of what is compared."""

from typing import Any

import numpy as np


def assert_close(actual: Any, desired: Any, rtol: float = 1e-6, err_msg: str = ""):
    """Every entry is within `rtol` times the largest finite |desired|.

    Rounding in a sum or a product of matrices is as large as its terms are, and its
    order depends on the machine: an entry that cancels to nearly zero agrees with
    its neighbours' precision and not with its own. Where single entries need more,
    `np.testing.assert_allclose` takes an absolute tolerance beside the relative one.

    Args:
      actual: what was found.
      desired: what it should be, of a shape that broadcasts to that of `actual`.
      rtol: tolerance relative to the largest entry.
      err_msg: what stands before the differences.
    """
    size = np.abs(np.asarray(desired, np.float64))
    scale = np.max(size, initial=0.0, where=np.isfinite(size))
    np.testing.assert_allclose(
        actual, desired, rtol=0, atol=rtol * scale, err_msg=err_msg
    )
