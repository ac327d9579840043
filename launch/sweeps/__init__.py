"""The sweeps of the papers: each file has a function `points`."""
