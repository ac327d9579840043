"""Evaluation of trained flows: numbers, timings, tables and figures."""
