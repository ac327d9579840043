"""Conditioners and backbones; they know nothing of flows."""
