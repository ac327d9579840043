"""TFDS builders, one a file: the five tabular sets, pictures and recordings."""
