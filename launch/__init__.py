"""Starts sweeps of runs, here or on SLURM; imports nothing of fdnf."""
