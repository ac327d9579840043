"""One page of all that a directory holds."""
