"""Posteriors of simulators, on tasks and references that others made."""
