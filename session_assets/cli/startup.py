"""Loads modules without garbage collections: those took a sixth of a command's start, and again of what it did after."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """No collections inside; what was loaded is not looked at again by those after it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
