"""Weights of a table's rows: what each counts in training and in what is measured.

Training draws rows in proportion to them (`batches.uniform`); means over held-out rows
are weighted.
"""

from typing import Any

import numpy as np

from fdnf.data.tabular import Tabular

# What `alias` makes of weights is called so among the arrays of a data set.
KEEP, ALIAS = "keep", "alias"


def alias(weights: np.ndarray) -> dict[str, np.ndarray]:
    """What `batches.weighted` needs to draw rows in proportion to weights, in float64.

    The rows that count less than the average, one after another on a line by what they
    lack, against those that count more by what they have to spare: each takes what it
    lacks from the one that its part of the line begins in. One that is overdrawn
    thereby lacks that much itself, and has it from the next.

    Args:
      weights: `[rows]`, not negative, not all 0.

    Returns:
      "keep", float32 `[rows]`: the probability that a row drawn uniformly stays; and
      "alias", int32 `[rows]`, which stands in for it otherwise. With equal weights all
      stay.

    Reference: Walker (1977), "An efficient method for generating discrete random
    variables with general distributions"; Vose (1991).
    """
    share = np.asarray(weights, np.float64) / np.mean(weights, dtype=np.float64)
    few, many = np.flatnonzero(share < 1), np.flatnonzero(share > 1)
    lacks, spares = np.cumsum(1 - share[few]), np.cumsum(share[many] - 1)
    keep, other = np.ones(len(share)), np.arange(len(share), dtype=np.int32)
    if not (len(few) and len(many)):
        return {KEEP: keep.astype(np.float32), ALIAS: other}
    last = len(many) - 1
    keep[few] = share[few]
    begins = np.concatenate([[0.0], lacks[:-1]])
    other[few] = many[np.minimum(np.searchsorted(spares, begins, "right"), last)]
    # The end of the part that reaches over the end of what each has to spare.
    over = lacks[np.minimum(np.searchsorted(lacks, spares), len(lacks) - 1)] - spares
    keep[many[:-1]] = 1 - np.maximum(over[:-1], 0)
    other[many[:-1]] = many[1:]
    return {KEEP: keep.astype(np.float32), ALIAS: other}


def of(data: Any, split: int) -> np.ndarray | None:
    """Weights of the rows of a split of a table, in float64; None where all are 1."""
    given = data.weights if isinstance(data, Tabular) else None
    return None if given is None else given[split].astype(np.float64)


def in_proportion(weights: np.ndarray | None, rows: int) -> np.ndarray:
    """Numbers of rows, as many as there are, each as often as its weight says.

    To the next whole number, above or below: what evenly spaced points hit of all
    weights laid end to end. In an order of their own, so that the first of them are
    any, but without weights, when they are all rows in turn.

    Args:
      weights: `[rows]`, or None.
      rows: how many.
    """
    if weights is None:
        return np.arange(rows)
    ends = np.cumsum(weights) * (rows / weights.sum())
    hit = np.searchsorted(ends, np.arange(rows) + 0.5)
    return np.random.default_rng(0).permutation(np.minimum(hit, rows - 1))
