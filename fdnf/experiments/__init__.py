"""Experiments that train models and hold them against each other."""
