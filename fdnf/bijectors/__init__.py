"""Invertible maps: forward and inverse, each with its log-determinant."""
