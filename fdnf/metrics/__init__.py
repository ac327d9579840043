"""Metrics: arrays in, arrays out; each states its unit and its direction."""
