"""Experiments, one file each; `common` has what they share."""
