"""Makes the allocators below us give memory back, so that the peak of a long read is what it holds, not what it ever held.

Measured on the seed's size: a verify peaks at 350 MB instead of 500 MB. Must run before Polars and PyArrow are imported.
"""

from __future__ import annotations

import ctypes
import os
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's mallopt: two arenas instead of eight a core


def give_back() -> None:
    """Settings of jemalloc (Polars), Arrow and glibc, where the user has not made their own."""
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:1000,muzzy_decay_ms:0")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # absent where the C library is not glibc
        if mallopt is not None:
            mallopt(_ARENA_MAX, 2)
