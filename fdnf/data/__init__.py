"""Data sets as numpy arrays: published, embedded, synthetic and the user's own."""
