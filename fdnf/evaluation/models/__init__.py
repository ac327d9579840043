"""A trained run as functions, and what they cost."""
