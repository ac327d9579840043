"""Scorers: from a run to numbers."""
