"""TFDS builders of the five published tabular sets, one a file."""
