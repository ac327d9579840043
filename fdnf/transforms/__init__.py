"""Columns of a table between the user's units and what a flow sees."""

import lazy_loader

# The public names are in __init__.pyi; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
