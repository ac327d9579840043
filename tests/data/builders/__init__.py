"""Tests of fdnf.data.builders."""
