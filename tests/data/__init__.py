"""Tests of fdnf.data."""
